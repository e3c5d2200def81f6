"""A lab's scale: time to open and to describe a low-dimensional dataset of 10 million steps in 20,000 episodes, and
the memory that its index takes. The dataset is synthetic and is deleted afterwards; every measurement is made in a new
process, five times, and the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.loader.sampler import WindowSampler
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.info import describe, to_text
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

FPS = 20.0
STEPS_AN_EPISODE = 500
REPETITIONS = 5
WINDOW = 18
BATCH = 256
FEATURES = features(
    [
        Feature("observation.state", (10,), names=tuple(f"joint{i}" for i in range(10))),
        Feature("action", (7,), kind="action"),
    ]
)


def write(path: Path, episodes: int) -> float:
    """Write the dataset; returns the seconds it took."""
    rng = np.random.default_rng(0)
    timestamps = np.arange(STEPS_AN_EPISODE) / FPS
    start = time.perf_counter()
    with DatasetWriter.create(path, FEATURES, FPS, {"robot": "synthetic"}, durable=False) as writer:
        for episode in range(episodes):
            values = {
                name: rng.standard_normal((STEPS_AN_EPISODE, *feature.shape), np.float32)
                for name, feature in FEATURES.items()
            }
            record = {"task": f"task {episode % 40}", "success": episode % 3 > 0, "operator": "bench", "seed": episode}
            writer.write_episode(EpisodeData(timestamps, values, record=record))
    return time.perf_counter() - start


def memory_kb(kind: str) -> int:
    """`VmRSS`, or `VmHWM` for the peak, of this process."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(kind)))


def measure_here(what: str, path: str) -> dict[str, float]:
    """One measurement; `taken_s` is without imports."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory_kb("VmRSS"), time.perf_counter()
    if what == "info":
        to_text(describe(path))
        return {"taken_s": time.perf_counter() - start}
    dataset = Dataset(path)
    if what == "open":
        return {"taken_s": time.perf_counter() - start}
    kept = dataset.episodes, describe(path)
    sampler = WindowSampler(dataset.episode_ends, WINDOW, 1, WINDOW - 2)
    grown_mb = (memory_kb("VmHWM") - before) / 1024
    del kept
    start = time.perf_counter()
    arrays = {name: dataset.array(name) for name in dataset.features}
    load_s, start = time.perf_counter() - start, time.perf_counter()
    order = np.random.default_rng(0).integers(0, len(sampler), (200, BATCH))
    for index in order:
        sampler.gather(arrays, index)
    return {"grown_mb": grown_mb, "load_s": load_s, "windows_per_s": order.size / (time.perf_counter() - start)}


def measure(what: str, path: Path) -> dict[str, float]:
    """One measurement in a new process; `process_s` is its whole life, imports included."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--measure", what, "--keep", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {**json.loads(done.stdout), "process_s": time.perf_counter() - start}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 steps in 200 episodes")
    parser.add_argument("--keep", type=Path, help="make the dataset here, or use the one that is; writes no results")
    parser.add_argument("--measure", choices=("open", "info", "index"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.measure:
        print(json.dumps(measure_here(options.measure, str(options.keep))))
        return 0
    episodes = 200 if options.quick else 20_000
    folder = Path(tempfile.mkdtemp(prefix="robolearn-scale-"))
    path = options.keep or folder / "scale.zarr"
    try:
        write_s = 0.0 if path.exists() else write(path, episodes)
        found = {what: [measure(what, path) for _ in range(REPETITIONS)] for what in ("open", "info", "index")}
    finally:
        shutil.rmtree(folder)

    config = {"steps": episodes * STEPS_AN_EPISODE, "episodes": episodes, "values_a_step": 18}
    command = "python benchmarks/scale.py" + (" --quick" if options.quick else "")

    def figure(name: str, what: str, key: str, unit: str, notes: str) -> Figure:
        values = [run[key] for run in found[what]]
        interval = (min(values), max(values))
        notes = f"interval: lowest and highest run; files in the page cache; {notes}"
        return Figure(name, statistics.median(values), unit, len(values), command, interval, config=config, notes=notes)

    def typical(what: str, key: str) -> float:
        return statistics.median(run[key] for run in found[what])

    process = {what: f"whole process with imports {typical(what, 'process_s'):.2f} s" for what in ("open", "info")}
    beside = (
        f"growth of the peak by open, episode records, info and window sampler; writing took {write_s:.0f} s; "
        f"loading all arrays and comparing checksums {typical('index', 'load_s'):.1f} s; "
        f"then {typical('index', 'windows_per_s'):,.0f} random windows/s of {WINDOW} steps, one thread"
    )
    figures = [
        figure("scale.open_s", "open", "taken_s", "s", process["open"]),
        figure("scale.info_s", "info", "taken_s", "s", process["info"]),
        figure("scale.index_rss_mb", "index", "grown_mb", "MB", beside),
    ]
    for item in figures:
        print(f"{item.id} = {item.value:.3g} {item.unit}  ({item.notes})")
    if not options.keep:
        write_figures(results_file("scale", options.quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
