"""`MujocoEnv`: a task in its world as an environment; the life cycle of an episode is written here, once.

One control step sets targets and is, for most tasks, one `mj_step(nstep=...)` call: servos run inside MuJoCo. What is
only state never touches GL.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.errors import ConfigError, LayoutError, unknown_name
from robolearn.core.feature import Feature, features
from robolearn.core.registry import SignatureError
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.specs import compiled
from robolearn.kinematics.state import ArmState
from robolearn.sim.engine.physics_state import physics_state, set_physics_state, state_size
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.task import Task
from robolearn.sim.env import SimEnv
from robolearn.sim.observables.arms import arms_state, joint_positions
from robolearn.sim.observables.camera import Cameras
from robolearn.sim.observables.observable import Observable
from robolearn.sim.observables.photograph import read_photograph
from robolearn.sim.observables.sampled import Sampled, Schedule, Sensing

HOME_NOISE_RAD = 0.02  # each joint of an arm starts within so much of its home
_UNNAMED_CLASSES = re.compile(r" *<default>\s*(<default>\s*<default/>\s*</default>|<default/>)\s*</default>\n+")


class MujocoEnv(SimEnv):
    """See the module's text.

    Observations of a world with arms: `observation.state`, for each arm the pose of its TCP in the frame of its own
    base and the opening of its gripper, measured; `observation.joint_position`; then what the task sees, and
    `observation.images.<camera>` for each camera asked for.

    Args:
        task: what is to be done, and where.
        action: what actions mean: a dialect's name or words (`robolearn.core.action_dialect`), or a layout.
        cameras: whose pictures are in the observations.
        image_size: pixels of a square picture.
        depth, segmentation: cameras whose distances, and whose numbers of what is where, are in the observations.
        overlay: camera -> photograph (a file, or (H, W, 3) uint8) that is seen behind arms and things.
        sensing: feature -> how often, how late and how exactly it is seen; by default always, at once and as it is.
        control_hz: actions per second, which must divide the physics' rate; the task's own by default.
        max_steps: actions until truncation; the task's own by default.

    Attributes:
        task, simulation, controller: that it is made of.
        mounted: the world's arms.

    Raises ConfigError for an unknown camera or feature, for what is no photograph, and for a rate that does not divide
    the physics', SignatureError for another rate of a task that has one only, LayoutError for actions that the world
    does not take.
    """

    def __init__(
        self,
        task: Task,
        action: str | ActionLayout | None = None,
        cameras: tuple[str, ...] = (),
        image_size: int = 96,
        depth: tuple[str, ...] = (),
        segmentation: tuple[str, ...] = (),
        overlay: Mapping[str, str | Path | np.ndarray] | None = None,
        sensing: Mapping[str, Sensing] | None = None,
        control_hz: float | None = None,
        max_steps: int | None = None,
    ):
        world = task.world
        self.task, self.world, self.mounted = task, world, world.arms
        self.name = f"{task.name}/{task.variant}" if task.variant else task.name
        self.scene_version, self.robots = task.scene_version, world.robots
        self.max_steps = task.max_steps if max_steps is None else max_steps
        self.modes, self.accepts_goal = task.modes, task.accepts_goal
        self.evaluation_start, self.demonstrated = task.evaluation_start, task.demonstrated
        self.workspace_low_m, self.workspace_high_m = world.workspace_low_m, world.workspace_high_m
        self.video_camera, self.cameras, self.image_size = task.video_camera, tuple(cameras), image_size
        self.timestep_s = world.timestep_s
        self.control_hz, self._substeps = _rate(task, control_hz)
        layout = action if isinstance(action, ActionLayout) else world.layout(action)
        if (reason := world.refusal(layout)) is not None:
            raise LayoutError(
                f"Environment {self.name!r} takes no actions {layout.describe()!r}: {reason}. It takes "
                f"{world.layout().describe()!r} among others."
            )
        # a pose means the same for every robot: those of another one's layout are these
        layout = replace(layout, robots=tuple((arm.prefix, arm.robot_name) for arm in world.arms))
        self._spec = world.compose()
        self.model: mujoco.MjModel = compiled(self._spec)
        self.simulation = Simulation(self.model, world.arms)
        self.data = self.simulation.data
        task.bind(self.simulation)
        self.controller = world.controller(layout, self.simulation, self.control_hz)
        arms = {arm.root: arm.prefix or arm.mounted.robot_name for arm in self.simulation.arms}
        photographs = {camera: read_photograph(source) for camera, source in (overlay or {}).items()}
        self._pictures = Cameras(self.name, self.model, self.data, world.shows_hulls, photographs, arms)
        for camera in (*cameras, *depth, *segmentation):
            self._pictures.check(camera)
        seen = self._observables(depth, segmentation)
        rate = self.control_hz
        acted = Feature(
            "action", (layout.size,), kind="action", frame=_frame(layout), unit=_unit(layout), rate_hz=rate,
            layout=layout,
        )  # fmt: skip
        self._sense(seen, sensing or {})
        self._declare(features(observable.feature for observable in seen), acted)
        self._reads = [(observable.feature.name, observable.feature.dtype, observable.read) for observable in seen]
        self._steps, self._score, self._init_state = 0, 0.0, 0

    def takes(self, layout: ActionLayout) -> bool:
        return self.world.refusal(layout) is None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start state k, scored for `options["goal"]` if there is one.

        Raises ConfigError for a negative or non-integer k and for a start state with a joint outside of its limits,
        FeatureError for a goal of another kind or that asks for nothing.
        """
        init_state = self.init_state_of(seed, options)
        self.task.ask(self.goal_of(options))
        super().reset(seed=seed)
        rng = np.random.default_rng([init_state, *self.scene_version.encode()])
        mujoco.mj_resetData(self.model, self.data)
        for arm in self.simulation.arms:
            home = np.asarray(arm.mounted.robot.home_rad)
            arm.put(home + rng.uniform(-HOME_NOISE_RAD, HOME_NOISE_RAD, size=len(home)), 1.0)
        self.task.start(rng)
        self._check_start(init_state)
        self.simulation.forward()
        self.controller.reset()
        self._steps = 0
        info = self.task.info()
        self._score, self._init_state = info["score"], init_state
        self._begin_sensing()
        return self.observe(), {**info, "init_state": init_state}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Carry out an action for one control period. Raises FeatureError for a bad one."""
        self.controller.set_target(self.check_action(action))
        self.advance(self._substeps)
        self._steps += 1
        task = self.task
        task.note()
        info = task.info()
        before, self._score = self._score, info["score"]
        return self.observe(), task.reward(info, before), task.ended(info), self._steps >= self.max_steps, info

    def set_target(self, action: np.ndarray) -> None:
        """Command an action; it holds until the next one."""
        self.controller.set_target(action)

    def advance(self, substeps: int) -> None:
        """Let `substeps` physics steps of `timestep_s` pass."""
        if self._schedule is not None:
            self._advance_sensing(substeps, self._schedule)
            return
        self.task.advance(substeps)
        if self.world.settles:
            self.simulation.settle()

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return self.simulation.time_s

    def task_info(self) -> dict[str, Any]:
        return self.task.info()

    def observe(self) -> dict[str, np.ndarray]:
        """What is seen now."""
        return {name: np.asarray(read(), dtype) for name, dtype, read in self._reads}

    def arm_state(self) -> dict[str, ArmState]:
        """Prefix -> where each arm is, measured, in the frame of its own base; exact, unlike observations."""
        found = {}
        for arm in self.simulation.arms:
            position, rotation = arm.tcp_pose()
            opening = arm.opening() if arm.has_gripper else None
            found[arm.prefix] = ArmState(arm.joints_rad.copy(), position, rotation, opening)
        return found

    def arm_targets(self) -> dict[str, ArmState]:
        """Prefix -> what each arm is told: what its servos' targets stand for, in the frame of its own base."""
        found = {}
        for arm in self.simulation.arms:
            position, rotation = self._kinematics[arm.prefix].forward(arm.targets_rad)
            opening = arm.target_opening() if arm.has_gripper else None
            found[arm.prefix] = ArmState(arm.targets_rad.copy(), position, rotation, opening)
        return found

    @functools.cached_property
    def _kinematics(self) -> dict[str, ArmKinematics]:
        return {arm.prefix: ArmKinematics(arm.mounted.robot) for arm in self.simulation.arms}

    @property
    def out_of_reach(self) -> int:
        return self.controller.out_of_reach

    @property
    def outside_workspace(self) -> int:
        return self.controller.outside_workspace

    def sim_state(self) -> np.ndarray:
        """(S,): MuJoCo's integration state, then what the task remembers."""
        state = physics_state(self.model, self.data)
        return np.concatenate([state, self.task.events()]) if self.task.events_size else state

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Go to a state from `sim_state`; a goal stays. Raises ConfigError for a state of another size."""
        size = state_size(self.model)
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (expected := (size + self.task.events_size,)):
            raise ConfigError(
                f"A state of {self.name!r} has {expected[0]} numbers; found shape {state.shape}: the state comes from "
                "another environment."
            )
        set_physics_state(self.model, self.data, state[:size], self.name)
        self.task.set_events(state[size:])
        self._steps = round(self.time_s * self.control_hz)
        self._score = self.task.info()["score"]
        self._begin_sensing()
        return self.observe()

    def model_xml(self) -> str:
        # MuJoCo 3 writes the classes of attached specifications without their names, and refuses to read that
        return _UNNAMED_CLASSES.sub("", self._spec.to_xml())

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB. Raises ConfigError for an unknown camera."""
        return self._pictures.picture(camera, width, height)

    def close(self) -> None:
        self._pictures.close()

    @property
    def labels(self) -> tuple[str, ...]:
        """What the numbers of `observation.segmentation.<camera>` stand for."""
        return self._pictures.labels

    def _observables(self, depth: tuple[str, ...], segmentation: tuple[str, ...]) -> list[Observable]:
        arms, size = self.simulation.arms, self.image_size
        return [
            *([arms_state(arms)] if arms else []),
            *self.task.observables(),
            *([joint_positions(arms)] if arms else []),
            *(self._pictures.images(camera, size) for camera in self.cameras),
            *(self._pictures.depths(camera, size) for camera in depth),
            *(self._pictures.segmentations(camera, size) for camera in segmentation),
        ]

    def _sense(self, seen: list[Observable], sensing: Mapping[str, Sensing]) -> None:
        """Put sensors between the simulation and what is seen of it."""
        names, sampled = [observable.feature.name for observable in seen], []
        for name, how in sensing.items():
            if name not in names:
                raise ConfigError(unknown_name(f"feature of the environment {self.name!r}", name, names))
            place = names.index(name)
            feature, read = seen[place].feature, seen[place].read
            sampled.append(Sampled(name, read, feature.dtype, how, self.timestep_s))
            given = partial(self._given, sampled[-1])
            seen[place] = Observable(replace(feature, rate_hz=how.rate_hz or feature.rate_hz), given)
        self._schedule = Schedule(sampled) if sampled else None

    def _given(self, sampled: Sampled) -> np.ndarray:
        return sampled.given(self._now)

    @property
    def _now(self) -> int:
        """Physics steps since the reset."""
        return round(self.time_s / self.timestep_s)

    def _begin_sensing(self) -> None:
        if self._schedule is not None:
            self._schedule.begin(self._now, (self._init_state, *self.scene_version.encode()))

    def _advance_sensing(self, substeps: int, schedule: Schedule) -> None:
        step = self._now
        end = step + substeps
        while step < end:
            due = schedule.next_due(step, end)
            self.task.advance(due - step)
            if self.world.settles:
                self.simulation.settle()
            step = due
            schedule.sample(step)

    def _check_start(self, init_state: int) -> None:
        for arm in self.simulation.arms:
            outside = (arm.joints_rad < arm.low_rad) | (arm.joints_rad > arm.high_rad)
            if outside.any():
                joint = int(np.argmax(outside))
                raise ConfigError(
                    f"Start state {init_state} of {self.name!r} has the joint {arm.mounted.joint_names[joint]!r} of "
                    f"{arm.mounted.robot_name!r} at {arm.joints_rad[joint]:.3f} rad, outside of its limits "
                    f"{arm.low_rad[joint]:.3f} to {arm.high_rad[joint]:.3f}."
                )


def _rate(task: Task, control_hz: float | None) -> tuple[float, int]:
    """Actions per second, and physics steps of one."""
    timestep_s = task.world.timestep_s
    if control_hz is None:
        return task.control_hz, round(1.0 / (task.control_hz * timestep_s))
    substeps = 1.0 / (control_hz * timestep_s) if control_hz > 0 else 0.0
    if round(substeps) < 1 or abs(substeps - round(substeps)) > 1e-6:
        raise ConfigError(
            f"A control rate of {control_hz} Hz does not divide the physics rate of {1 / timestep_s:g} Hz; "
            "try 20, 25, 50 or 100."
        )
    if not task.any_rate and abs(control_hz - task.control_hz) > 1e-6 * task.control_hz:
        raise SignatureError(f"Environment {task.name!r} runs at {task.control_hz:g} Hz only, found {control_hz:g}.")
    return float(control_hz), round(substeps)


def _frame(layout: ActionLayout) -> str:
    return layout.parts[0].frame


def _unit(layout: ActionLayout) -> str | None:
    """Of all numbers of an action, where they have one."""
    kinds = {part.kind for part in layout.parts}
    if kinds == {"pose"} and all(part.rotation == "none" for part in layout.parts):
        return layout.parts[0].unit or "m"
    return {frozenset({"joints"}): "rad", frozenset({"velocity"}): "rad/s"}.get(frozenset(kinds))
