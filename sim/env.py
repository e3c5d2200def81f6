"""The environment contract: a gymnasium.Env whose data is described by features and whose episodes are reproducible."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.action_dialect import DescribedArm, Dialect
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import ConfigError, FeatureError, LayoutError, unknown_name
from robolearn.core.feature import Feature, Features
from robolearn.core.meaning import layout_difference
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.state import ArmState


def space_of(feature: Feature) -> gymnasium.spaces.Box:
    """The gymnasium space of a feature: [0, 255] for images, unbounded otherwise."""
    dtype = np.dtype(feature.dtype)
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        return gymnasium.spaces.Box(info.min, info.max, feature.shape, dtype.type)
    return gymnasium.spaces.Box(-np.inf, np.inf, feature.shape, dtype.type)


def _spoken(dialect: str, own: ActionLayout) -> ActionLayout:
    """The dialect's layout of the arms that `own` speaks of."""
    arms = []
    for prefix in own.arms:
        motion = own.motion(prefix)
        free, names = (motion.free, motion.names) if motion is not None else ("", ())
        arms.append(DescribedArm(prefix, own.robot(prefix) or "", names, own.gripper(prefix) is not None, free))
    return Dialect.parse(dialect).layout(arms)


class SimEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray], abc.ABC):
    """Dict observations named by features; one vector action.

    `reset(seed, options={"init_state": k})` gives start state k of the scene's fixed list. What happens in an
    episode depends on (scene_version, init_state, actions) only, never on what ran before or beside it.
    An environment may take actions of several layouts: `make_env(name, action=...)` chooses one, `takes` says which.
    `info` has `success` (bool, now), `mode` (behaviour mode or None), and `score` in [0, 1] (partial credit).

    An environment with `accepts_goal` also takes `options={"goal": {feature: (G, *shape)}}`, observations wanted in the
    future, newest last, or None. It then scores for that goal: `score` is the share of what the goal asks for that has
    been reached so far, and `success` means all of it.

    Attributes (set by subclasses before calling `_declare`):
        name: as given to `make_env`.
        scene_version: changes whenever the same actions would lead elsewhere.
        control_hz: actions per simulated second.
        max_steps: `truncated` becomes true after this many actions.

    Attributes of the class, for subclasses to replace where they differ:
        robots: the scene's robots and the version of each one's model (`kinematics/models.py`), which `scene_version`
            stands for: one that moves to another model gets another version.
        evaluation_start: first start state of an evaluation. Recordings begin from `FIRST_RECORDED_STATE` on.
        demonstrated: start states that published demonstrations of this environment begin from.
        accepts_goal: see above.
        modes: how many behaviour modes there are, where `info["mode"]` tells them apart.
        workspace_low_m, workspace_high_m: corners of the box that a TCP may be commanded to, in its arm's base frame.

    Attributes of the class or of an instance:
        mounted: robots in it, and where they stand, in the order of their parts of an action.
        video_camera: which camera films an episode where none is asked for.
        cameras: those whose pictures are in the observations.
        model, data: `mujoco.MjModel` and `MjData` of a MuJoCo scene that a viewer may show; None for others.
    """

    name: str
    scene_version: str
    control_hz: float
    max_steps: int
    observation_features: Features
    action_feature: Feature
    robots: Mapping[str, str] = MappingProxyType({})
    evaluation_start: int = 0
    demonstrated: range = range(0)
    accepts_goal: bool = False
    modes: int | None = None
    workspace_low_m: tuple[float, float, float] = (-np.inf, -np.inf, -np.inf)
    workspace_high_m: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    video_camera: str = "front"
    cameras: tuple[str, ...] = ()
    mounted: tuple[MountedRobot, ...] = ()
    model: Any = None
    data: Any = None

    def _declare(self, observation_features: Features, action_feature: Feature) -> None:
        self.observation_features = observation_features
        self.action_feature = action_feature
        spaces = gymnasium.spaces.Dict({n: space_of(f) for n, f in observation_features.items()})
        self.observation_space = spaces  # type: ignore[assignment]  # gymnasium types it as Dict[Any]
        self.action_space = space_of(action_feature)

    def check_action(self, action: Any) -> np.ndarray:
        """Shape, dtype and finiteness of an action. Raises FeatureError."""
        return self.action_feature.check(action, where=f"environment {self.name!r}")

    def takes(self, layout: ActionLayout) -> bool:
        """Whether `make_env` makes an environment of this name that takes actions of `layout`."""
        own = layout_of(self.action_feature)
        return own is not None and layout_difference(own, layout) is None

    def require_layout(self, action: str | ActionLayout) -> None:
        """Raises LayoutError for actions, a dialect or a layout, that this environment does not take as it is."""
        own = layout_of(self.action_feature)
        if own is None or not self.takes(action if isinstance(action, ActionLayout) else _spoken(action, own)):
            asked = action if isinstance(action, str) else action.describe()
            has = "actions of no declared layout" if own is None else f"actions {own.describe()!r}"
            raise LayoutError(f"Environment {self.name!r} takes {has} only, found {asked!r}.")

    @staticmethod
    def init_state_of(seed: int | None, options: dict[str, Any] | None) -> int:
        """The start state asked for: `options["init_state"]`, else the seed, else 0."""
        value = (options or {}).get("init_state", 0 if seed is None else seed)
        if not isinstance(value, int | np.integer) or value < 0:
            raise ConfigError(f"init_state must be an integer of at least 0, found {value!r}.")
        return int(value)

    def goal_of(self, options: dict[str, Any] | None) -> dict[str, np.ndarray] | None:
        """The goal asked for, `options["goal"]`: feature name -> (G, *shape), all of one G; None where there is none.

        Raises ConfigError when the environment takes no goals and FeatureError for a goal of another kind: unknown
        features, wrong shapes, non-finite numbers.
        """
        goal = (options or {}).get("goal")
        if goal is None:
            return None
        if not self.accepts_goal:
            raise ConfigError(f"Environment {self.name!r} takes no goals, found one; reset it without `goal`.")
        if not isinstance(goal, Mapping) or not goal:
            raise FeatureError(f"A goal maps features to (G, *shape) arrays, found {type(goal).__name__} {goal!r:.60}.")
        checked: dict[str, np.ndarray] = {}
        for name, values in goal.items():
            if name not in self.observation_features:
                raise FeatureError("goal: " + unknown_name("feature", name, self.observation_features))
            feature, length = self.observation_features[name], len(values) if np.ndim(values) else 0
            checked[name] = feature.window(max(length, 1)).check(values, where=f"goal of environment {self.name!r}")
        if len({len(values) for values in checked.values()}) > 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in checked.items())
            raise FeatureError(f"All features of a goal have the same number of steps, found {lengths}.")
        return checked

    def arm_state(self) -> dict[str, ArmState]:
        """Prefix -> where each arm is, measured, in the frame of its own base; exact, unlike observations. Nothing
        where only observations tell.
        """
        return {}

    def arm_targets(self) -> dict[str, ArmState]:
        """Prefix -> what each arm is told to do now, likewise."""
        return {}

    @property
    def out_of_reach(self) -> int:
        """Targets since the reset that an arm could not reach; it goes as near as it can."""
        return 0

    @property
    def outside_workspace(self) -> int:
        """Targets since the reset that were more than 1 mm outside of the workspace; they are moved to its border."""
        return 0

    def inexact(self) -> str:
        """What was not carried out as it was asked for since the reset, in words; empty where everything was."""
        said = []
        if self.out_of_reach:
            said.append(f"{self.out_of_reach} targets were out of an arm's reach: it went as near as it could.")
        if self.outside_workspace:
            said.append(
                f"{self.outside_workspace} targets were outside of the workspace: they were moved to its border."
            )
        return " ".join(said)

    @abc.abstractmethod
    def task_info(self) -> dict[str, Any]:
        """`success`, `mode`, `score` and the task's partial flags, now."""

    @abc.abstractmethod
    def sim_state(self) -> np.ndarray:
        """(S,) float64: the full simulator state, enough to go on from here or to render any camera."""

    @abc.abstractmethod
    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Go to a state from `sim_state` and return the observation there."""

    @abc.abstractmethod
    def model_xml(self) -> str | None:
        """The model as text, for provenance and re-rendering; None where there is no such text."""

    @abc.abstractmethod
    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB picture of the current state."""


@runtime_checkable
class RealtimeEnv(Protocol):
    """What an environment has beside `SimEnv` to run in real time (`robolearn.sim.realtime`): a target can be set, and
    the simulation let run for a while, each by itself. Tasks in worlds of our own have it.

    Attributes:
        timestep_s: simulated seconds of one substep.
    """

    observation_features: Features
    action_feature: Feature
    control_hz: float
    max_steps: int
    timestep_s: float
    workspace_low_m: tuple[float, float, float]
    workspace_high_m: tuple[float, float, float]

    @property
    def time_s(self) -> float:
        """Simulated time since the episode began."""
        ...

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any: ...

    def set_target(self, action: np.ndarray) -> None:
        """Command an action; it holds until the next one."""
        ...

    def advance(self, substeps: int) -> None: ...

    def observe(self) -> dict[str, np.ndarray]: ...

    def task_info(self) -> dict[str, Any]: ...
