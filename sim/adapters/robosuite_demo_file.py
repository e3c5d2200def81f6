"""What a `demo.hdf5` of robosuite holds, found out before any demonstration is read: see `robosuite_demos.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.robomimic.groups import (
    demo_names,
    file_of,
    holds,
    model_text,
    open_hdf5,
    other_names,
    read_array,
    read_masks,
)
from robolearn.sim.adapters.robosuite_targets import LEAD_STEPS, DeltaControl, delta_control

_GEOM_ATTRIBUTES = ("type", "size", "pos", "quat", "friction", "density", "mass")


@dataclass(frozen=True)
class DemoFile:
    """The opened file and what its attributes say.

    Attributes:
        demos: names of all demonstrations.
        whole: those with states and actions; the others are left out when they are read, and named.
        extras: other arrays of steps, as features.
    """

    path: Path
    file: Any
    task: str
    robots: tuple[str, ...]
    version: str | None
    date: str | None
    control: DeltaControl | None
    demos: tuple[str, ...]
    whole: tuple[str, ...]
    env_args: dict[str, Any]
    extras: tuple[Feature, ...]

    @classmethod
    @contextmanager
    def opened(cls, source: Path) -> Iterator[DemoFile]:
        """Raises DatasetError when the groups and attributes are not those of robosuite's demonstrations."""
        path = file_of(source)
        with open_hdf5(path) as file:
            yield cls._of(path, file)

    @classmethod
    def _of(cls, path: Path, file: Any) -> DemoFile:
        try:
            data = file["data"]
            attributes = dict(data.attrs)
            demos = demo_names(data)
            _refuse_old(path, data, attributes, demos)
            env_args = parsed(attributes.get("env_info") or attributes["env_args"])
            info = env_args.get("env_kwargs", env_args)
            robots = info["robots"]
            if not demos:
                raise KeyError("demo_*")
            whole = _whole(data, demos)
            return cls(
                path=path,
                file=file,
                task=str(attributes["env"] if "env" in attributes else env_args["env_name"]),
                robots=(robots,) if isinstance(robots, str) else tuple(robots),
                version=attributes.get("repository_version"),
                date=attributes.get("date") or attributes.get("readable_timestamp"),
                control=delta_control(info.get("controller_configs")),
                demos=demos,
                whole=whole,
                env_args=env_args,
                extras=_extras(data, whole),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{path} lacks what robosuite's demonstrations have ({error!r}); copy it again."
            ) from error

    def require_whole(self) -> tuple[str, ...]:
        """Raises DatasetError when no demonstration is whole."""
        if not self.whole:
            raise DatasetError(f"{self.path}: none of its {len(self.demos)} demonstrations has states and actions.")
        return self.whole

    def rows(self, demo: str, name: str) -> np.ndarray:
        """(T, N) float64. Raises DatasetError when it is missing, damaged or of another shape."""
        array = self.array(demo, name)
        if array.ndim != 2 or len(array) < 2 or array.dtype.kind not in "biuf":
            raise DatasetError(f"{self.path}: {name!r} of {demo} has shape {array.shape}, expected (steps, numbers).")
        return array.astype(np.float64)

    def array(self, demo: str, name: str) -> np.ndarray:
        """As it is stored. Raises DatasetError when it is missing or damaged."""
        return read_array(self.path, self.file["data"][demo], name)

    def model(self, demo: str) -> str:
        """The model (XML) that a demonstration was recorded in; empty without one."""
        return model_text(self.file["data"][demo])

    def object_geoms(self, demo: str, names: frozenset[str]) -> dict[str, dict[str, str]]:
        """Shapes of the task's objects `names` in a demonstration's model; empty without one. Raises DatasetError."""
        xml = self.model(demo)
        if not xml:
            return {}
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError as error:
            raise DatasetError(f"{self.path}: {demo}: its model is not valid xml ({error}).") from error
        geoms = (geom for geom in root.iter("geom") if geom.get("name") in names)
        return {g.attrib["name"]: {k: g.attrib[k] for k in _GEOM_ATTRIBUTES if k in g.attrib} for g in geoms}

    def masks(self) -> tuple[Mapping[str, list[int]], list[str]]:
        """(Filter key -> indices in `demos`, notes on what is not carried over of them)."""
        return read_masks(self.file, self.demos)

    def notes(self) -> list[str]:
        """A line for each thing that is not carried over, or not as it was."""
        data = self.file["data"]
        notes = other_names(data)
        without_model = sum(not self.model(demo) for demo in self.whole)
        if without_model:
            notes.append(
                f"{without_model} of {len(self.whole)} demonstrations come without the model they were recorded in; "
                "objects have the shapes (and doors and dirt the places) of start state 0"
            )
        if self.control is None:
            notes.append(f"the controller was not OSC_POSE with increments; actions are poses {LEAD_STEPS} steps later")
        if self.task == "Wipe":
            notes.append("the dirt is not part of the recorded states, so success cannot be judged")
        carried = {"states", "actions", *(extra.name.removeprefix("source.") for extra in self.extras)}
        others = sorted({key for demo in self.whole for key in data[demo]} - carried)
        if others:
            notes.append(f"not carried over: {', '.join(others)}")
        return notes


def is_demo_file(source: Path) -> bool:
    """Whether `source` is a `demo.hdf5`, or a folder with one, in robosuite's layout. Never raises."""
    return holds(source, _is_robosuites)


def _is_robosuites(data: Any) -> bool:
    named = "env" in data.attrs or "env_args" in data.attrs
    return named and any("states" in demo for demo in data.values() if hasattr(demo, "items"))


def _refuse_old(path: Path, data: Any, attributes: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises DatasetError for a file of robosuite 0.x (RoboTurk's pilot data), saying what it is and what to do."""
    version = str(attributes.get("repository_version") or "")
    demos = [data[name] for name in names if hasattr(data[name], "items")]
    if version.startswith("0.") or (demos and not any("actions" in demo for demo in demos)):
        held = ", ".join(sorted({key for demo in demos for key in demo})) or "nothing"
        raise DatasetError(
            f"{path} was recorded with robosuite {version or '0.x'} ({attributes.get('env', 'unknown task')}): it "
            f"holds {held}, but no actions that robosuite 1.x could play back; robomimic's convert_roboturk_pilot.py "
            "and dataset_states_to_obs.py (with robosuite's branch roboturk_v1) make a robomimic file of it, which can "
            "be converted."
        )


def _whole(data: Any, demos: Sequence[str]) -> tuple[str, ...]:
    """The demonstrations with states and actions."""
    return tuple(
        demo
        for demo in demos
        if hasattr(data[demo], "items")
        and all(getattr(data[demo].get(key), "shape", ()) for key in ("states", "actions"))
    )


def _extras(data: Any, whole: Sequence[str]) -> tuple[Feature, ...]:
    """Other arrays with a row of numbers for each step, in all of them alike: torques, who was acting, ..."""
    found: dict[str, set[tuple[tuple[int, ...], str]]] = {}
    for demo in (data[name] for name in whole):
        for key, item in demo.items():
            fits = getattr(item, "shape", ())[:1] == demo["states"].shape[:1] and item.dtype.kind in "biuf"
            if key not in ("states", "actions") and fits:
                found.setdefault(key, set()).add((item.shape[1:], item.dtype.name))
    alike = {key: next(iter(kinds)) for key, kinds in found.items() if len(kinds) == 1}
    shared = {key: kind for key, kind in alike.items() if all(key in data[demo] for demo in whole)}
    return tuple(Feature(f"source.{key}", shape or (1,), dtype) for key, (shape, dtype) in shared.items())
