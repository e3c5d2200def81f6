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
from robolearn.datasets.episode import EpisodeData
from robolearn.datasets.writer import DatasetWriter
from robolearn.evaluation.figures import Figure, results_file, write_figures

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

# run by name in a new process: the path is sys.argv[2]
_MEASURE = """
import json, re, sys, time
from pathlib import Path
import numpy as np
from robolearn.datasets.info import describe, to_text
from robolearn.datasets.reader import Dataset
from robolearn.datasets.sampler import WindowSampler
def memory_kb(kind):
    return int(re.search(kind + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
what, path = sys.argv[1], sys.argv[2]
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory_kb("VmRSS")
start = time.perf_counter()
if what == "open":
    dataset = Dataset(path)
elif what == "info":
    to_text(describe(path))
else:
    dataset = Dataset(path)
    records = dataset.episodes
    text = to_text(describe(path))
    sampler = WindowSampler(dataset.episode_ends, {window}, 1, {window} - 2)
taken = time.perf_counter() - start
found = {{"taken_s": taken, "grown_mb": (memory_kb("VmHWM") - before) / 1024}}
if what == "index":
    arrays = {{name: dataset.array(name) for name in dataset.features}}
    found["load_s"] = time.perf_counter() - start - taken
    order = np.random.default_rng(0).integers(0, len(sampler), (200, {batch}))
    start = time.perf_counter()
    for index in order:
        sampler.gather(arrays, index)
    found["windows_per_s"] = order.size / (time.perf_counter() - start)
print(json.dumps(found))
""".format(window=WINDOW, batch=BATCH)


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


def measure(what: str, path: Path) -> dict[str, float]:
    """One measurement in a new process; `process_s` is its whole life, imports included."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _MEASURE, what, str(path)], capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout), "process_s": time.perf_counter() - start}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 steps in 200 episodes")
    parser.add_argument("--keep", type=Path, help="make the dataset here and keep it, or use the one that is here")
    options = parser.parse_args(argv)
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

    figures = [
        figure(
            "scale.open_s", "open", "taken_s", "s", f"whole process with imports {typical('open', 'process_s'):.2f} s"
        ),
        figure(
            "scale.info_s", "info", "taken_s", "s", f"whole process with imports {typical('info', 'process_s'):.2f} s"
        ),
        figure(
            "scale.index_rss_mb", "index", "grown_mb", "MB",
            "growth of the peak by open, episode records, info and window sampler; "
            f"writing took {write_s:.0f} s; loading all arrays, checksums compared, {typical('index', 'load_s'):.1f} s; "
            f"then {typical('index', 'windows_per_s'):,.0f} random windows/s of {WINDOW} steps, one thread",
        ),
    ]  # fmt: skip
    for item in figures:
        print(f"{item.id} = {item.value:.3g} {item.unit}  ({item.notes})")
    write_figures(results_file("scale", options.quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
