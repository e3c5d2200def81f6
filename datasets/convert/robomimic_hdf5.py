"""robomimic's HDF5: `data/demo_<k>/{actions, obs/*, rewards, dones, states}`, `data.attrs["env_args"]`, `mask/*`.

`obs/agentview_image` becomes `observation.images.agentview`, other observations `observation.<key>`, `rewards` and
`dones` become `next.reward` and `next.done`, simulator states and models are kept, filter keys become masks. The
simulator itself is not needed. A depth image in floats stays an array of floats. What the file holds is what most of
its demonstrations hold: one that differs is left out by name.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.decide import SourceArray, decide, describe_arrays
from robolearn.datasets.convert.export.origin import KEY, Origin
from robolearn.datasets.convert.hdf5 import (
    demo_names,
    file_of,
    is_hdf5,
    model_text,
    open_hdf5,
    other_names,
    read_masks,
)
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions, Source, SourceDescription, damaged
from robolearn.datasets.convert.source import spelt
from robolearn.datasets.convert.spool import FrameSpool
from robolearn.datasets.convert.witness import Label, Witness, claim
from robolearn.datasets.episode import EpisodeData
from robolearn.datasets.layout import SIM_STATE, Json, is_encoded

FORMAT = "robomimic_hdf5"
BLOCK_BYTES = 64 << 20
LOOKED_AT = 100  # demonstrations, to find out what is in the file
TOP = {"actions": "action", "rewards": "next.reward", "dones": "next.done"}
# stored, but not as features of the steps
STRUCTURE = ("obs", "next_obs", "states")


@dataclass(frozen=True)
class Opened:
    """The file and what its attributes say.

    Attributes:
        found: key (`actions`, `obs/agentview_image`, ...) -> what most demonstrations declare.
        origin: what an export of ours says of the dataset it came from.
        language: instruction of all demonstrations, where the file says one (LIBERO).
    """

    path: Path
    file: Any
    env: Json
    demos: tuple[str, ...]
    found: Mapping[str, SourceArray]
    origin: Origin | None
    notes: tuple[str, ...]
    language: str | None = None

    @classmethod
    def open(cls, source: Path) -> Opened:
        """Raises DatasetError when the file is damaged or not in this layout."""
        path = file_of(source)
        file = open_hdf5(path)
        try:
            data = file["data"]
            env, notes = _environment(data)
            demos = demo_names(data)
            if not demos:
                raise KeyError("demo_*")
            document = data.attrs.get(KEY)
            origin = None
            if document is not None:
                origin = Origin.from_json(json.loads(document), f"{path}: the attribute {KEY}")
            notes += other_names(data)
            found, said = _describe(data, demos, origin)
        except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
            file.close()
            raise damaged(path, repr(error)) from error
        except BaseException:
            file.close()
            raise
        return cls(path, file, env, demos, found, origin, (*notes, *said), _instruction(data))

    def look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last row of demonstrations all over the file; those that cannot be read are left out."""
        for place in np.unique(np.linspace(0, len(self.demos) - 1, LOOKED_AT).astype(int)).tolist():
            with contextlib.suppress(KeyError, OSError, ValueError, TypeError):
                rows = self.file["data"][self.demos[place]][array.key]
                if len(rows) and rows.shape[1:] == array.shape:
                    yield np.stack([rows[row] for row in dict.fromkeys((0, len(rows) // 2, len(rows) - 1))])

    @property
    def fps(self) -> float | None:
        """The control rate in Hz, where it is stored."""
        if self.origin:
            return self.origin.fps
        rate = self.env.get("env_kwargs", {}).get("control_freq")
        return float(rate) if rate else None


def _environment(data: Any) -> tuple[Json, list[str]]:
    """(`env_args`, or nothing where there are none, notes)."""
    try:
        env = json.loads(data.attrs.get("env_args", "{}"))
        if isinstance(env, dict):
            return env, []
        reason = f"it is {type(env).__name__}"
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
    return {}, [f"the attribute env_args is not carried over: it cannot be read ({reason})"]


def _instruction(data: Any) -> str | None:
    """What LIBERO's `problem_info` says; None without one."""
    try:
        found = json.loads(data.attrs["problem_info"])["language_instruction"]
    except (KeyError, ValueError, TypeError, OSError):
        return None
    return " ".join(map(str, found)) if isinstance(found, list) else str(found)


def _num_steps(data: Any, name: str, keys: Iterable[str]) -> int:
    """Steps of a demonstration: those of its actions, or of the first of `keys`; 0 where they cannot be read."""
    try:
        demo = data[name]
        key = next((key for key in ("actions", "action", *keys) if key in demo), None)
        return len(demo[key]) if key else 0
    except (KeyError, OSError, TypeError, RuntimeError):
        return 0


def _describe(data: Any, demos: Sequence[str], origin: Origin | None) -> tuple[dict[str, SourceArray], list[str]]:
    """(Key -> what most of the demonstrations declare, notes on what is not carried over)."""
    places = np.unique(np.linspace(0, len(demos) - 1, LOOKED_AT).astype(int)).tolist()
    declared = [_declared(data, demos[place]) for place in places]
    looked = [arrays for arrays, _ in declared if arrays]
    votes: dict[str, Counter[tuple[tuple[int, ...], str]]] = {}
    fitting: Counter[str] = Counter()
    for arrays in looked:
        steps = len(arrays[next((key for key in ("actions", "action") if key in arrays), next(iter(arrays)))])
        for key, array in arrays.items():
            votes.setdefault(key, Counter())[tuple(array.shape[1:]), array.dtype.str] += 1
            fitting[key] += len(array) == steps
    found: dict[str, SourceArray] = {}
    notes: list[str] = []
    others = sorted({name for _, names in declared for name in names})
    if "next_obs" in others:
        notes.append("next_obs is not carried over: it is obs one step later")
        others.remove("next_obs")
    if others and not origin:
        notes.append(f"not carried over, because they are no arrays of steps: {', '.join(others)}")
    for key, counted in votes.items():
        (shape, code), _ = counted.most_common(1)[0]
        dtype, there, bare = np.dtype(code), sum(counted.values()), key.removeprefix("obs/")
        if origin:
            if bare in origin.keys:
                feature = origin.features[origin.keys[bare]]
                found[key] = SourceArray(
                    key, shape if is_encoded(feature) else feature.shape, dtype.name, feature, fixed=True, known=True
                )
        elif dtype.kind not in "biuf":
            notes.append(f"{key} ({dtype}) is not carried over: it does not hold numbers")
        elif there <= len(looked) / 2:
            notes.append(f"{key} is not carried over: it is in {there} of the {len(looked)} demonstrations looked at")
        elif fitting[key] <= there / 2:
            notes.append(f"{key} is not carried over: it does not have a row for each step")
        else:
            found[key] = _source_array(key, shape, dtype)
    if origin:  # HDF5 lists by name
        order = {name: place for place, name in enumerate(origin.features)}
        found = dict(sorted(found.items(), key=lambda item: order[item[1].feature.name]))
    if not found:
        raise KeyError("obs")
    return found, notes


def _declared(data: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """(Arrays of a demonstration, what else is in it); none of a damaged one: it is left out later, and named."""
    try:
        demo = data[name]
        arrays = dict(_arrays(demo))
        held = [*(key for key in demo if key not in ("obs", "states")), *(f"obs/{key}" for key in demo.get("obs", ()))]
        return arrays, [key for key in held if key not in arrays]
    except (KeyError, OSError, AttributeError, TypeError, RuntimeError):
        return {}, []


def _arrays(demo: Any) -> Iterator[tuple[str, Any]]:
    """Arrays of steps: those of the demonstration itself and those in `obs`."""
    for key, item in demo.items():
        if key not in STRUCTURE and hasattr(item, "shape") and item.shape:
            yield key, item
    for key, item in demo.get("obs", {}).items():
        if hasattr(item, "shape") and item.shape:
            yield f"obs/{key}", item


def _source_array(key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> SourceArray:
    bare = key.removeprefix("obs/")
    name = TOP.get(key, f"observation.{bare}" if key.startswith("obs/") else bare)
    feature = Feature(name, shape or (1,), dtype.name, "action" if name.startswith("action") else "state")
    return SourceArray(key, shape, dtype.name, feature, fixed=key in TOP, camera=bare.removesuffix("_image"))


def detect(source: Path) -> bool:
    """Whether `source` is an HDF5 file, or a folder with a `demo.hdf5`, with robomimic's observations."""
    path = file_of(source)
    try:
        import h5py

        if not is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            data = file["data"]
            return any("obs" in data[demo] for demo in demo_names(data)[:LOOKED_AT])
    except (OSError, ImportError, KeyError, IndexError, TypeError, AttributeError, ValueError):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`."""
    opened = Opened.open(source)
    with opened.file:
        data = opened.file["data"]
        steps = sum(_num_steps(data, demo, opened.found) for demo in opened.demos)
        env = opened.env.get("env_name") or "no simulator"
        decision = describe_arrays(list(opened.found.values()), opened.look)
        notes = (f"environment: {env}", *opened.notes, *decision.notes)
        return SourceDescription(FORMAT, len(opened.demos), steps, opened.fps, decision.features, (), notes)


def open_source(source: Path, options: ConvertOptions) -> Source:
    """See `Converter.open_source`."""
    if options.cameras:
        raise ConfigError(
            f"{source} holds its own images; to render --camera {options.cameras[0]} from its simulator states, "
            "add --from robosuite_hdf5."
        )
    return RobomimicSource(Opened.open(source), options)


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.hdf5_witness import Hdf5Witness

    return Hdf5Witness(file_of(source))


class RobomimicSource(Source):
    """Demonstrations with observations."""

    def __init__(self, opened: Opened, options: ConvertOptions):
        super().__init__()
        self.opened, self.options = opened, options
        fps = options.fps or opened.fps
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
            self.metadata = {k: v for k, v in opened.origin.metadata.items() if k != "provenance"}
            self.metadata["exported_from"] = opened.origin.metadata.get("provenance")
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
        """See `Source.read_episode`."""
        opened = self.opened
        label = opened.demos[index]
        try:
            demo = opened.file["data"][label]
            missing = next((key for key in self.names if key not in demo), None)
            if missing:
                raise ValueError(f"{missing} is missing")
            steps = _num_steps(opened.file["data"], label, self.names)
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
            reason = " ".join(str(error).split())
            raise DatasetError(f"{opened.path}: {label} is damaged ({reason}).") from error
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
            record = json.loads(stored)
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
    from robolearn.datasets.convert.export.robomimic_hdf5 import filter_key

    exported = {filter_key(name, origin.masks): name for name in origin.masks}
    return {exported.get(key, key): members for key, members in masks.items()}


def _robot(env: Mapping[str, Any]) -> str | None:
    robots = env.get("env_kwargs", {}).get("robots")
    return robots if isinstance(robots, str) or robots is None else " ".join(map(str, robots))


def _language(env: Mapping[str, Any], demo: Any) -> str | None:
    text = demo.attrs.get("language") or env.get("env_lang") or env.get("lang")
    return str(text) if text else None
