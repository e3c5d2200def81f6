"""Five minutes of recording: two cameras 640x480 at 30 Hz, proprioception at 1 kHz, actions at 20 Hz, in 60 s episodes.

The pictures are frames of a real robot video (the G1 recordings in shared/data), panned and shaken, with sensor noise,
prepared before the clock starts. Each device is a thread of the recording process, as a driver would be; CPU time and
memory are those of the whole process, devices and their prepared pictures included.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from robolearn.core.errors import RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.layout import Metadata, stream_key
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

VIDEOS = Path(__file__).resolve().parents[2] / "shared/data/g1_lerobot_v21/videos/chunk-000/observation.images.cam_high"
CAMERAS = ("observation.images.left", "observation.images.right")
HEIGHT, WIDTH = 480, 640
RING = 45  # pictures of each camera
NOISE = 2.0  # standard deviation of the sensor noise, of 255
FEATURES = features(
    [
        Feature("observation.state", (21,), rate_hz=1000.0),
        Feature("action", (7,), kind="action", rate_hz=20.0),
        *(Feature(name, (HEIGHT, WIDTH, 3), "uint8", "image", rate_hz=30.0) for name in CAMERAS),
    ]
)


def pictures(seed: int) -> list[np.ndarray]:
    """`RING` moving, noisy uint8 (480, 640, 3) pictures out of one real video."""
    import av

    files = sorted(VIDEOS.glob("*.mp4"))
    if not files:
        raise RobolearnError(f"{VIDEOS} has no video; fetch shared/data first.")
    rng, found = np.random.default_rng(seed), []
    with av.open(str(files[seed % len(files)])) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % 3 == 0:
                image = cv2.resize(frame.to_ndarray(format="rgb24"), (WIDTH + 32, HEIGHT + 32))
                x, y = 16 + 12 * np.sin(number / 9) + rng.normal(0, 1), 16 + 12 * np.cos(number / 7) + rng.normal(0, 1)
                shift = np.array([[1, 0, -x], [0, 1, -y]])
                moved = cv2.warpAffine(image, shift, (WIDTH, HEIGHT)).astype(np.float32)
                found.append(np.clip(moved + rng.normal(0, NOISE, moved.shape), 0, 255).astype(np.uint8))
            if len(found) == RING:
                return found
    raise RobolearnError(f"{files[seed % len(files)]} is too short for {RING} pictures.")


def device(
    recorder: StreamRecorder, name: str, sample: Callable[[int], np.ndarray], end_s: float, produced: dict[str, int]
) -> None:
    """One device: a sample each period, numbered and stamped by the device, until `end_s`; counts what it gave."""
    rate_hz = FEATURES[name].rate_hz or 0.0
    start_s, number = time.monotonic(), 0
    while (due_s := start_s + number / rate_hz) < end_s:
        time.sleep(max(0.0, due_s - time.monotonic()))
        produced[name] += 1  # before: a sample that is refused counts as dropped
        recorder.add(name, sample(number), device_time_s=number / rate_hz, sequence=number)
        number += 1


def rss_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Mean structural similarity of the luma of two RGB images (Wang et al. 2004: Gaussian window of 11, sigma 1.5)."""
    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (one, other))

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))))


def disk_mb(path: Path) -> float:
    """What the dataset takes, hard links counted once; journals that are being deleted are left out."""
    files: dict[int, int] = {}
    for folder, folders, names in os.walk(path):
        if folder == str(path):
            folders.remove("pending")
        stats = (os.stat(os.path.join(folder, name)) for name in names)
        files |= {found.st_ino: found.st_blocks * 512 for found in stats}
    return sum(files.values()) / 1e6


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the dataset is recorded; a temporary folder by default")
    options = parser.parse_args(argv)
    episodes, length_s = (2, 5.0) if options.quick else (5, 60.0)
    root = Path(tempfile.mkdtemp(dir=options.folder, prefix="recording-"))
    try:
        return measure(root / "recorded.zarr", episodes, length_s, options.quick)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def measure(path: Path, episodes: int, length_s: float, quick: bool) -> int:
    rings = {name: pictures(seed) for seed, name in enumerate(CAMERAS)}
    rng = np.random.default_rng(0)
    low_dim = {"observation.state": rng.normal(size=(997, 21)), "action": rng.normal(size=(101, 7))}
    samples: dict[str, Sequence[np.ndarray] | np.ndarray] = {**rings, **low_dim}
    told: list[str] = []
    memory: list[tuple[float, float]] = []
    commits, readies, late = [], [], 0
    produced = dict.fromkeys(FEATURES, 0)
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(1.0):
            memory.append((time.monotonic(), rss_mb()))

    with DatasetWriter.create(path, FEATURES, fps=20, recorded="streams") as writer:
        recorder = StreamRecorder(writer, tell=told.append)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        recorder.start_episode()
        started_s, used_s = time.monotonic(), cpu_s()
        for episode in range(episodes):
            end_s = time.monotonic() + length_s
            threads = []
            for name in FEATURES:

                def sample(number: int, values: Sequence[np.ndarray] | np.ndarray = samples[name]) -> np.ndarray:
                    return values[number % len(values)]

                threads.append(threading.Thread(target=device, args=(recorder, name, sample, end_s, produced)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            counts = recorder.counts()
            late += sum(count.late for count in counts.values())
            begun_s = time.monotonic()
            recorder.commit({"task": "benchmark"})
            commits.append(time.monotonic() - begun_s)
            begun_s = time.monotonic()
            if episode < episodes - 1:
                recorder.start_episode()
                readies.append(time.monotonic() - begun_s)
            text = ", ".join(f"{n.split('.')[-1]} {c.received}/{c.expected} late {c.late}" for n, c in counts.items())
            print(f"episode {episode}: {text}; saved in {commits[-1]:.2f} s, {rss_mb():.0f} MB", flush=True)
        cores = (cpu_s() - used_s) / (time.monotonic() - started_s)
        finished.set()
        watcher.join()
        spooled = len(told)
    arrays = Metadata.read(path).arrays
    stored_rows = {name: arrays[stream_key(name, "value")].length for name in FEATURES}
    dropped = sum(produced.values()) - sum(stored_rows.values())
    minutes = episodes * length_s / 60
    size = disk_mb(path) / minutes
    stored = []
    for name in CAMERAS:
        for row in range(0, 30, 3):
            data = (path / "streams" / name / "value" / f"{row}.0.0.0").read_bytes()
            stored.append((rings[name][row % RING], JpegCodec().decode(data)))
    quality = float(np.mean([psnr_db(*pair) for pair in stored]))
    similarity = float(np.mean([ssim(*pair) for pair in stored]))
    times, values = np.array(memory or [(0.0, rss_mb())]).T
    settled = times >= times[0] + length_s  # the first episode fills pools
    slope = float(np.polyfit(times[settled] - times[0], values[settled], 1)[0] * 60)
    flat = "" if quick else f"; slope after the first episode {slope:+.1f} MB/min"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    alternatives = []
    for quality_level, subsampling in ((95, "444"), (95, "420"), (90, "420")):
        codec = JpegCodec(quality_level, subsampling)
        coded = [(image, codec.encode(image)) for ring in rings.values() for image in ring[:20]]
        db = np.mean([psnr_db(image, codec.decode(data)) for image, data in coded])
        rate = np.mean([len(data) for _, data in coded]) * 60 * 60 / 1e6
        alternatives.append(f"q{quality_level} {subsampling}: {rate:.0f} MB/min {db:.1f} dB")
    config = {"episodes": episodes, "episode_s": length_s, "cameras": "2 x 640x480 at 30 Hz", "state_hz": 1000,
              "action_hz": 20, "jpeg": "q95 4:4:4", "cores_available": len(os.sched_getaffinity(0))}  # fmt: skip
    ring_mb = sum(image.nbytes for ring in rings.values() for image in ring) / 1e6
    command = "python benchmarks/recording.py" + (" --quick" if quick else "")
    rows = [
        ("record.dropped", dropped, "1", f"of {sum(produced.values())} samples given, by rows stored; "
                                         f"{late} late; {spooled} streams had to spool"),
        ("record.cpu_cores", cores, "1", "of the whole process, devices and saving included"),
        ("record.peak_rss_mb", peak, "MB", f"whole process, {ring_mb:.0f} MB prepared pictures included{flat}"),
        ("record.commit_s", max(commits), "s", f"slowest of {episodes}"),
        ("record.ready_s", max(readies, default=0.0), "s", "from the end of a commit until samples are taken again"),
        ("record.mb_per_min", size, "MB/min", "on disk; camera frames alone: " + "; ".join(alternatives)),
        ("record.psnr_db", quality, "dB", "stored against given pictures, sensor noise included"),
        ("record.ssim", similarity, "1", "luma, Gaussian window of 11"),
    ]  # fmt: skip
    for identifier, value, unit, note in rows:
        print(f"{identifier:20s} {value:10.3f} {unit:7s} {note}")
    figures = [Figure(i, float(v), u, episodes, command, config=config, notes=note) for i, v, u, note in rows]
    write_figures(results_file("recording", quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
