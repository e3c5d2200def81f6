"""Windows per second of the loader, side by side with the bare codec, PyAV on the mp4 and plain zarr-python.

Real data from `../shared/data`, converted by our own converters into a temporary folder. What is compared runs in
turns in one process on the same cores; figures are medians over the turns, and a ratio is the median of the ratios
turn by turn. Everything counts: order, gather, decoding and the copy into the batch.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.format import codecs
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.loader import Loader, WindowSpec
from robolearn.datasets.loader.sampler import WindowSampler
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
CORES = sorted(os.sched_getaffinity(0))
STATE, ACTION, IMAGE = "observation.state", "action", "observation.images.top"
HEAD = "observation.images.cam_high"
ACTIONS = range(-1, 15)
Rates = dict[str, list[float]]


@contextlib.contextmanager
def cores(number: int) -> Iterator[None]:
    """Only so many cores, for this thread and those it starts."""
    os.sched_setaffinity(0, CORES[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def in_turns(runs: dict[str, Callable[[], int]], turns: int) -> Rates:
    """Windows per second of each in every turn; a first turn warms up. A run returns how many windows it made."""
    rates: Rates = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            windows = run()
            if turn:
                rates[name].append(windows / (time.perf_counter() - start))
    for name, values in rates.items():
        print(f"  {name:44s} {np.median(values):12,.0f} /s")
    return rates


def batches_of(loader: Loader, batches: int) -> Callable[[], int]:
    """Goes on in the loader's order from turn to turn; no batch is under way between turns."""
    starts = count(0, batches)

    def run() -> int:
        start = next(starts)
        for _ in loader.batches(start, start + batches):
            pass
        return batches * loader.batch_size

    return run


def replay_buffer(
    arrays: dict[str, Any], ends: np.ndarray, obs: tuple[str, ...], batch: int, batches: int
) -> Callable[[], int]:
    """The reading of diffusion policy's sampler: one window at a time in Python, sliced and padded, then stacked.

    `arrays` are numpy arrays (its replay buffer in memory) or zarr-python arrays (on disk).
    """
    windows = WindowSampler(ends, 16, 1, 14)
    indices = []
    for episode, stop in enumerate(ends):
        first = 0 if episode == 0 else int(ends[episode - 1])
        for start in range(first - 1, int(stop) - 1):
            low, high = max(start, first), min(start + 16, int(stop))
            indices.append((low, high, low - start))
    assert len(indices) == len(windows)
    rng = np.random.default_rng(0)

    def sample(index: int) -> dict[str, np.ndarray]:
        low, high, begin = indices[index]
        window = {}
        for name, array in arrays.items():
            length = 2 if name in obs else 16
            some = array[low : max(low + 1, min(high, low - begin + length))]
            out = np.empty((length, *array.shape[1:]), array.dtype)
            end = begin + len(some)
            out[:begin], out[begin:end], out[end:] = some[0], some, some[-1]
            window[name] = out
        return window

    def run() -> int:
        for _ in range(batches):
            chosen = [sample(int(i)) for i in rng.integers(0, len(indices), batch)]
            {name: np.stack([window[name] for window in chosen]) for name in arrays}
        return batches * batch

    return run


def push_t(folder: Path, quick: bool, turns: int) -> dict[str, Rates]:
    """Low-dimensional and image windows of Push-T, one core."""
    import zarr

    source, output = DATA / "pusht.zarr", folder / "pusht.zarr"
    convert_dataset(source, output, ConvertOptions(fps=10.0, max_episodes=20 if quick else None, workers=None))
    dataset = Dataset(output)
    ends = dataset.episode_ends
    group: Any = zarr.open_group(str(source), mode="r")["data"]
    on_disk = {"state": group["state"], "action": group["action"]}
    in_ram = {name: np.asarray(array[: ends[-1]]) for name, array in on_disk.items()}
    results = {}
    full_state = "observation.full_state"
    with cores(1):
        loader = Loader(dataset, WindowSpec({full_state: (-1, 0), ACTION: ACTIONS}), 256)
        print(f"Push-T, 2 observations (5) + 16 actions (2), batches of 256, one core; {loader.memory}")
        results["lowdim"] = in_turns(
            {
                "loader": batches_of(loader, 100 if quick else 2000),
                "zarr-python, replay buffer in RAM": replay_buffer(in_ram, ends, ("state",), 256, 2 if quick else 40),
                "zarr-python, on disk": replay_buffer(on_disk, ends, ("state",), 16, 1 if quick else 8),
            },
            turns,
        )
        loader = Loader(dataset, WindowSpec({IMAGE: (-1, 0), ACTION: ACTIONS}), 64, cache="decoded")
        print(f"Push-T, 2 images 96x96 + 16 actions, batches of 64, one core; {loader.memory}")
        for _ in loader.all():  # fills the cache
            pass
        images = {"img": group["img"], "action": group["action"]}
        ram_images = {"img": np.asarray(group["img"][: ends[-1]]), "action": in_ram["action"]}
        results["image96"] = in_turns(
            {
                "loader, decoded cache": batches_of(loader, 20 if quick else 300),
                "zarr-python, replay buffer in RAM": replay_buffer(ram_images, ends, ("img",), 64, 2 if quick else 60),
                "zarr-python, on disk": replay_buffer(images, ends, ("img",), 16, 1 if quick else 4),
            },
            turns,
        )
    return results


def decode_mp4(file: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def jpeg320(folder: Path, quick: bool, turns: int) -> dict[str, Rates]:
    """G1 frames at 320x240 stored as recording stores them (JPEG 95, 4:4:4): every frame of an epoch once."""
    from robolearn.core.feature import Feature, features

    videos = sorted((DATA / "g1_lerobot_v21" / "videos").rglob("*.mp4"))[: 1 if quick else 3]
    name, codec = "observation.images.front", JpegCodec(95)
    declared = features([Feature(name, (240, 320, 3), "uint8", "image"), Feature(ACTION, (1,), kind="action")])
    with DatasetWriter.create(folder / "jpeg320.zarr", declared, 30.0, durable=False) as writer:
        for video in videos:
            small = [cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA) for frame in decode_mp4(video)]
            frames = [codec.encode(frame) for frame in small]
            times = np.arange(len(frames)) / 30.0
            writer.write_episode(
                EpisodeData(times, {ACTION: np.zeros((len(frames), 1), np.float32)}, {name: frames}, {"task": "bench"})
            )
    dataset = Dataset(folder / "jpeg320.zarr")
    stored = dataset.encoded_many(name, range(dataset.num_steps))
    print(f"320x240 JPEG, {len(stored)} frames of {np.mean([len(data) for data in stored]) / 1e3:.1f} kB")
    encoded = [np.frombuffer(data, np.uint8) for data in stored]

    def bare(number: int) -> Callable[[], int]:
        pool = ThreadPoolExecutor(number)
        parts = [encoded[start::number] for start in range(number)]

        def decode(part: list[np.ndarray]) -> None:
            for data in part:
                cv2.imdecode(data, cv2.IMREAD_COLOR)

        def run() -> int:
            list(pool.map(decode, parts)) if number > 1 else decode(encoded)
            return len(encoded)

        return run

    def turbo() -> int:
        out = np.empty((240, 320, 3), np.uint8)
        for data in stored:
            codecs.simplejpeg.decode_jpeg(data, "RGB", buffer=out)
        return len(stored)

    def without_simplejpeg(run: Callable[[], int]) -> Callable[[], int]:
        def wrapped() -> int:
            kept, codecs.simplejpeg = codecs.simplejpeg, None
            try:
                return run()
            finally:
                codecs.simplejpeg = kept

        return wrapped

    results = {}
    for number in sorted({1, len(CORES)}):
        with cores(number):
            workers = number if number > 1 else 0
            loaders = {
                mode: Loader(dataset, WindowSpec({name: (0,)}), 32, cache=mode, workers=workers)
                for mode in ("none", "encoded")
            }  # fmt: skip
            epoch = loaders["none"].per_epoch
            print(f"320x240 JPEG on {number} core{'s' * (number > 1)}, images per second")
            opencv_only = Loader(dataset, WindowSpec({name: (0,)}), 32, cache="none", workers=0)
            runs = {
                "codec": bare(number),
                "loader": batches_of(loaders["none"], epoch),
                "loader, encoded cache": batches_of(loaders["encoded"], epoch),
            }
            if not workers and codecs.simplejpeg:  # in threads the two would mix
                runs["codec, simplejpeg"] = turbo
                runs["loader, OpenCV decoder"] = without_simplejpeg(batches_of(opencv_only, epoch))
            results[f"{number}_core"] = in_turns(runs, turns)
            for loader in loaders.values():
                loader.close()
    return results


class VideoReader:
    """Random windows from mp4 files with PyAV: containers stay open, seek to the keyframe, decode forward."""

    def __init__(self, videos: list[Path], thread_type: str, threads: int):
        import av

        self.streams = []
        for video in videos:
            container: Any = av.open(str(video))
            stream = container.streams.video[0]
            stream.thread_type, stream.codec_context.thread_count = thread_type, threads
            self.streams.append((container, stream))

    def window(self, video: int, first: int, out: np.ndarray) -> None:
        """Frames `first` and those after it until `out` `(T, H, W, 3)` is full."""
        container, stream = self.streams[video]
        wanted = round(first / (stream.average_rate * stream.time_base))
        tolerance = round(0.5 / (stream.average_rate * stream.time_base))
        container.seek(wanted, stream=stream, backward=True)
        position = 0
        for frame in container.decode(stream):
            if frame.pts >= wanted - tolerance:
                out[position] = frame.to_ndarray(format="rgb24")
                position += 1
                if position == len(out):
                    return


def places(loader: Loader, dataset: Dataset, step: int) -> list[tuple[int, int]]:
    """Episode, and step within it, of each window of a batch."""
    origin = loader.origin(loader.windows(step))
    starts = np.concatenate([[0], dataset.episode_ends])[origin.episode]
    return list(zip(origin.episode.tolist(), (origin.step - starts).tolist(), strict=True))


def mp4_windows(readers: list[VideoReader], loader: Loader, dataset: Dataset, batches: int) -> Callable[[], int]:
    """The loader's windows, from the mp4 files into one batch buffer; each reader has a thread."""
    out = np.empty((loader.batch_size, 2, 480, 640, 3), np.uint8)
    pool, step = ThreadPoolExecutor(len(readers)), count()

    def read(reader: VideoReader, rows: range, chosen: list[tuple[int, int]]) -> None:
        for row in rows:
            reader.window(*chosen[row], out[row])

    def run() -> int:
        for _ in range(batches):
            chosen = places(loader, dataset, next(step))
            parts = [range(k, loader.batch_size, len(readers)) for k in range(len(readers))]
            work = [pool.submit(read, reader, part, chosen) for reader, part in zip(readers, parts, strict=True)]
            for done in work:
                done.result()
        return batches * loader.batch_size

    return run


def against_mp4(folder: Path, quick: bool, turns: int) -> dict[str, Rates]:
    """Windows of two 480x640 frames from G1 episodes: ours after conversion against the mp4 files themselves."""
    number = 1 if quick else 5
    convert_dataset(DATA / "g1_lerobot_v21", folder / "g1.zarr", ConvertOptions(max_episodes=number, workers=None))
    dataset = Dataset(folder / "g1.zarr")
    videos = sorted((DATA / "g1_lerobot_v21" / "videos").rglob("*.mp4"))[:number]
    spec, batch, batches = WindowSpec({HEAD: (0, 1)}, pad_after=0), 16, 2 if quick else 12
    size = np.mean([len(data) for data in dataset.encoded_many(HEAD, range(0, dataset.num_steps, 10))])
    total, config = sum(video.stat().st_size for video in videos), dataset.codec(HEAD).get_config()
    print(f"G1 480x640: {dataset.num_steps} frames; ours {size / 1e3:.0f} kB a frame ({config}), "
          f"mp4 {total / dataset.num_steps / 1e3:.0f} kB")  # fmt: skip
    results = {}
    for many in sorted({1, len(CORES)}):
        with cores(many):
            workers = many if many > 1 else 0
            loader = Loader(dataset, spec, batch, cache="none", workers=workers)
            default = Loader(dataset, spec, batch, workers=workers)
            for _ in default.all():  # fills the cache
                pass
            readers = [VideoReader(videos, "SLICE", 1) for _ in range(many)]
            threaded = VideoReader(videos, "AUTO", 0)
            _check_same(loader.at(0)[HEAD], readers[0], places(loader, dataset, 0))
            print(f"G1, windows of two 480x640 frames, {many} core{'s' * (many > 1)}; {default.memory}")
            results[f"{many}_core"] = in_turns(
                {
                    "loader": batches_of(default, 4 * batches),
                    "loader, cache none": batches_of(loader, batches),
                    "PyAV, one reader": mp4_windows([threaded if many > 1 else readers[0]], loader, dataset, batches),
                    **({f"PyAV, {many} readers": mp4_windows(readers, loader, dataset, batches)} if many > 1 else {}),
                },
                turns,
            )
            for each in (loader, default):
                each.close()
    return results


def _check_same(ours: np.ndarray, reader: VideoReader, chosen: list[tuple[int, int]]) -> None:
    """Both must read the same frames, but for the loss of JPEG."""
    theirs = np.empty_like(ours)
    for row, place in enumerate(chosen):
        reader.window(*place, theirs[row])
    error = np.mean((ours.astype(np.float32) - theirs) ** 2, axis=(1, 2, 3, 4))
    if (psnr := 10 * np.log10(255**2 / error)).min() < 30:
        raise SystemExit(f"The two readers give different frames: PSNR down to {psnr.min():.1f} dB.")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        raise SystemExit(f"This benchmark needs the real data in {DATA}.")
    turns = 2 if options.quick else 7
    command = "python benchmarks/loader.py" + (" --quick" if options.quick else "")
    figures: list[Figure] = []
    config: dict[str, Any] = {"turns": turns, "jpeg_decoder": "simplejpeg" if codecs.simplejpeg else "OpenCV"}

    def add(identifier: str, values: list[float], unit: str, note: str, **more: Any) -> None:
        value, interval = float(np.median(values)), (min(values), max(values))
        note += "; interval: lowest and highest turn"
        figures.append(
            Figure(f"loader.{identifier}", value, unit, turns, command, interval, config={**config, **more}, notes=note)
        )
        print(f"loader.{identifier:44s} {value:14,.2f} {unit}")

    def ratio(rates: Rates, ours: str, theirs: str) -> list[float]:
        return [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        push = push_t(folder, options.quick, turns)
        small = jpeg320(folder, options.quick, turns)
        video = against_mp4(folder, options.quick, turns)
    low, pictures = push["lowdim"], push["image96"]
    ram, disk = "zarr-python, replay buffer in RAM", "zarr-python, on disk"
    add("lowdim_windows_per_s", low["loader"], "1/s", "Push-T, 2 observations and 16 actions", batch=256, cores=1)
    add("image96_windows_per_s", pictures["loader, decoded cache"], "1/s",
        "Push-T, 2 images 96x96 and 16 actions, decoded cache", batch=64, cores=1)  # fmt: skip
    add("ratio_vs_zarr_python", ratio(low, "loader", ram), "1",
        "low-dimensional; zarr-python: arrays in RAM, one window at a time, stacked", batch=256, cores=1)  # fmt: skip
    add("ratio_vs_zarr_python.on_disk", ratio(low, "loader", disk), "1",
        "low-dimensional windows; zarr-python slices its arrays on disk for each window", cores=1)  # fmt: skip
    add("ratio_vs_zarr_python.image96", ratio(pictures, "loader, decoded cache", ram), "1",
        "image windows, both from decoded images in RAM", batch=64, cores=1)  # fmt: skip
    add("ratio_vs_zarr_python.image96_on_disk", ratio(pictures, "loader, decoded cache", disk), "1",
        "image windows; zarr-python slices its arrays on disk for each window", cores=1)  # fmt: skip
    many = f"{len(CORES)}_core"
    on_all, on_one = {"batch": 32, "cores": len(CORES), "workers": len(CORES)}, {"batch": 32, "cores": 1, "workers": 0}
    add("jpeg320_ratio_to_codec", ratio(small[many], "loader", "codec"), "1",
        "320x240 JPEG 95 4:4:4 from files, cache none; cv2.imdecode of the same bytes in RAM", **on_all)  # fmt: skip
    add(
        "jpeg320_ratio_to_codec.one_core",
        ratio(small["1_core"], "loader", "codec"),
        "1",
        "320x240 JPEG 95 4:4:4 from files, cache none, simplejpeg in the loader; cv2.imdecode of the same bytes",
        **on_one,
    )
    if codecs.simplejpeg:
        add("jpeg320_ratio_to_codec.simplejpeg", ratio(small["1_core"], "loader", "codec, simplejpeg"), "1",
            "320x240 JPEG, cache none; against bare simplejpeg, the loader's own decoder", **on_one)  # fmt: skip
        add("jpeg320_ratio_to_codec.opencv", ratio(small["1_core"], "loader, OpenCV decoder", "codec"), "1",
            "320x240 JPEG, cache none; OpenCV in the loader against bare cv2.imdecode", **on_one)  # fmt: skip
    for key, label, used in ((many, "", len(CORES)), ("1_core", ".one_core", 1)):
        rates = video[key]
        best = max((name for name in rates if name.startswith("PyAV")), key=lambda name: np.median(rates[name]))
        more = {"batch": 16, "cores": used, "workers": used if used > 1 else 0, "pyav": best}
        windows = f"G1 480x640, random windows of 2 frames, against the faster way of PyAV on these cores ({best})"
        add(f"ratio_vs_mp4{label}", ratio(rates, "loader", best), "1",
            f"{windows}; the loader's own choice of cache, decoded, filled", cache="decoded", **more)  # fmt: skip
        add(f"ratio_vs_mp4{label}.uncached", ratio(rates, "loader, cache none", best), "1",
            f"{windows}; every frame read and decoded each time", cache="none", **more)  # fmt: skip
        if used > 1:
            add("ratio_vs_mp4.uncached_vs_one_reader", ratio(rates, "loader, cache none", "PyAV, one reader"), "1",
                "cache none, against one PyAV reader with its own threading", cache="none", **more)  # fmt: skip
    write_figures(results_file("loader", options.quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
