"""robomimic's HDF5: `data/demo_<k>/{actions, rewards, dones, states, obs/*, next_obs/*}` and filter keys in `mask/`.

A demonstration is made by itself and copied into the one file at the end. `rewards` and `dones` are the features
`next.reward` and `next.done` where there are any; else the reward is 1 at the last step of an episode labelled a
success, and `dones` is 1 at the last step. `timestamps` holds the true times, `states` the simulator's states.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.export.exported_dataset import TIMESTAMP, ExportedDataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.work import Part, Work, require_space
from robolearn.datasets.convert.origin import KEY
from robolearn.datasets.convert.robomimic.filter_keys import filter_key
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json, to_json

TIMES = "timestamps"
FLAT = {"rewards": np.dtype(np.float64), "dones": np.dtype(np.int64)}
RESERVED = ("actions", *FLAT, "states", "obs", "next_obs", TIMES)
ROBOSUITE_TYPE, GYM_TYPE = 1, 2
GZIP_LEVEL = 4
# of what HDF5 writes beside the values
ROOM_BYTES = 1 << 20


def key_of(feature: Feature) -> str:
    """`observation.images.front` -> `front_image`, `observation.depth.front` -> `front_depth`, ... as robosuite's."""
    name = feature.name.removeprefix("observation.")
    if feature.kind == "image":
        return name.removeprefix("images.") + "_image"
    if feature.kind == "depth":
        return name.removeprefix("depth.") + "_depth"
    return name


def export(exported: ExportedDataset, work: Work, options: ExportOptions) -> list[str]:
    """See `protocol.py`. Raises FeatureError when there is no vector that could be `actions`."""
    action = _action(exported)
    keys = exported.keys(key_of, options.rename, taken=RESERVED)
    keys[action] = "actions"
    for name, key in zip(("next.reward", "next.done"), FLAT, strict=True):
        if name in keys and exported.features[name].shape in ((), (1,)):
            keys[name] = key
            exported.require(name, _exact_in(FLAT[key]), f"robomimic's {key!r} are {FLAT[key]}")
    parts = [
        Part(work.parts / f"demo_{k}.hdf5", partial(_write_demo, exported, k, keys, options))
        for k in range(exported.num_episodes)
    ]
    work.produce(parts, options.workers, options.progress)
    work.clear_result()
    require_space(work.folder, sum(part.path.stat().st_size for part in parts) + ROOM_BYTES)
    with h5py.File(work.result, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = exported.num_steps
        data.attrs["env_args"] = json.dumps(_env_args(exported), indent=4)
        data.attrs[KEY] = to_json(exported.origin(keys, TIMES, with_episodes=False).to_json()).decode()
        for k, part in enumerate(parts):
            with h5py.File(part.path, "r") as demo:
                demo.copy("demo", data, name=f"demo_{k}")
            options.progress(k + 1, len(parts))
        for name, episodes in exported.masks.items():
            demos = np.array([f"demo_{k}" for k in episodes], dtype="S")
            file[f"mask/{filter_key(name, exported.masks)}"] = demos
    notes = exported.notes(carries_sim=True)
    if options.next_obs:
        notes.append("next_obs of an episode's last step repeats obs: what followed was not recorded")
    if exported.dataset.sim_env is None and not _has_env_args(exported):
        notes.append("env_args name no simulator: the data trains, robomimic's roll-outs need an environment of yours")
    return notes


def _exact_in(dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Says of numbers which of them `dtype`, float64 or int64, holds as they are."""

    def exact(rows: np.ndarray) -> np.ndarray:
        if rows.dtype.kind == "f":
            whole = (rows == np.trunc(rows)) & (np.abs(rows) < 2.0**63)
            return rows.astype(np.float64) == rows if dtype.kind == "f" else whole
        limit = 2**53 if dtype.kind == "f" else np.iinfo(np.int64).max
        return (rows.dtype.kind == "b") | ((rows <= limit) & (rows >= -limit - (dtype.kind == "i")))

    return exact


def _action(exported: ExportedDataset) -> str:
    """The feature that becomes `actions`: `action`, or the only one of that kind."""
    found = [name for name, feature in exported.features.items() if feature.kind == "action"]
    name = "action" if "action" in found else found[0] if len(found) == 1 else None
    if name is None or len(exported.features[name].shape) != 1:
        listed = ", ".join(f"{n} {exported.features[n].shape}" for n in found) or "none"
        raise FeatureError(f"robomimic needs one vector of actions, called 'action'; found {listed}.")
    return name


def _is_observation(feature: Feature) -> bool:
    return layout.is_encoded(feature) or (feature.kind != "action" and not feature.name.startswith("next."))


def _write_demo(exported: ExportedDataset, k: int, keys: Mapping[str, str], options: ExportOptions, path: Path) -> None:
    record, dataset, index = exported.records[k], exported.dataset, exported.episodes[k]
    length = exported.length(k)
    step_bytes = sum(int(np.prod(f.shape)) * np.dtype(f.dtype).itemsize for f in exported.features.values())
    require_space(path.parent, options.workers * (length * step_bytes * (1 + options.next_obs) + ROOM_BYTES))
    with h5py.File(path, "w") as file:
        demo = file.create_group("demo")
        demo.create_group("obs")
        demo.attrs["num_samples"] = length
        demo.attrs[KEY] = to_json(record).decode()
        model, states = dataset.sim_model(index), dataset.sim_states(index)
        if model is not None:
            demo.attrs["model_file"] = model
        demo["states"] = np.empty((length, 0)) if states is None else states
        demo[TIMES] = exported.rows(TIMESTAMP, k)
        last = np.arange(length) == length - 1
        demo["rewards"] = (last & (record.get("success") is True)).astype(np.float64)
        demo["dones"] = last.astype(np.int64)
        for name, key in keys.items():
            feature = exported.features[name]
            places = ["obs", "next_obs"][: 1 + options.next_obs] if _is_observation(feature) else []
            if layout.is_encoded(feature):
                _write_images(demo, [f"{place}/{key}" for place in places], exported, name, k, options.compress)
                continue
            values = exported.rows(name, k)
            if key in FLAT:
                demo[key][:] = values.reshape(length)
            elif not places:
                demo[key] = values
            for place in places:
                shift = place == "next_obs"
                demo[f"{place}/{key}"] = np.concatenate([values[shift:], values[length - shift :]])


def _write_images(demo: Any, places: list[str], exported: ExportedDataset, name: str, k: int, compress: bool) -> None:
    """`(T, H, W, C)` under each of `places` (obs, and next_obs one step later), holding one image at a time."""
    steps, feature = exported.slice(k), exported.features[name]
    shape = feature.shape if len(feature.shape) == 3 else (*feature.shape, 1)
    length = steps.stop - steps.start
    storage: dict[str, Any] = {"chunks": (1, *shape), "compression": "gzip", "compression_opts": GZIP_LEVEL}
    arrays = [
        demo.create_dataset(place, (length, *shape), feature.dtype, **(storage if compress else {})) for place in places
    ]
    for step in range(length):
        image = exported.dataset.image(name, steps.start + step).reshape(shape)
        # compressed here, not by HDF5, which would hold its lock and so the other workers
        chunk = zlib.compress(image.tobytes(), GZIP_LEVEL) if compress else b""
        for shift, array in enumerate(arrays):
            for row in (row for row in range(max(step - shift, 0), step + 1) if min(row + shift, length - 1) == step):
                if compress:
                    array.id.write_direct_chunk((row, 0, 0, 0), chunk)
                else:
                    array[row] = image


def _env_args(exported: ExportedDataset) -> Json:
    """What robomimic makes its environment from: what was imported, else the scene that was recorded, else a name."""
    env = exported.dataset.sim_env
    if _has_env_args(exported):
        return dict(exported.metadata["env_args"])
    if env is None:
        name = str(exported.metadata.get("robot") or "unknown")
        return {"env_name": name, "type": GYM_TYPE, "env_kwargs": {"control_freq": exported.fps}}
    suite, _, task = str(env.get("name", "")).rpartition("/")
    kwargs = {k: v for k, v in env.items() if k not in ("name", "scene_version")} | {"control_freq": exported.fps}
    return {"env_name": task, "type": ROBOSUITE_TYPE if suite == "robosuite" else GYM_TYPE, "env_kwargs": kwargs}


def _has_env_args(exported: ExportedDataset) -> bool:
    found = exported.metadata.get("env_args")
    return isinstance(found, dict) and {"env_name", "type", "env_kwargs"} <= found.keys()
