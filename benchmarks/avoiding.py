"""Avoiding: demonstrations of all 24 ways, BESO and deterministic BC trained on them, 480 rollouts of each.

    python benchmarks/avoiding.py            writes benchmarks/results/avoiding.json and docs/images/avoiding.png
    python benchmarks/avoiding.py --seeds 0  the same with one training seed of BESO
    python benchmarks/avoiding.py --quick    20 training steps and 4 rollouts, to see that it works

BESO is trained with three seeds, BC with the first of them. All rollouts begin at the one start state and differ by
the policy's random numbers. BC is also rolled out with whole chunks. Behaviour entropy is over the successful ones,
base 24; a deterministic policy has none.
A training run that was cut off is resumed, and finished parts are not done again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _runs import evaluate, run_record, train
from _verbs import robolearn

from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.run.rollout import RolloutConfig, run_episode
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.sim import make_env
from robolearn.sim.worlds.posts import GOAL_Y_M, POST_RADIUS_M, ROWS_M

ROOT = Path("outputs/bench_avoiding")
EXECUTE, WHOLE_CHUNK = 4, 8
SCALE, LEFT_M, RIGHT_M, TOP_M, BOTTOM_M = 900, -0.33, 0.33, 0.72, -0.04  # of the picture: pixels a metre, borders
PALETTE = [(214, 120, 40), (60, 140, 60), (60, 60, 205), (160, 80, 150)]  # BGR, by the passage through the last row


def train_and_evaluate(
    policy: str, seed: int, root: Path, dataset: Path, quick: bool, execute: int = EXECUTE
) -> EvaluationResults:
    """Train with the preset, or go on training, and roll out; what is finished is read back."""
    run = root / f"{policy}_{seed}"
    train(policy, "avoiding", dataset, run, "--seed", str(seed), *(["--steps", "20"] if quick else []))
    # the evaluation goes where its run goes
    return evaluate(run, run / f"eval_execute{execute}", "--env", "avoiding", "--num-episodes", "4" if quick else "480",
                    "--execute", str(execute), "--seed", str(seed), "--workers", "1")  # fmt: skip


def figures(name: str, results: list[EvaluationResults], runs: list[Path], command: str) -> list[Figure]:
    """Success and entropy as means over the training seeds, with the range of the seeds' intervals."""
    success, entropy = [r.success for r in results], [r.entropy for r in results if r.entropy]
    made = [r.policy["provenance"] for r in results]
    config = {
        "demonstrations": 96,
        "success_by_seed": [s.value for s in success], "entropy_by_seed": [e.value for e in entropy],
        "modes_by_seed": [len({e.mode for e in r.episodes if e.success}) for r in results],
        **run_record(runs, results),
    }  # fmt: skip
    n = sum(len(r.episodes) for r in results)
    notes = (
        f"mean over {len(made)} training seed(s), last checkpoint, {n // len(made)} rollouts each from the one start "
        "state; interval: lowest and highest bound of the seeds' 95 % intervals"
    )
    found = []
    for what, estimates in (("success", success), ("entropy", entropy)):
        value = float(np.mean([e.value for e in estimates]))
        interval = min(e.low for e in estimates), max(e.high for e in estimates)
        seeds = tuple(m["seed"] for m in made)
        found.append(Figure(f"avoiding.{name}.{what}", value, "1", n, command, interval, seeds, config, notes))
    return found


def trajectories(run: Path, episodes: int, seed: int, execute: int) -> list[np.ndarray]:
    """(T, 2) ways of the rod in the first rollouts of the evaluation."""
    policy, env = PolicySource(run).resolved().load(), make_env("avoiding")
    ways: list[list[np.ndarray]] = []

    def follow(env: Any, step: int, success: bool) -> None:
        if step == 0:
            ways.append([])
        ways[-1].append(env.data.qpos.copy())

    for init_state in range(episodes):
        run_episode(policy, env, init_state, RolloutConfig(execute, seed), on_step=follow)
    return [np.array(way) for way in ways]


def demonstrated(path: Path) -> list[np.ndarray]:
    dataset = Dataset(path)
    rod = dataset.array("observation.state")[:, 2:]
    return [rod[dataset.episode_slice(i)] for i in range(dataset.num_episodes)]


def panel(title: str, ways: list[np.ndarray]) -> np.ndarray:
    """The table from above with the ways, drawn at twice the size and shrunk, which smooths lines."""
    factor = 2 * SCALE

    def pixel(point: np.ndarray) -> tuple[int, int]:
        return round((point[0] - LEFT_M) * factor), round((TOP_M - point[1]) * factor)

    picture = np.full((round((TOP_M - BOTTOM_M) * factor), round((RIGHT_M - LEFT_M) * factor), 3), 255, np.uint8)
    cv2.line(picture, pixel(np.array([LEFT_M, GOAL_Y_M])), pixel(np.array([RIGHT_M, GOAL_Y_M])), (90, 160, 90), 5)
    for y, posts in ROWS_M:
        for x in posts:
            cv2.circle(picture, pixel(np.array([x, y])), round(POST_RADIUS_M * factor), (150, 150, 150), -1)
    for way in ways:
        color = PALETTE[int(np.searchsorted(ROWS_M[-1][1], way[-1][0]))]
        points = np.array([pixel(point) for point in way], np.int32)
        cv2.polylines(picture, [points], False, color, 3, cv2.LINE_AA)
        if way[-1][1] < GOAL_Y_M - 0.01:  # a touch
            cv2.drawMarker(picture, pixel(way[-1]), (0, 0, 0), cv2.MARKER_TILTED_CROSS, 36, 6, cv2.LINE_AA)
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.putText(small, title, (14, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.75, (40, 40, 40), 2, cv2.LINE_AA)
    return cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(200, 200, 200))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Avoiding: success and behaviour entropy of BESO and BC.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training BESO")
    options = parser.parse_args(argv)
    seeds = options.seeds[:1] if options.quick else options.seeds
    root = ROOT / ("quick" if options.quick else "full")
    dataset = root / "demonstrations.zarr"
    if not dataset.exists():
        robolearn("record", "--env", "avoiding", "--operator", "scripted", "--num-episodes", "96", "--dataset",
                  str(dataset))  # fmt: skip
    command = shlex.join(["python", "benchmarks/avoiding.py", *argv])
    found, panels = [], [panel("96 demonstrations", demonstrated(dataset))]
    for policy, execute in (("beso", EXECUTE), ("bc", EXECUTE), ("bc", WHOLE_CHUNK)):
        trained = seeds if policy == "beso" else seeds[:1]
        results = [train_and_evaluate(policy, seed, root, dataset, options.quick, execute) for seed in trained]
        name = policy if execute == EXECUTE else f"{policy}_whole_chunk"
        found += figures(name, results, [root / f"{policy}_{seed}" for seed in trained], command)
        shown = min(96, len(results[0].episodes))
        success, entropy = results[0].success, results[0].entropy
        title = f"{policy.upper()}: success {success.value:.2f}, entropy {entropy.value if entropy else 0:.2f}"
        if execute != EXECUTE:
            title = f"{policy.upper()}, {execute} actions each: success {success.value:.2f}"
        panels.append(panel(title, trajectories(root / f"{policy}_{seeds[0]}", shown, seeds[0], execute)))
    picture = root / "avoiding.png" if options.quick else Path("docs/images/avoiding.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), np.hstack(panels))
    print(f"Picture: {picture}")
    write_figures(results_file("avoiding", options.quick), found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
