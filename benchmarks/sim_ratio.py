"""Control steps per second of three scenes against an earlier checkout, the same actions in both, side by side.

    python benchmarks/sim_ratio.py [--before PATH]

PATH is a checkout of the commit to compare with; without it one of be66d7d, the last commit before worlds and tasks, is
exported into a temporary folder. Each checkout steps in a process of its own, on one core, and they take turns, so that
other load on the machine meets both; what is counted is processor time. The ratio is the median of the turns' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "be66d7d"
SCENES = {"put_on_plate": 400, "avoiding": 6000, "block_push": 2500}  # steps of a turn


def serve() -> None:
    """In a checkout's process: for each line "SCENE STEPS SEED" step, and answer with seconds of processor time."""
    from robolearn.sim import make_env

    envs = {name: make_env(name) for name in SCENES}
    print("ready", flush=True)
    for line in sys.stdin:
        name, steps, seed = line.split()
        print(turn(envs[name], int(steps), int(seed)), flush=True)


def turn(env: Any, steps: int, seed: int) -> float:
    """Small random motions; an episode that ends begins again, and resets are not counted."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(options={"init_state": seed})
    size = env.action_feature.shape[0]
    moves = rng.uniform(-0.01, 0.01, (steps, 3 if size == 10 else size)).astype(np.float32)
    action, used = observation["observation.state"].copy(), 0.0
    for move in moves:
        if size == 10:
            action[:3] = np.clip(action[:3] + move, (0.35, -0.2, 0.05), (0.6, 0.2, 0.4))
        else:
            action = move
        start = time.process_time_ns()
        _, _, terminated, truncated, _ = env.step(action)
        used += 1e-9 * (time.process_time_ns() - start)
        if terminated or truncated:
            env.reset(options={"init_state": seed})
    return used


class Stepper:
    """A checkout's process."""

    def __init__(self, checkout: Path):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve"], cwd=checkout, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(checkout)},
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._ask, self._answer = self._process.stdin, self._process.stdout
        if self._answer.readline().strip() != "ready":
            raise SystemExit(f"error: the scenes of {checkout} cannot be made")

    def seconds(self, scene: str, steps: int, seed: int) -> float:
        self._ask.write(f"{scene} {steps} {seed}\n")
        self._ask.flush()
        return float(self._answer.readline())

    def close(self) -> None:
        self._ask.close()
        self._process.wait()


@contextlib.contextmanager
def checkout_before(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=packed, check=True)
        yield Path(folder)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--before", type=Path, help="checkout to compare with")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve()
        return 0
    # not at the top: the process of an earlier checkout imports that checkout's
    from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    turns, share = (3, 10) if options.quick else (9, 1)
    with checkout_before(options.before) as before:
        old, new = Stepper(before), Stepper(ROOT)
        found: dict[str, list[tuple[float, float]]] = {scene: [] for scene in SCENES}
        for number in range(turns + 1):
            for scene, steps in SCENES.items():
                order = (old, new) if number % 2 else (new, old)
                seconds = {side: side.seconds(scene, steps // share, number) for side in order}
                if number:  # the first turn warms up
                    found[scene].append((seconds[old], seconds[new]))
        old.close()
        new.close()
    figures = []
    command = "python benchmarks/sim_ratio.py" + (" --quick" if options.quick else "")
    for scene, pairs in found.items():
        ratios = [was / now for was, now in pairs]
        steps = SCENES[scene] // share
        config = {"variant": scene, "before": BEFORE, "steps_a_turn": steps, "turns": turns}
        rates = [float(np.median([steps / pair[side] for pair in pairs])) for side in (0, 1)]
        note = (
            f"{rates[1]:.0f} control steps a second, {rates[0]:.0f} before; processor time of one core, in turns; "
            "interval: lowest and highest turn; resets not counted"
        )
        interval = (min(ratios), max(ratios))
        figures.append(
            Figure("sim.steps_ratio_vs_before", float(np.median(ratios)), "1", turns, command, interval,
                   config=config, notes=note)
        )  # fmt: skip
        print(f"{scene:14s} {np.median(ratios):5.2f}  ({interval[0]:.2f} to {interval[1]:.2f}; {note.split(';')[0]})")
    write_figures(results_file("sim_ratio", options.quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
