"""What it costs to load actions in another layout than they are stored in.

    python benchmarks/loader_layouts.py --before ../before   with a checkout of an earlier version, for the ratio
    python benchmarks/loader_layouts.py --quick

Windows of 2 observations and 16 actions of one arm, batches of 256, one core, from a dataset of poses made here.
Versions and layouts run in turns, a process each; figures are medians over the turns.

loader.layout_windows_per_s        one entry a layout (`config.variant`); "stored" needs no conversion
loader.stored_ratio_vs_before      windows per second of the stored layout, against the other checkout, turn by turn
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STORED = "stored"
LAYOUTS = (STORED, "pose.current.axis_angle", "umi", "pose.observation.axis_angle")
BATCH = 256


def write(path: Path, episodes: int, length: int = 150) -> None:
    """Smooth ways of one arm, which lags behind what it is told."""
    from robolearn.core.action import ActionLayout, Part
    from robolearn.core.feature import Feature, features
    from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d
    from robolearn.datasets.format.episode import EpisodeData
    from robolearn.datasets.write.writer import DatasetWriter

    names = ActionLayout((Part("pose"), Part("gripper"))).names  # by which versions without layouts know them, too
    declared = features([Feature("observation.state", (10,), names=names),
                         Feature("action", (10,), kind="action", names=names)])  # fmt: skip
    rng = np.random.default_rng(0)
    with DatasetWriter.create(path, declared, 20.0, durable=False) as writer:
        for _ in range(episodes):
            start, speed = rng.uniform(-0.3, 0.3, 6), rng.uniform(-0.01, 0.01, 6)
            steps = np.arange(length + 3)[:, None]
            twist = start + steps * speed
            turns = matrix_to_rot6d(axis_angle_to_matrix(twist[:, 3:]))
            rows = np.concatenate([twist[:, :3], turns, np.sin(steps / 20) ** 2], axis=1).astype(np.float32)
            values = {"observation.state": rows[:length], "action": rows[3:]}
            writer.write_episode(EpisodeData(np.arange(length) / 20.0, values, {}, {"task": "bench"}))


def windows_per_s(dataset: Path, layout: str, batches: int) -> float:
    """In this process, best of three."""
    from robolearn.datasets.loader import Loader, WindowSpec
    from robolearn.datasets.read.reader import Dataset

    spec = WindowSpec.chunks(["observation.state"], "action", 2, 16)
    more: dict[str, Any] = {} if layout == STORED else {"action": layout}  # an earlier version knows no other
    loader = Loader(Dataset(dataset), spec, BATCH, **more)
    best = 0.0
    for turn in range(4):
        began = time.perf_counter()
        for step in range(batches):
            loader.at(turn * batches + step)
        best = max(best, batches * BATCH / (time.perf_counter() - began) if turn else 0.0)
    return best


def measure(checkout: Path, dataset: Path, layout: str, batches: int) -> float:
    """`windows_per_s` of a checkout, in a process of its own on one core."""
    command = [sys.executable, __file__, "--one", str(dataset), layout, str(batches)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument("--one", nargs=3, metavar=("DATASET", "LAYOUT", "BATCHES"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
        print(windows_per_s(Path(options.one[0]), options.one[1], int(options.one[2])))
        return 0
    from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

    turns, batches = (1, 5) if options.quick else (9, 300)
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "poses.zarr"
        write(dataset, 5 if options.quick else 100)
        for _ in range(turns):
            for layout in LAYOUTS:
                rates.setdefault(layout, []).append(measure(ROOT, dataset, layout, batches))
                if layout == STORED and options.before:
                    rates.setdefault("before", []).append(measure(options.before.resolve(), dataset, layout, batches))
    command = "python benchmarks/loader_layouts.py" + (" --quick" if options.quick else " --before ../before")
    config = {"batch": BATCH, "cores": 1, "turns": turns, "batches": batches}

    def figure(name: str, values: list[float], unit: str, variant: str, note: str) -> Figure:
        shown = {**config, **({"variant": variant} if variant else {})}
        print(f"loader.{name} {variant:30s} {np.median(values):14,.2f} {unit}")
        note += "; median, interval: lowest and highest turn"
        interval = (min(values), max(values))
        return Figure(f"loader.{name}", float(np.median(values)), unit, turns, command, interval, (), shown, note)

    found = [
        figure("layout_windows_per_s", rates[layout], "1/s", layout, "windows of 2 observations and 16 actions")
        for layout in LAYOUTS
    ]
    if options.before:
        ratios = [now / before for now, before in zip(rates[STORED], rates["before"], strict=True)]
        found.append(figure("stored_ratio_vs_before", ratios, "1", "", "actions as stored, against another checkout"))
    write_figures(results_file("loader_layouts", options.quick), found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
