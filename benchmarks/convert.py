"""Memory and speed of converting long video, both ways: the encoded frames alone are larger than the limit.

    python benchmarks/convert.py            2 x 3,000 frames of 640x480 (1.2 GB as JPEG), about six minutes
    python benchmarks/convert.py --quick    2 x 200 frames

The pictures are noise over a moving gradient, which compresses badly: what a converter keeps in memory shows. Memory is
the sum over the converting process and its workers, of pages that each has for itself and its share of common ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import pyarrow
from pyarrow import parquet

from robolearn.core.process import usable_cores
from robolearn.datasets.tools.info import size_on_disk
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

HEIGHT, WIDTH, FPS, EPISODES = 480, 640, 30, 2
CAMERA = "observation.images.top"
EXPORTS = {
    "lerobot_v3.av1": ("lerobot_v3", "--video", "av1"),
    "lerobot_v3.images": ("lerobot_v3", "--video", "none"),
    "robomimic_hdf5": ("robomimic_hdf5",),
    "diffusion_policy_zarr": ("diffusion_policy_zarr",),
}
LIMIT_MB = 1000


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short episodes")
    options = parser.parse_args(argv)
    length = 200 if options.quick else 3000
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch) / "source", Path(scratch) / "out.zarr"
        make_source(source, length)
        seconds, peak_mb = convert(source, output)
        stored_mb = size_on_disk(output / "data" / CAMERA) / 1e6
        exported = {}
        for name, (target, *more) in EXPORTS.items():
            exported[name] = convert(output, Path(scratch) / name, "--to", target, *more)
            print(f"to {name}: {exported[name][0]:.0f} s, {exported[name][1]:.0f} MB of memory")
    frames = EPISODES * length
    print(f"{frames} frames, {stored_mb:.0f} MB of JPEG: {peak_mb:.0f} MB of memory, {frames / seconds:.0f} frames/s")
    command = "python benchmarks/convert.py" + (" --quick" if options.quick else "")
    config = {
        "frames": frames, "height": HEIGHT, "width": WIDTH, "jpeg_mb": round(stored_mb), "workers": usable_cores(),
        "video": "H.264", "limit_mb": LIMIT_MB,
    }  # fmt: skip
    memory_note = "sum of the proportional set sizes of the converting process and its workers, sampled every 50 ms"
    figures = [
        Figure("convert.peak_rss_mb", peak_mb, "MB", 1, command, config=config, notes=memory_note),
        Figure("convert.frames_per_s", frames / seconds, "1/s", 1, command, config=config, notes="whole command"),
    ]
    figures += [
        Figure("convert.export_peak_rss_mb", export_mb, "MB", 1, command, config={**config, "variant": name},
               notes=f"to {name}, {export_s:.0f} s; {memory_note}")
        for name, (export_s, export_mb) in exported.items()
    ]  # fmt: skip
    write_figures(results_file("convert", options.quick), figures)
    return 0


def make_source(root: Path, length: int) -> None:
    """A LeRobot v2.1 dataset of one camera."""
    counters = {key: {"dtype": "int64", "shape": [1], "names": None} for key in ("episode_index", "task_index")}
    info = {
        "codebase_version": "v2.1", "robot_type": "none", "fps": FPS, "total_episodes": EPISODES,
        "total_frames": EPISODES * length,
        "data_path": "data/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "action": {"dtype": "float32", "shape": [7], "names": None},
            CAMERA: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"],
                     "info": {"video.pix_fmt": "yuv420p"}},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None}, **counters,
        },
    }  # fmt: skip
    for folder in ("meta", "data", f"videos/{CAMERA}"):
        (root / folder).mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    listed = [json.dumps({"episode_index": e, "length": length, "tasks": ["none"]}) for e in range(EPISODES)]
    (root / "meta/episodes.jsonl").write_text("\n".join(listed))
    for episode in range(EPISODES):
        columns = {
            "action": pyarrow.array(np.zeros((length, 7)).tolist(), pyarrow.list_(pyarrow.float32())),
            "timestamp": pyarrow.array(np.arange(length) / FPS, pyarrow.float32()),
            "episode_index": np.full(length, episode),
            "task_index": np.zeros(length, np.int64),
        }
        parquet.write_table(pyarrow.table(columns), root / f"data/episode_{episode:06d}.parquet")
        write_video(root / f"videos/{CAMERA}/episode_{episode:06d}.mp4", length, seed=episode)


def write_video(path: Path, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 40, (16, HEIGHT, WIDTH, 3))
    ramp = np.linspace(40, 215, WIDTH)[None, :, None]
    pictures = [np.clip(noise[k] + np.roll(ramp, 40 * k, axis=1), 0, 255).astype(np.uint8) for k in range(len(noise))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "ultrafast", "g": "15"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for step in range(length):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[step % len(pictures)], format="rgb24")))
        container.mux(stream.encode())


def convert(source: Path, output: Path, *more: str) -> tuple[float, float]:
    """(Seconds, largest memory in MB) of the command and all its processes."""
    command = [sys.executable, "-m", "robolearn", "dataset", "convert", "--input", str(source), "--output", str(output)]
    command += more
    started, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command)
    while process.poll() is None:
        peak = max(peak, sum(memory_mb(pid) for pid in family(process.pid)))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, peak


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in family(int(child)))]


def memory_mb(pid: int) -> float:
    """Proportional set size: pages that processes share count once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3
    except (OSError, StopIteration):
        return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
