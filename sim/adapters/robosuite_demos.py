"""Human demonstrations recorded with robosuite (`demo.hdf5`) into our dataset.

The source holds MuJoCo states and raw actions; everything else is computed again in robosuite 1.5.2: observations,
success, and pictures of the cameras that are asked for (none by default: a frame takes some 20 ms without a GPU).
Actions are relabelled (`robosuite_targets.py`). The raw ones are kept as the feature `action_original`, other arrays of
steps as `source.<key>`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.array_features import SourceArray, decide
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, PartialEpisode, SourceDescription
from robolearn.datasets.convert.robomimic.groups import file_of
from robolearn.datasets.convert.robomimic.witness import Hdf5Witness
from robolearn.datasets.convert.witness import Claim, Label, Witness
from robolearn.datasets.convert.wording import rate_note
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import SIM_STATE, is_encoded
from robolearn.sim.adapters.robosuite_demo_file import DemoFile, is_demo_file
from robolearn.sim.adapters.robosuite_targets import LEAD_STEPS, relabel
from robolearn.sim.rendering import check_setting

FORMAT = "robosuite_hdf5"
TASKS = {
    "Lift": "lift the cube",
    "Stack": "stack the red cube on the green cube",
    "NutAssembly": "put both nuts on their pegs",
    "PickPlace": "put every object into its bin",
    "Door": "open the door",
    "Wipe": "wipe the table clean",
    "TwoArmHandover": "hand the hammer over from one arm to the other",
}


def detect(source: Path) -> bool:
    """See `Converter.detect`."""
    return is_demo_file(source)


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`. The features are the source's own: flat MuJoCo states and raw actions."""
    with DemoFile.opened(source) as opened:
        whole = opened.require_whole()
        states = [opened.rows(demo, "states") for demo in whole]
        actions = opened.rows(whole[0], "actions")
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
            opened = stack.enter_context(DemoFile.opened(source))
            if set(opened.robots) != {"Panda"}:
                raise DatasetError(
                    f"{opened.path} was recorded with {opened.robots[0]}; only Panda arms can be imported."
                )
            check_setting()
            from robolearn.sim.adapters.robosuite import RobosuiteEnv  # needs robosuite, which only good files do

            self.opened = opened
            self.masks, mask_notes = opened.masks()
            raw_size = opened.rows(opened.require_whole()[0], "actions").shape[1]
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
        self.notes = [*mask_notes, *decision.notes, *opened.notes()]
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
        states, raw = opened.rows(demo, "states"), opened.rows(demo, "actions")
        if states.shape[1] != env.sim_state().size or len(raw) != len(states):
            raise DatasetError(
                f"{opened.path}: {demo} has states {states.shape} and actions {raw.shape}, expected "
                f"{env.sim_state().size} numbers a state, as robosuite 1.5.2's {opened.task} has, and as many actions."
            )
        reset_options = {"init_state": 0, "geoms": opened.object_geoms(demo, env.object_geoms())}
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
            array = opened.array(demo, extra.name.removeprefix("source."))
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
            times, values, spool.frames(), record, states, opened.model(demo) or env.model_xml(),
            notes=(otherwise,) if otherwise else (),
        )  # fmt: skip


def _task_text(opened: DemoFile, given: str | None) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", opened.task).lower()
    return given or TASKS.get(opened.task, words)
