# mypy: ignore-errors
"""Reads an exported dataset with LeRobot's own LeRobotDataset and compares every item. Runs in LeRobot's environment:
0.4.4 for format v3.0, 0.3.3 for v2.1.

    python lerobot_reader.py EXPORT EXPECTED BACKEND

EXPECTED is a folder of one .npy per column, plus tasks.json; images of columns that are video are compared by PSNR.
Prints one line of json.
"""

import json
import math
import sys
from pathlib import Path

import av
import numpy as np
import torch

if torch.version.cuda is None:
    import torchvision_cpu  # noqa: F401

from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def as_array(value):
    return value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def stored(column):
    """The numbers of a column, flat, in the type in which the file has them."""
    flat = column.combine_chunks()
    flat = getattr(flat, "storage", flat)
    while hasattr(flat, "flatten") and hasattr(flat.type, "value_type"):
        flat = flat.flatten()
    return flat.to_numpy(zero_copy_only=False)


def bounds(dataset, episode):
    """First row of an episode and the one after its last."""
    index = getattr(dataset, "episode_data_index", None)
    if index is not None:  # format v2.1
        return int(index["from"][episode]), int(index["to"][episode])
    found = dataset.meta.episodes[episode]
    return found["dataset_from_index"], found["dataset_to_index"]


def psnr(error_sum, count):
    """dB of 8-bit images, from the sum of squared errors in units of [0, 1]."""
    return 200.0 if error_sum == 0 else min(200.0, -10 * math.log10(error_sum / count))


def image_error(found, expected):
    """Differences of one image, 8-bit ones in [0, 1]; items hold these as float32."""
    found = np.moveaxis(as_array(found), 0, -1)
    if expected.dtype == np.uint16:
        return found.astype(np.int64) - expected.astype(np.int64)
    return found.astype(np.float64) - (expected / 255.0).astype(np.float32)


def main(export, expected_folder, backend):
    dataset = LeRobotDataset("local/export", root=export, video_backend=backend)
    expected = {f.stem: np.load(f, mmap_mode="r") for f in Path(expected_folder).glob("*.npy")}
    tasks = json.loads((Path(expected_folder) / "tasks.json").read_text())
    cameras, videos = set(dataset.meta.camera_keys), set(dataset.meta.video_keys)
    assert len(dataset) == len(next(iter(expected.values()))), len(dataset)
    assert set(expected) <= set(dataset.features), set(expected) - set(dataset.features)
    low_error = image_max = 0.0
    squares = {key: [0.0, 0] for key in videos}
    for i in range(len(dataset)):
        item = dataset[i]
        assert item["task"] == tasks[int(item["episode_index"])], (i, item["task"])
        for key, rows in expected.items():
            want = np.asarray(rows[i])
            if key in videos:
                error = image_error(item[key], want)
                squares[key][0] += float((error**2).sum())
                squares[key][1] += error.size
            elif key in cameras:
                image_max = max(image_max, float(np.abs(image_error(item[key], want)).max()))
            else:
                # items come as torch's default types: float64 columns as float32
                want = want.astype(np.float32) if want.dtype == np.float64 else want
                have = as_array(item[key]).reshape(want.shape)
                low_error = max(low_error, float(np.abs(have.astype(np.float64) - want.astype(np.float64)).max()))
    table = dataset.hf_dataset.with_format("arrow")[:]
    for key, rows in expected.items():
        if key not in cameras:
            have = stored(table[key])
            assert have.dtype == rows.dtype, (key, have.dtype, rows.dtype)
            difference = np.abs(have.reshape(rows.shape).astype(np.float64) - np.asarray(rows, np.float64))
            low_error = max(low_error, float(difference.max()))
    window_error, windows = check_windows(export, backend, expected, cameras)
    print(
        json.dumps(
            {
                "items": len(dataset),
                "windows": windows,
                "max_error": max(low_error, window_error),
                "image_max_error": image_max,
                "video_psnr_db": min((psnr(*found) for found in squares.values()), default=None),
                "stats_max_error": check_stats(dataset, expected, cameras),
                "backend": backend,
                "versions": {"torch": torch.__version__, "av": av.__version__, "numpy": np.__version__},
            }
        )
    )


def check_windows(export, backend, expected, cameras):
    """Every 7th window of two observations and sixteen actions: padding at both ends of the episodes."""
    low = [key for key in expected if key not in cameras and key.startswith(("observation", "action"))]
    fps = LeRobotDataset("local/export", root=export).fps
    offsets = {key: [k / fps for k in (range(16) if key.startswith("action") else (-1, 0))] for key in low}
    offsets |= {key: [-1 / fps, 0.0] for key in cameras}
    dataset = LeRobotDataset("local/export", root=export, video_backend=backend, delta_timestamps=offsets)
    worst, count = 0.0, 0
    for i in range(0, len(dataset), 7):
        item = dataset[i]
        low_end, end = bounds(dataset, int(item["episode_index"]))
        high_end = end - 1
        for key in low:
            rows = [min(max(i + round(offset * fps), low_end), high_end) for offset in offsets[key]]
            want = np.stack([expected[key][row] for row in rows])
            have = as_array(item[key]).reshape(want.shape).astype(np.float64)
            want = want.astype(np.float32) if want.dtype == np.float64 else want
            worst = max(worst, float(np.abs(have - want.astype(np.float64)).max()))
        for key in cameras:
            assert item[key].shape[0] == 2, item[key].shape
        count += 1
    return worst, count


def check_stats(dataset, expected, cameras):
    """Our stats.json against what LeRobot computes itself from the values; its quantiles are approximate.

    Of vectors: for arrays of more axes, LeRobot's own shapes depend on the length of the episode.
    """
    low = [key for key in expected if key not in cameras and expected[key].ndim <= 2]
    per_episode = []
    for episode in range(dataset.num_episodes):
        rows = slice(*bounds(dataset, episode))
        values = {key: np.asarray(expected[key][rows]) for key in low}
        per_episode.append(compute_episode_stats(values, {key: dataset.features[key] for key in low}))
    theirs, worst = aggregate_stats(per_episode), 0.0
    for key in low:
        for name in ("min", "max", "mean", "std", "count"):
            want = np.asarray(theirs[key][name], np.float64)
            have = np.asarray(dataset.meta.stats[key][name], np.float64)
            assert have.shape == want.shape, (key, name, have.shape, want.shape)
            worst = max(worst, float((np.abs(have - want) / np.maximum(1.0, np.abs(want))).max()))
    return worst


if __name__ == "__main__":
    main(*sys.argv[1:4])
