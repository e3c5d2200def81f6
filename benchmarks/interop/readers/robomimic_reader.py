# mypy: ignore-errors
"""Reads an exported file with robomimic's own SequenceDataset and compares every item. Runs in robomimic's environment.

    python robomimic_reader.py EXPORT EXPECTED

EXPECTED is a folder of one .npy per column (`obs.<key>`, or the name of a dataset of a demonstration), plus
layout.json: {"lengths": [...], "masks": {filter key: [episodes]}}. Prints one line of json.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import robomimic
import robomimic.utils.obs_utils as ObsUtils
import torch
from robomimic.utils.dataset import SequenceDataset

FRAMES, STEPS = 2, 10


def open_dataset(export, keys, columns, **settings):
    settings = {"frame_stack": 1, "seq_length": 1, "hdf5_cache_mode": None} | settings
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return SequenceDataset(hdf5_path=export, obs_keys=keys, dataset_keys=columns, **settings)


def difference(found, want):
    assert found.shape == want.shape, (found.shape, want.shape)
    return float(np.abs(found.astype(np.float64) - want.astype(np.float64)).max(initial=0.0))


def main(export, expected_folder):
    expected = {f.stem: np.load(f, mmap_mode="r") for f in Path(expected_folder).glob("*.npy")}
    layout = json.loads((Path(expected_folder) / "layout.json").read_text())
    keys = [key.removeprefix("obs.") for key in expected if key.startswith("obs.")]
    columns = [key for key in expected if not key.startswith("obs.")]
    rgb = [key for key in keys if expected[f"obs.{key}"].dtype == np.uint8 and expected[f"obs.{key}"].ndim == 4]
    depth = [key for key in keys if expected[f"obs.{key}"].dtype == np.uint16]
    low = [key for key in keys if key not in (*rgb, *depth)]
    with contextlib.redirect_stdout(io.StringIO()):
        ObsUtils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": low, "rgb": rgb, "depth": depth}}])
    ends = np.cumsum(layout["lengths"])
    starts = ends - layout["lengths"]
    episode_of = np.repeat(np.arange(len(ends)), layout["lengths"])
    # robomimic hands everything but observations out as float32
    rounded = {key: np.asarray(expected[key]).astype(np.float32) for key in columns}
    worst = image_worst = 0.0
    for cache in (None, "low_dim"):
        dataset = open_dataset(export, keys, columns, hdf5_cache_mode=cache, load_next_obs=True)
        assert len(dataset) == ends[-1], len(dataset)
        for i in range(len(dataset)):
            item = dataset[i]
            following = min(i + 1, int(ends[episode_of[i]]) - 1)
            for key in columns:
                worst = max(worst, difference(item[key][0].astype(np.float32).ravel(), rounded[key][i].ravel()))
            for place, row in (("obs", i), ("next_obs", following)):
                for key in keys:
                    error = difference(item[place][key][0], np.asarray(expected[f"obs.{key}"][row]))
                    if key in low:
                        worst = max(worst, error)
                    else:
                        image_worst = max(image_worst, error)
    windows = open_dataset(
        export, low, ["actions"], frame_stack=FRAMES, seq_length=STEPS, hdf5_cache_mode="all", load_next_obs=False
    )
    for i in range(len(windows)):
        episode = episode_of[i]
        rows = np.clip(np.arange(i - FRAMES + 1, i + STEPS), starts[episode], ends[episode] - 1)
        worst = max(worst, difference(windows[i]["actions"], rounded["actions"][rows]))
        for key in low:
            worst = max(worst, difference(windows[i]["obs"][key], np.asarray(expected[f"obs.{key}"][rows])))
    for name, episodes in layout["masks"].items():
        subset = open_dataset(export, low, ["actions"], filter_by_attribute=name)
        assert len(subset) == sum(layout["lengths"][k] for k in episodes), (name, len(subset))
    processed = ObsUtils.process_obs_dict({k: torch.as_tensor(np.asarray(expected[f"obs.{k}"][:2])) for k in rgb})
    assert all(image.shape[1] == 3 and float(image.max()) <= 1.0 for image in processed.values())
    print(
        json.dumps(
            {
                "items": len(dataset),
                "windows": len(windows),
                "masks": sorted(layout["masks"]),
                "max_error": worst,
                "image_max_error": image_worst,
                "versions": {
                    "robomimic": robomimic.__version__, "torch": torch.__version__, "h5py": h5py.__version__,
                    "numpy": np.__version__,
                },
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:3])
