"""What a robomimic file declares: its demonstrations, the arrays that most of them have, and what else is in it."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import one_line
from robolearn.core.feature import Feature
from robolearn.datasets.convert.array_features import SourceArray
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.origin import KEY, Origin
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.robomimic.controller import action_layout
from robolearn.datasets.convert.robomimic.groups import demo_names, file_of, open_hdf5, other_names
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.format.layout import Json, is_encoded

TOP = {"actions": "action", "rewards": "next.reward", "dones": "next.done"}
# stored, but not as features of the steps
STRUCTURE = ("obs", "next_obs", "states")
LOOKED_AT = 100  # demonstrations, to find out what is in the file


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
                origin = Origin.from_json(parsed(document), f"{path}: the attribute {KEY}")
            notes += other_names(data)
            found, said = _describe(data, demos, origin)
            if origin is None:
                found = _with_meaning(found, env)
        except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
            file.close()
            raise damaged(path, repr(error)) from error
        except BaseException:
            file.close()
            raise
        return cls(path, file, env, demos, found, origin, (*notes, *said), _instruction(data))

    def look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last row of demonstrations all over the file; those that cannot be read are left out."""
        for place in spread(len(self.demos), LOOKED_AT):
            with contextlib.suppress(KeyError, OSError, ValueError, TypeError):
                rows = self.file["data"][self.demos[place]][array.key]
                if len(rows) and rows.shape[1:] == array.shape:
                    yield np.stack([rows[row] for row in first_middle_last(len(rows))])

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
        env = parsed(data.attrs.get("env_args", "{}"))
        if not isinstance(env, dict) or not isinstance(env.get("env_kwargs", {}), dict):
            raise TypeError(f"it is {type(env).__name__}, expected a map with a map env_kwargs")
        rate = env.get("env_kwargs", {}).get("control_freq")
        if rate is not None and not 0 < float(rate) < math.inf:
            raise ValueError(f"control_freq is {rate}")
        return env, []
    except (ValueError, TypeError, OSError) as error:
        return {}, [f"the attribute env_args is not carried over: it cannot be read ({one_line(error)})"]


def _instruction(data: Any) -> str | None:
    """What LIBERO's `problem_info` says; None without one."""
    try:
        found = parsed(data.attrs["problem_info"])["language_instruction"]
    except (KeyError, ValueError, TypeError, OSError):
        return None
    return " ".join(map(str, found)) if isinstance(found, list) else str(found)


def num_steps(data: Any, name: str, keys: Iterable[str]) -> int:
    """Steps of a demonstration: those of its actions, or of the first of `keys`; 0 where they cannot be read."""
    try:
        demo = data[name]
        key = next((key for key in ("actions", "action", *keys) if key in demo), None)
        return len(demo[key]) if key else 0
    except (KeyError, OSError, TypeError, RuntimeError):
        return 0


def _describe(data: Any, demos: Sequence[str], origin: Origin | None) -> tuple[dict[str, SourceArray], list[str]]:
    """(Key -> what most of the demonstrations declare, notes on what is not carried over)."""
    declared = [_declared(data, demos[place]) for place in spread(len(demos), LOOKED_AT)]
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


def _with_meaning(found: Mapping[str, SourceArray], env: Json) -> dict[str, SourceArray]:
    """`found` with the layout of the actions, where the file says how robosuite's controller was set."""
    actions = found.get("actions")
    layout = action_layout(env, actions.shape[0]) if actions is not None and len(actions.shape) == 1 else None
    if actions is None or layout is None:
        return dict(found)
    return {**found, "actions": replace(actions, feature=replace(actions.feature, layout=layout))}


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
