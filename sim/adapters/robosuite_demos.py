"""Human demonstrations recorded with robosuite (`demo.hdf5`) into our dataset.

The source holds MuJoCo states and raw actions; everything else is computed again in robosuite 1.5.2: observations,
success, and pictures of the cameras that are asked for (none by default: a frame takes some 20 ms without a GPU).

Actions are relabelled. The recorded ones are pose increments relative to where the arm was, so playing them back
drifts, and across robosuite's versions it fails. Added to the recorded pose they give back the absolute target that
the controller was commanded:

    target position = position + output_max[:3] * clip(a[:3], -1, 1)
    target rotation = exp(output_max[3:] * clip(a[3:6], -1, 1)) @ rotation

Demonstrations made with another controller get the pose measured `LEAD_STEPS` later instead. The raw actions are kept
as the feature `action_original`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from robolearn.datasets.convert.protocol import ConvertOptions, ConvertReport, SourceDescription
from robolearn.datasets.convert.source import source_provenance, write_episode
from robolearn.datasets.writer import DatasetWriter

if TYPE_CHECKING:
    from robolearn.sim.adapters.robosuite import RobosuiteEnv

FORMAT = "robosuite_hdf5"
POSE_SIZE = 9
# OSC_POSE (kp 150, critically damped) trails a moving target by 2 / sqrt(150) = 0.163 s, and a target that is held for
# 0.05 s is half of that late: 0.19 s, 4 steps of 20 Hz
LEAD_STEPS = 4
TASKS = {
    "Lift": "lift the cube",
    "Stack": "stack the red cube on the green cube",
    "NutAssembly": "put both nuts on their pegs",
    "PickPlace": "put every object into its bin",
    "Door": "open the door",
    "Wipe": "wipe the table clean",
    "TwoArmHandover": "hand the hammer over from one arm to the other",
}
_GEOM_ATTRIBUTES = ("type", "size", "pos", "quat", "friction", "density", "mass")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class DeltaControl:
    """How a source's actions move the controller's target.

    Attributes:
        scale: (6,) metres and radians of an action of 1.
        in_base: increments are along the axes of the arm's base; else along the world's.
    """

    scale: np.ndarray
    in_base: bool


@dataclass(frozen=True)
class Source:
    """What the attributes of a `demo.hdf5` say."""

    path: Path
    task: str
    robots: tuple[str, ...]
    version: str | None
    date: str | None
    control: DeltaControl | None
    demos: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, file: Any) -> Source:
        """Raises DatasetError when the groups and attributes are not those of robosuite's demonstrations."""
        try:
            data = file["data"]
            attributes = dict(data.attrs)
            info = json.loads(attributes.get("env_info") or attributes["env_args"])
            info = info.get("env_kwargs", info)
            robots = info["robots"]
            demos = sorted((k for k in data if k.startswith("demo_")), key=lambda k: int(k.removeprefix("demo_")))
            if not demos:
                raise KeyError("demo_*")
            return cls(
                path=path,
                task=str(attributes["env"]),
                robots=(robots,) if isinstance(robots, str) else tuple(robots),
                version=attributes.get("repository_version"),
                date=attributes.get("date") or attributes.get("readable_timestamp"),
                control=_delta_control(info.get("controller_configs")),
                demos=tuple(demos),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{path} lacks what robosuite's demonstrations have ({error!r}); copy it again."
            ) from error


def _delta_control(config: Any) -> DeltaControl | None:
    """The controller's settings, of robosuite 1.0 to 1.4 (flat) or 1.5 (by body part); None for other controllers."""
    if isinstance(config, list):
        config = config[0]
    if not isinstance(config, Mapping):
        return None
    arm = config.get("body_parts", {}).get("right", config)
    is_delta = arm.get("control_delta", True) and arm.get("input_type", "delta") == "delta"
    scale = np.asarray(arm.get("output_max", ()), dtype=np.float64)
    if arm.get("type") != "OSC_POSE" or arm.get("impedance_mode") != "fixed" or not is_delta or scale.shape != (6,):
        return None
    return DeltaControl(scale, in_base=arm.get("input_ref_frame") == "base")


def detect(source: Path) -> bool:
    """Whether `source` is a `demo.hdf5`, or a folder with one, in robosuite's layout."""
    path = _file_of(source)
    try:
        with open(path, "rb") as stream:
            if stream.read(len(_HDF5_MAGIC)) != _HDF5_MAGIC:
                return False
        import h5py

        with h5py.File(path, "r") as file:
            data = file["data"]
            return "env" in data.attrs and all("states" in demo for demo in data.values())
    except (OSError, ImportError, KeyError, TypeError, AttributeError):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`. The features are the source's own: flat MuJoCo states and raw actions."""
    with ExitStack() as stack:
        file, opened = _open(source, stack)
        states = [_array(opened, file, demo, "states") for demo in opened.demos]
        actions = _array(opened, file, opened.demos[0], "actions")
        found = features(
            [
                Feature("states", states[0].shape[1:], "float64"),
                Feature("actions", actions.shape[1:], "float64", kind="action"),
            ]
        )
        steps = sum(len(s) for s in states)
        fps = float(np.round(1 / np.median(np.diff(states[0][:, 0]))))
        notes = (
            f"recorded with {' and '.join(opened.robots)} in robosuite {opened.version or '(version not stored)'}",
        )
        return SourceDescription(FORMAT, len(states), steps, fps, found, (_task_text(opened, None),), notes)


def convert(source: Path, output: Path, options: ConvertOptions) -> ConvertReport:
    """See `Converter.convert`. Reads `cameras`, `image_size`, `task`, `max_episodes` and the image codec of `options`.

    Raises DatasetError for robots other than the Panda and for states that do not fit the task's model.
    """
    from robolearn.sim.adapters.robosuite import RobosuiteEnv

    with ExitStack() as stack:
        file, opened = _open(source, stack)
        if set(opened.robots) != {"Panda"}:
            raise DatasetError(f"{opened.path} was recorded with {opened.robots[0]}; only Panda arms can be imported.")
        env = RobosuiteEnv(opened.task, cameras=options.cameras, image_size=options.image_size)
        stack.callback(env.close)
        env.reset()
        raw_size = _array(opened, file, opened.demos[0], "actions").shape[1]
        described = features(
            [
                *env.observation_features.values(),
                env.action_feature,
                Feature("action_original", (raw_size,), kind="action", rate_hz=env.control_hz),
            ]
        )
        metadata = {
            "robot": "panda",
            "operator": "human",
            "env": env.name,
            "provenance": source_provenance(opened.path, FORMAT, opened.version),
        }
        writer = DatasetWriter.create(
            output, described, env.control_hz, metadata,
            image_codec=options.image_codec, jpeg_quality=options.jpeg_quality, durable=False,
        )  # fmt: skip
        stack.enter_context(writer)
        demos = opened.demos[: options.max_episodes]
        without_model = 0
        for number, demo in enumerate(demos, start=1):
            xml = _text(file["data"][demo].attrs.get("model_file", ""))
            without_model += not xml
            writer.set_sim_model(
                xml or env.model_xml(),
                {"name": env.name, "scene_version": env.scene_version, "control_hz": env.control_hz,
                 "cameras": list(options.cameras), "image_size": options.image_size},
            )  # fmt: skip
            _import_demo(opened, file, demo, xml, env, writer, options)
            options.progress(number, len(demos))
        return ConvertReport(
            FORMAT, output, writer.num_episodes, writer.num_steps, tuple(_notes(opened, without_model, len(demos)))
        )


def _import_demo(
    opened: Source, file: Any, demo: str, xml: str, env: RobosuiteEnv, writer: DatasetWriter, options: ConvertOptions
) -> None:
    states, raw = _array(opened, file, demo, "states"), _array(opened, file, demo, "actions")
    if states.shape[1] != env.sim_state().size or len(raw) != len(states):
        raise DatasetError(
            f"{opened.path}: {demo} has states {states.shape} and actions {raw.shape}, expected "
            f"{env.sim_state().size} numbers a state, as robosuite 1.5.2's {opened.task} has, and as many actions."
        )
    reset_options = {"init_state": 0, "geoms": _object_geoms(xml, env.object_geoms())}
    env.reset(options=reset_options)
    observations, successes = [], []
    for state in states:
        observations.append(env.set_sim_state(state))
        successes.append(env.task_info()["success"])
    measured = np.stack([o["observation.state"] for o in observations]).astype(np.float64)
    targets = relabel(measured, raw, opened.control, env.base_rotations(), env.arm_vector_sizes[0])
    columns = {name: np.stack([o[name] for o in observations]) for name in observations[0]}
    columns |= {"action": targets, "action_original": raw.astype(np.float32)}
    record = {
        "task": _task_text(opened, options.task),
        "success": True if any(successes) else None if opened.task == "Wipe" else False,
        "success_step": int(np.argmax(successes)) if any(successes) else None,
        "operator": "human",
        "source_episode": demo,
        "source_robosuite_version": opened.version,
        "source_date": opened.date,
        "action_label": "commanded target" if opened.control else f"pose {LEAD_STEPS} steps later",
        "reset_options": reset_options,
    }
    write_episode(writer, opened.path, states[:, 0] - states[0, 0], columns, record, states)


def relabel(
    measured: np.ndarray, raw: np.ndarray, control: DeltaControl | None, bases: np.ndarray, size: int
) -> np.ndarray:
    """Absolute targets from what was measured and commanded.

    Args:
        measured: (T, arms * size) `observation.state`.
        raw: (T, arms * g) recorded actions: increments of the pose, then -1 (open) or 1 (close) for a gripper.
        control: meaning of the increments; None takes the pose measured `LEAD_STEPS` later.
        bases: (arms, 3, 3) rotations from each base frame to the world.
        size: elements of one arm's vector: 10, or 9 without a gripper.

    Returns:
        (T, arms * size) float32 in the layout of `measured`.
    """
    steps, arms = len(measured), len(bases)
    poses = measured.reshape(steps, arms, size)
    commands = raw.reshape(steps, arms, -1)
    targets = poses.copy()
    if control is None:
        targets = poses[np.minimum(np.arange(steps) + LEAD_STEPS, steps - 1)]
    else:
        moves = np.clip(commands[..., :6], -1.0, 1.0) * control.scale
        for arm, base in enumerate(np.eye(3)[None].repeat(arms, 0) if control.in_base else bases):
            turn = axis_angle_to_matrix(moves[:, arm, 3:] @ base)
            targets[:, arm, :3] += moves[:, arm, :3] @ base
            targets[:, arm, 3:POSE_SIZE] = matrix_to_rot6d(turn @ rot6d_to_matrix(poses[:, arm, 3:POSE_SIZE]))
    if size > POSE_SIZE:
        targets[..., POSE_SIZE] = (1.0 - np.sign(commands[..., -1])) / 2
    return targets.reshape(steps, arms * size).astype(np.float32)


def _object_geoms(xml: str, names: frozenset[str]) -> dict[str, dict[str, str]]:
    """Shapes of the task's objects in the source's model; empty without one."""
    if not xml:
        return {}
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise DatasetError(f"A demonstration's model is not valid xml ({error}); copy the file again.") from error
    geoms = (geom for geom in root.iter("geom") if geom.get("name") in names)
    return {g.attrib["name"]: {k: g.attrib[k] for k in _GEOM_ATTRIBUTES if k in g.attrib} for g in geoms}


def _notes(opened: Source, without_model: int, demos: int) -> list[str]:
    notes = []
    if without_model:
        notes.append(
            f"{without_model} of {demos} demonstrations come without the model they were recorded in; objects have the "
            "shapes (and doors and dirt the places) of start state 0"
        )
    if opened.control is None:
        notes.append(f"the controller was not OSC_POSE with increments; actions are poses {LEAD_STEPS} steps later")
    if opened.task == "Wipe":
        notes.append("the dirt is not part of the recorded states, so success cannot be judged")
    return notes


def _task_text(opened: Source, given: str | None) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", opened.task).lower()
    return given or TASKS.get(opened.task, words)


def _open(source: Path, stack: ExitStack) -> tuple[Any, Source]:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "Reading hdf5 needs h5py. Install it with: pip install '.[convert]' -c constraints.txt"
        ) from error
    path = _file_of(source)
    try:
        file = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path} is missing or damaged ({reason}); copy it again.") from error
    return file, Source.open(path, file)


def _array(opened: Source, file: Any, demo: str, name: str) -> np.ndarray:
    """(T, N) float64. Raises DatasetError when it is missing, damaged or of another shape."""
    try:
        array = np.asarray(file["data"][demo][name][()], dtype=np.float64)
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise DatasetError(f"{opened.path}: {name!r} of {demo} is missing or damaged ({error}).") from error
    if array.ndim != 2 or len(array) < 2:
        raise DatasetError(f"{opened.path}: {name!r} of {demo} has shape {array.shape}, expected (steps, numbers).")
    return array


def _text(value: Any) -> str:
    """A model text; older files hold only the name of an xml file that did not come along."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    return text if text.lstrip().startswith("<") else ""


def _file_of(source: Path) -> Path:
    return source / "demo.hdf5" if source.is_dir() else source
