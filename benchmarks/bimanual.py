"""Two arms: how often the scripted expert of hand_over succeeds on each pair of robots, and a policy trained on it.

    python benchmarks/bimanual.py           the experts, 50 start states each; writes benchmarks/results/bimanual.json
                                            and docs/images/hand_over.jpg
    python benchmarks/bimanual.py --train   a policy: 150 demonstrations, training, 50 unseen start states
    python benchmarks/bimanual.py --quick   two start states of each pair; with --train a policy that is hardly trained

Demonstrations begin from start states 10000 on. A training run that was cut off is resumed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _runs import evaluate, run_record, train
from _verbs import robolearn

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.intervals import wilson_interval
from robolearn.sim import make_env
from robolearn.sim.env import SimEnv
from robolearn.sim.experts import expert_class

ROOT = Path("outputs/bench_bimanual")
PAIRS = ("panda", "vx300s")
TRAINED = "panda"
PICTURE, SHOWN_STATE, PIXELS = Path("docs/images/hand_over.jpg"), 1, 240
POLICY, DEMONSTRATIONS, STARTS, EXECUTE = "beso", 150, 50, 8


def follow(env: SimEnv, init_state: int) -> Iterator[dict[str, Any]]:
    """An episode of the expert: `info` at its start and after each step."""
    expert: Any = expert_class(env.name)()
    observation, info = env.reset(options={"init_state": init_state})
    expert.start_episode(init_state)
    yield info
    ended = False
    while not ended and (action := expert.action(observation)) is not None:
        observation, _, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        yield info


def expert_success(pair: str, starts: int, command: str) -> Figure:
    """Of the expert, from start states 0 to `starts` - 1."""
    failed, lengths = [], []
    with closing(make_env(f"hand_over/{pair}")) as env:
        for init_state in range(starts):
            infos = list(follow(env, init_state))
            lengths.append(len(infos) - 1)
            failed += [] if infos[-1]["success"] else [init_state]
        config = {
            "variant": pair, "scene_version": env.scene_version, "robots": dict(env.robots),
            "control_hz": env.control_hz, "failed_states": failed, "steps": [min(lengths), max(lengths)],
        }  # fmt: skip
    rate = wilson_interval(starts - len(failed), starts)
    notes = f"scripted expert, start states 0 to {starts - 1}; interval: Wilson 95 %"
    return Figure("bimanual.expert_success", rate.value, "1", starts, command, rate.interval, (), config, notes)


def stages(pair: str) -> np.ndarray:
    """Pictures of an episode side by side: the start, the grasp, the hand-over, the end."""
    shown: list[np.ndarray] = []
    with closing(make_env(f"hand_over/{pair}")) as env:
        awaited = iter(("grasped", "both_hold", "success"))
        flag = None
        for info in follow(env, SHOWN_STATE):
            if flag is None or info[flag]:
                shown.append(env.render_camera(env.video_camera, 2 * PIXELS, 2 * PIXELS))
                flag = next(awaited, "success")
    small = [cv2.resize(picture, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA) for picture in shown[:4]]
    return np.hstack([cv2.copyMakeBorder(p, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for p in small])


def policy_success(quick: bool, command: str) -> Figure:
    """Record, train with the preset, evaluate the last checkpoint; what is finished is read back."""
    root, env = ROOT / ("quick" if quick else "full"), f"hand_over/{TRAINED}"
    dataset, run = root / "demonstrations.zarr", root / POLICY
    demonstrations, starts = (3, 2) if quick else (DEMONSTRATIONS, STARTS)
    if not dataset.exists():
        robolearn("record", "--env", env, "--operator", "scripted", "--num-episodes", str(demonstrations),
                  "--dataset", str(dataset))  # fmt: skip
    train(POLICY, "hand_over", dataset, run, *(["--steps", "20"] if quick else []))
    results = evaluate(run, root / f"{POLICY}_eval", "--env", env, "--num-episodes", str(starts), "--execute",
                       str(EXECUTE), "--workers", "1")  # fmt: skip
    trained = results.policy["provenance"]
    config = {"variant": TRAINED, "demonstrations": demonstrations, **run_record([run], [results])}
    notes = (
        f"{POLICY}, preset hand_over, start states 0 to {starts - 1}, unseen in training; last checkpoint, one "
        "training seed; interval: Wilson 95 %"
    )
    return Figure("bimanual.success", results.success.value, "1", starts, command, results.success.interval,
                  (trained["seed"],), config, notes)  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Two arms: the experts of hand_over, and a policy.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--train", action="store_true", help="train and evaluate a policy, in place of the experts")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/bimanual.py", *argv])
    if options.train:
        found = [policy_success(options.quick, command)]
    else:
        found = [expert_success(pair, 2 if options.quick else STARTS, command) for pair in PAIRS]
        if not options.quick:
            cv2.imwrite(str(PICTURE), np.vstack([stages(pair) for pair in PAIRS])[:, :, ::-1])
    for figure in found:
        print(f"{figure.id} {figure.variant} {figure.value:.2f} {figure.interval}")
    write_figures(results_file("bimanual", options.quick), found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
