"""Human demonstrations recorded with robosuite (`demo.hdf5`) into our dataset.

The source holds MuJoCo states and raw actions; everything else is computed again in robosuite 1.5.2: observations,
success, and pictures of the cameras that are asked for (none by default: a frame takes some 20 ms without a GPU).

Actions are relabelled. The recorded ones are pose increments relative to where the arm was, so playing them back
drifts, and across robosuite's versions it fails. Added to the recorded pose they give back the absolute target that
the controller was commanded:

    target position = position + output_max[:3] * clip(a[:3], -1, 1)
    target rotation = exp(output_max[3:] * clip(a[3:6], -1, 1)) @ rotation

Demonstrations made with another controller get the pose measured `LEAD_STEPS` later instead. The raw actions are kept
as the feature `action_original`, other arrays of steps as `source.<key>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from robolearn.datasets.convert.decide import SourceArray, decide
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, PartialEpisode, SourceDescription
from robolearn.datasets.convert.robomimic.groups import (
    demo_names,
    file_of,
    is_hdf5,
    model_text,
    open_hdf5,
    other_names,
    read_array,
    read_masks,
)
from robolearn.datasets.convert.robomimic.witness import Hdf5Witness
from robolearn.datasets.convert.source import rate_note
from robolearn.datasets.convert.spool import FrameSpool
from robolearn.datasets.convert.witness import Claim, Label, Witness
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import SIM_STATE, is_encoded
from robolearn.sim.rendering import check_setting

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
class Demos:
    """What the attributes of a `demo.hdf5` say."""

    path: Path
    task: str
    robots: tuple[str, ...]
    version: str | None
    date: str | None
    control: DeltaControl | None
    demos: tuple[str, ...]
    env_args: dict[str, Any]
    extras: tuple[Feature, ...]

    @classmethod
    def open(cls, path: Path, file: Any) -> Demos:
        """Raises DatasetError when the groups and attributes are not those of robosuite's demonstrations."""
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
            return cls(
                path=path,
                task=str(attributes["env"] if "env" in attributes else env_args["env_name"]),
                robots=(robots,) if isinstance(robots, str) else tuple(robots),
                version=attributes.get("repository_version"),
                date=attributes.get("date") or attributes.get("readable_timestamp"),
                control=_delta_control(info.get("controller_configs")),
                demos=demos,
                env_args=env_args,
                extras=_extras(data, demos),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{path} lacks what robosuite's demonstrations have ({error!r}); copy it again."
            ) from error


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


def _whole(data: Any, demos: Sequence[str]) -> list[str]:
    """The demonstrations with states and actions; the others are left out when they are read, and named."""
    return [
        demo
        for demo in demos
        if hasattr(data[demo], "items")
        and all(getattr(data[demo].get(key), "shape", ()) for key in ("states", "actions"))
    ]


def _extras(data: Any, demos: Sequence[str]) -> tuple[Feature, ...]:
    """Other arrays with a row of numbers for each step, in all demonstrations alike: torques, who was acting, ..."""
    found: dict[str, set[tuple[tuple[int, ...], str]]] = {}
    demos = _whole(data, demos)
    for demo in (data[name] for name in demos):
        for key, item in demo.items():
            fits = getattr(item, "shape", ())[:1] == demo["states"].shape[:1] and item.dtype.kind in "biuf"
            if key not in ("states", "actions") and fits:
                found.setdefault(key, set()).add((item.shape[1:], item.dtype.name))
    alike = {key: next(iter(kinds)) for key, kinds in found.items() if len(kinds) == 1}
    whole = {key: kind for key, kind in alike.items() if all(key in data[demo] for demo in demos)}
    return tuple(Feature(f"source.{key}", shape or (1,), dtype) for key, (shape, dtype) in whole.items())


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
    path = file_of(source)
    try:
        import h5py

        if not is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            data = file["data"]
            named = "env" in data.attrs or "env_args" in data.attrs
            return named and any("states" in demo for demo in data.values() if hasattr(demo, "items"))
    except (OSError, ImportError, KeyError, TypeError, AttributeError, RuntimeError):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`. The features are the source's own: flat MuJoCo states and raw actions."""
    with ExitStack() as stack:
        file, opened = _open(source, stack)
        whole = _some_whole(opened, file)
        states = [_array(opened, file, demo, "states") for demo in whole]
        actions = _array(opened, file, whole[0], "actions")
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


def open_source(source: Path, options: ConvertOptions) -> EpisodeSource:
    """See `Converter.open_source`. Uses `cameras`, `image_size`, `task` and what `decide` uses of `options`.

    Raises DatasetError for robots other than the Panda.
    """
    return DemoSource(source, options)


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`: states, raw actions and other arrays of steps. Pictures have no source."""
    return DemoWitness(file_of(source))


class DemoWitness(Hdf5Witness):
    """The clock is the first number of each simulator state."""

    def times(self, label: Label) -> np.ndarray | None:
        clock = self.rows(label, "states").astype(np.float64)[:, 0]
        return clock - clock[0]

    def rate(self) -> float | None:
        """The steps are those of robosuite 1.5.2, whatever the recording's."""
        return None


class DemoSource(EpisodeSource):
    """Demonstrations, played back by state in an environment of robosuite 1.5.2."""

    parallel = False  # a simulator takes a gigabyte, and its software renderer uses all cores

    def __init__(self, source: Path, options: ConvertOptions):
        super().__init__()
        self.options = options
        with ExitStack() as stack:
            self.file, opened = _open(source, stack)
            if set(opened.robots) != {"Panda"}:
                raise DatasetError(
                    f"{opened.path} was recorded with {opened.robots[0]}; only Panda arms can be imported."
                )
            check_setting()
            from robolearn.sim.adapters.robosuite import RobosuiteEnv  # needs robosuite, which only good files do

            self.opened = opened
            self.masks, mask_notes = read_masks(self.file, opened.demos)
            raw_size = _array(opened, self.file, _some_whole(opened, self.file)[0], "actions").shape[1]
            env = RobosuiteEnv(opened.task, cameras=options.cameras, image_size=options.image_size)
            stack.callback(env.close)
            env.reset()
            self.env, self._stack = env, stack.pop_all()
        made = [
            *env.observation_features.values(),
            env.action_feature,
            Feature("action_original", (raw_size,), "float64", "action", rate_hz=env.control_hz),
            *opened.extras,
        ]
        arrays = [SourceArray(f.name, f.shape, f.dtype, f, fixed=True, encoded=is_encoded(f)) for f in made]
        decision = decide(arrays, options, lambda array: ())
        self.features, self.names = decision.features, decision.names
        computed = Claim(why="computed again in the simulator from the recorded states")
        known = {
            **{extra.name: Claim((extra.name.removeprefix("source."),)) for extra in opened.extras},
            "action": Claim(why="the target that the recorded state and action stand for"),
            "action_original": Claim(("actions",)),
        }  # fmt: skip
        self.claims = {name: known.get(key, computed) for key, name in self.names.items()}
        self.claims[SIM_STATE] = Claim(("states",))
        self.fps = env.control_hz
        self.num_episodes = len(opened.demos)
        self.format_version = opened.version
        self.metadata = {"robot": "panda", "operator": "human", "env": env.name, "env_args": opened.env_args}
        self.notes = [*mask_notes, *decision.notes, *_notes(opened, self.file)]
        self.sim_env = {
            "name": env.name, "scene_version": env.scene_version, "control_hz": env.control_hz,
            "cameras": list(options.cameras), "image_size": options.image_size,
        }  # fmt: skip

    def close(self) -> None:
        self._stack.close()

    def label(self, index: int) -> Label:
        return self.opened.demos[index]

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `EpisodeSource.read_episode`. Raises DatasetError for states that do not fit the task's model."""
        opened, env, demo = self.opened, self.env, self.opened.demos[index]
        xml = model_text(self.file["data"][demo])
        states, raw = _array(opened, self.file, demo, "states"), _array(opened, self.file, demo, "actions")
        if states.shape[1] != env.sim_state().size or len(raw) != len(states):
            raise DatasetError(
                f"{opened.path}: {demo} has states {states.shape} and actions {raw.shape}, expected "
                f"{env.sim_state().size} numbers a state, as robosuite 1.5.2's {opened.task} has, and as many actions."
            )
        reset_options = {"init_state": 0, "geoms": _object_geoms(f"{opened.path}: {demo}", xml, env.object_geoms())}
        env.reset(options=reset_options)
        images = [name for name, feature in env.observation_features.items() if is_encoded(feature)]
        observations, successes = [], []
        for state in states:
            observation = dict(env.set_sim_state(state))
            for name in images:
                picture = observation.pop(name)
                if name in self.names:
                    spool.add(self.names[name], picture)
            observations.append(observation)
            successes.append(env.task_info()["success"])
        values = {name: np.stack([o[name] for o in observations]) for name in observations[0]}
        measured = values["observation.state"].astype(np.float64)
        values["action"] = relabel(measured, raw, opened.control, env.base_rotations(), env.arm_vector_sizes[0])
        values["action_original"] = raw
        for extra in opened.extras:
            array = read_array(opened.path, self.file["data"][demo], extra.name.removeprefix("source."))
            values[extra.name] = array.reshape(len(states), *extra.shape)
        record = {
            "task": _task_text(opened, self.options.task),
            "success": True if any(successes) else None if opened.task == "Wipe" else False,
            "success_step": int(np.argmax(successes)) if any(successes) else None,
            "operator": "human",
            "source_episode": demo,
            "source_robosuite_version": opened.version,
            "source_date": opened.date,
            "action_label": "commanded target" if opened.control else f"pose {LEAD_STEPS} steps later",
            "reset_options": reset_options,
        }
        values = {self.names[name]: rows for name, rows in values.items() if name in self.names}
        times = states[:, 0] - states[0, 0]
        otherwise = rate_note(times, self.fps)
        return PartialEpisode(
            times, values, spool.frames(), record, states, xml or env.model_xml(),
            notes=(otherwise,) if otherwise else (),
        )  # fmt: skip


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


def _object_geoms(where: str, xml: str, names: frozenset[str]) -> dict[str, dict[str, str]]:
    """Shapes of the task's objects in the source's model; empty without one."""
    if not xml:
        return {}
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise DatasetError(f"{where}: its model is not valid xml ({error}).") from error
    geoms = (geom for geom in root.iter("geom") if geom.get("name") in names)
    return {g.attrib["name"]: {k: g.attrib[k] for k in _GEOM_ATTRIBUTES if k in g.attrib} for g in geoms}


def _notes(opened: Demos, file: Any) -> list[str]:
    notes = other_names(file["data"])
    whole = _whole(file["data"], opened.demos)
    without_model = sum(not model_text(file["data"][demo]) for demo in whole)
    if without_model:
        notes.append(
            f"{without_model} of {len(whole)} demonstrations come without the model they were recorded in; "
            "objects have the shapes (and doors and dirt the places) of start state 0"
        )
    if opened.control is None:
        notes.append(f"the controller was not OSC_POSE with increments; actions are poses {LEAD_STEPS} steps later")
    if opened.task == "Wipe":
        notes.append("the dirt is not part of the recorded states, so success cannot be judged")
    carried = {"states", "actions", *(extra.name.removeprefix("source.") for extra in opened.extras)}
    others = sorted({key for demo in whole for key in file["data"][demo]} - carried)
    if others:
        notes.append(f"not carried over: {', '.join(others)}")
    return notes


def _task_text(opened: Demos, given: str | None) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", opened.task).lower()
    return given or TASKS.get(opened.task, words)


def _open(source: Path, stack: ExitStack) -> tuple[Any, Demos]:
    path = file_of(source)
    file = stack.enter_context(open_hdf5(path))
    return file, Demos.open(path, file)


def _some_whole(opened: Demos, file: Any) -> list[str]:
    """Raises DatasetError when there is none."""
    whole = _whole(file["data"], opened.demos)
    if not whole:
        raise DatasetError(f"{opened.path}: none of its {len(opened.demos)} demonstrations has states and actions.")
    return whole


def _array(opened: Demos, file: Any, demo: str, name: str) -> np.ndarray:
    """(T, N) float64. Raises DatasetError when it is missing, damaged or of another shape."""
    array = read_array(opened.path, file["data"][demo], name)
    if array.ndim != 2 or len(array) < 2 or array.dtype.kind not in "biuf":
        raise DatasetError(f"{opened.path}: {name!r} of {demo} has shape {array.shape}, expected (steps, numbers).")
    return array.astype(np.float64)
