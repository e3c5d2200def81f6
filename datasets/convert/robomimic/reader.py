"""robomimic's HDF5: `data/demo_<k>/{actions, obs/*, rewards, dones, states}`, `data.attrs["env_args"]`, `mask/*`.

`obs/agentview_image` becomes `observation.images.agentview`, other observations `observation.<key>`, `rewards` and
`dones` become `next.reward` and `next.done`, simulator states and models are kept, filter keys become masks. The
simulator itself is not needed. A depth image in floats stays an array of floats. What the file holds is what most of
its demonstrations hold: one that differs is left out by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, one_line
from robolearn.core.feature import Feature
from robolearn.datasets.convert.array_features import decide, describe_arrays
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.origin import KEY, Origin
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, SourceDescription
from robolearn.datasets.convert.robomimic.file import LOOKED_AT, Opened, num_steps
from robolearn.datasets.convert.robomimic.filter_keys import filter_key
from robolearn.datasets.convert.robomimic.groups import demo_names, file_of, holds, model_text, read_masks
from robolearn.datasets.convert.witness import Label, Witness, claim
from robolearn.datasets.convert.wording import spelt
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import SIM_STATE, Json

FORMAT = "robomimic_hdf5"
BLOCK_BYTES = 64 << 20


def detect(source: Path) -> bool:
    """Whether `source` is an HDF5 file, or a folder with a `demo.hdf5`, with robomimic's observations."""
    return holds(source, lambda data: any("obs" in data[demo] for demo in demo_names(data)[:LOOKED_AT]))


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`."""
    opened = Opened.open(source)
    with opened.file:
        data = opened.file["data"]
        steps = sum(num_steps(data, demo, opened.found) for demo in opened.demos)
        env = opened.env.get("env_name") or "no simulator"
        decision = describe_arrays(list(opened.found.values()), opened.look)
        notes = (f"environment: {env}", *opened.notes, *decision.notes)
        return SourceDescription(FORMAT, len(opened.demos), steps, opened.fps, decision.features, (), notes)


def open_source(source: Path, options: ConvertOptions) -> EpisodeSource:
    """See `Converter.open_source`."""
    if options.cameras:
        raise ConfigError(
            f"{source} holds its own images; to render --camera {options.cameras[0]} from its simulator states, "
            "add --from robosuite_hdf5."
        )
    return RobomimicSource(Opened.open(source), options)


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.robomimic.witness import Hdf5Witness

    return Hdf5Witness(file_of(source))


class RobomimicSource(EpisodeSource):
    """Demonstrations with observations."""

    def __init__(self, opened: Opened, options: ConvertOptions):
        super().__init__()
        self.opened, self.options = opened, options
        fps = opened.fps or options.fps
        if fps is None:
            raise ConfigError(f"{opened.path} does not store the rate of its steps; give it with --fps.")
        self.fps = fps
        decision = decide(list(opened.found.values()), options, opened.look)
        self.names, self.features, self.pixels = decision.names, decision.features, decision.pixels
        self.claims = {name: claim(key, pixels=self.pixels.get(name)) for key, name in self.names.items()}
        self.claims[SIM_STATE] = claim("states")
        self.num_episodes = len(opened.demos)
        masks, notes = read_masks(opened.file, opened.demos)
        self.masks = _our_names(masks, opened.origin) if opened.origin else masks
        self.notes = [*opened.notes, *decision.notes, *notes]
        name = opened.env.get("env_name")
        if opened.origin:
            self.metadata = opened.origin.imported_metadata
            self.sim_env = opened.origin.sim_env
        else:
            self.metadata = {"env_args": opened.env, "robot": _robot(opened.env)}
            self.notes.append(f"the source stores no times: step k of an episode gets k / {fps:g} s")
            if name:
                self.sim_env = {"name": f"robomimic/{name}", "scene_version": opened.env.get("env_version"),
                                "control_hz": fps}  # fmt: skip

    def close(self) -> None:
        self.opened.file.close()

    def label(self, index: int) -> Label:
        return self.opened.demos[index]

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `EpisodeSource.read_episode`."""
        opened = self.opened
        label = opened.demos[index]
        try:
            demo = opened.file["data"][label]
            missing = next((key for key in self.names if key not in demo), None)
            if missing:
                raise ValueError(f"{missing} is missing")
            steps = num_steps(opened.file["data"], label, self.names)
            if not steps:
                raise ValueError("it has no steps")
            values = {}
            for key, name in self.names.items():
                shape = opened.found[key].shape
                if len(demo[key]) != steps:
                    raise ValueError(f"{key} has {len(demo[key])} steps, actions {steps}")
                if demo[key].size != steps * math.prod(shape):  # said before memory for it is asked for
                    raise ValueError(f"{key} has shape {demo[key].shape}, expected {(steps, *shape)}")
                if name in self.pixels:
                    self._spool_images(demo[key], name, self.pixels[name], spool)
                else:
                    feature = self.features[name]
                    rows = np.asarray(demo[key][()]).reshape(steps, *feature.shape)
                    values[name] = _as_exported(key, rows, feature) if opened.origin else rows
            states = np.asarray(demo["states"][()], np.float64) if "states" in demo else np.empty((0, 0))
            if states.size and len(states) != steps:
                raise ValueError(f"states has {len(states)} steps, actions {steps}")
            times = np.arange(steps) / self.fps
            if opened.origin:
                times = np.asarray(demo[opened.origin.timestamp][()], np.float64)
            record = self._record(label, demo, values)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise DatasetError(f"{opened.path}: {label} is damaged ({one_line(error)}).") from error
        except DatasetError as error:
            raise DatasetError(f"{opened.path}: {label}: {str(error).rstrip('.')}.") from error
        return EpisodeData(
            times, values, spool.frames(), record, states if states.size else None, model_text(demo) or None
        )

    def _spool_images(self, array: Any, name: str, pixels: Pixels, spool: FrameSpool) -> None:
        block = max(1, BLOCK_BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
        reader = pixels.reader()
        for start in range(0, len(array), block):
            for image in reader(_rows(array, start, min(len(array), start + block))):
                spool.add(name, image)
        reader.finish()

    def _record(self, label: str, demo: Any, values: Mapping[str, np.ndarray]) -> Json:
        stored = demo.attrs.get(KEY)
        if self.opened.origin and stored is not None:
            record = parsed(stored)
            return {**record, "task": self.options.task} if self.options.task else record
        record = {
            "task": self.options.task or _language(self.opened.env, demo) or self.opened.language,
            "source_episode": label,
        }
        rewards = values.get(self.names.get("rewards", ""))
        # robosuite's sparse reward is its success check; a shaped one says nothing
        if rewards is not None and np.isin(rewards, (0, 1)).all():
            record["success"] = bool(rewards.any())
        return record


def _as_exported(key: str, rows: np.ndarray, feature: Feature) -> np.ndarray:
    """Values of an export of ours in the type that they had: the format has types of its own for rewards and dones."""
    found = rows.astype(feature.dtype)
    if not np.array_equal(found, rows):
        raise ValueError(f"{key} holds numbers that are not {feature.dtype}, as {feature.name} was")
    return found


def _rows(array: Any, start: int, stop: int) -> np.ndarray:
    """Rows of an array. Raises ValueError naming the steps that cannot be read."""
    try:
        return np.asarray(array[start:stop])
    except OSError as error:
        rows = array.chunks[0] if array.chunks else stop - start
        for first in range(start // rows * rows, stop, rows):
            last = min(first + rows, stop)
            try:
                array[max(first, start) : last]
            except OSError:
                steps = spelt("step", max(first, start), last - 1)
                raise ValueError(f"{array.name}, {steps}, cannot be read: {error}") from error
        raise


def _our_names(masks: Mapping[str, list[int]], origin: Origin) -> dict[str, list[int]]:
    """The filter keys that the file has now, those that we exported under the names of their masks."""
    exported = {filter_key(name, origin.masks): name for name in origin.masks}
    return {exported.get(key, key): members for key, members in masks.items()}


def _robot(env: Mapping[str, Any]) -> str | None:
    robots = env.get("env_kwargs", {}).get("robots")
    return robots if isinstance(robots, str) or robots is None else " ".join(map(str, robots))


def _language(env: Mapping[str, Any], demo: Any) -> str | None:
    text = demo.attrs.get("language") or env.get("env_lang") or env.get("lang")
    return str(text) if text else None
