"""What a reader of an export should find, as plain .npy files: the readers' environments do not have robolearn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from robolearn.datasets.convert.export.diffusion_policy_zarr import key_of as zarr_key
from robolearn.datasets.convert.export.exported_dataset import TIMESTAMP, ExportedDataset
from robolearn.datasets.convert.export.lerobot.folder import TRUE_TIME
from robolearn.datasets.convert.export.robomimic_hdf5 import TIMES
from robolearn.datasets.convert.export.robomimic_hdf5 import key_of as robomimic_key
from robolearn.datasets.convert.robomimic.filter_keys import FILTER_KEYS
from robolearn.datasets.format import layout


def _values(exported: ExportedDataset, name: str) -> np.ndarray:
    values = exported.read(name, 0, exported.num_steps)
    return np.ascontiguousarray(values)


def _images(exported: ExportedDataset, name: str) -> np.ndarray:
    """`(N, H, W, C)`."""
    values = _values(exported, name)
    return values if values.ndim == 4 else values[..., None]


def _save(folder: Path, columns: dict[str, np.ndarray], documents: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in columns.items():
        np.save(folder / f"{name}.npy", rows)
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content))


def for_lerobot(exported: ExportedDataset, folder: Path) -> None:
    columns = {
        name: _images(exported, name) if layout.is_encoded(feature) else _values(exported, name)
        for name, feature in exported.features.items()
    }
    lengths = [exported.length(k) for k in range(exported.num_episodes)]
    columns |= {TRUE_TIME: _values(exported, TIMESTAMP), "episode_index": np.repeat(np.arange(len(lengths)), lengths)}
    columns |= {"frame_index": np.concatenate([np.arange(n) for n in lengths]), "index": np.arange(exported.num_steps)}
    _save(folder, columns, {"tasks.json": [str(record.get("task") or "") for record in exported.records]})


def for_robomimic(exported: ExportedDataset, folder: Path) -> None:
    columns = {TIMES: _values(exported, TIMESTAMP)}
    for name, feature in exported.features.items():
        if name == "action":
            columns["actions"] = _values(exported, name)
        elif layout.is_encoded(feature):
            columns[f"obs.{robomimic_key(feature)}"] = _images(exported, name)
        elif not name.startswith("next."):
            columns[f"obs.{robomimic_key(feature)}"] = _values(exported, name)
    last = np.zeros(exported.num_steps, np.float64)
    last[exported.ends - 1] = 1.0
    success = np.array([record.get("success") is True for record in exported.records], np.float64)
    columns["dones"] = last
    columns["rewards"] = last.copy()
    columns["rewards"][exported.ends - 1] = success
    if "next.reward" in exported.features:
        columns["rewards"] = _values(exported, "next.reward").reshape(-1)
    if "next.done" in exported.features:
        columns["dones"] = _values(exported, "next.done").reshape(-1)
    masks = {FILTER_KEYS.get(name, name): members for name, members in exported.masks.items()}
    lengths = [exported.length(k) for k in range(exported.num_episodes)]
    _save(folder, columns, {"layout.json": {"lengths": lengths, "masks": masks}})


def for_zarr2(exported: ExportedDataset, folder: Path) -> None:
    columns = {zarr_key(feature): _values(exported, name) for name, feature in exported.features.items()}
    columns[TIMESTAMP] = _values(exported, TIMESTAMP)
    _save(folder, columns, {"episode_ends.json": exported.ends.tolist()})
