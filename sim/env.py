"""The environment contract: a gymnasium.Env whose data is described by features and whose episodes are reproducible."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import gymnasium
import numpy as np

from robolearn.core.errors import ConfigError, FeatureError, unknown_name
from robolearn.core.feature import Feature, Features


def space_of(feature: Feature) -> gymnasium.spaces.Box:
    """The gymnasium space of a feature: [0, 255] for images, unbounded otherwise."""
    dtype = np.dtype(feature.dtype)
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        return gymnasium.spaces.Box(info.min, info.max, feature.shape, dtype.type)
    return gymnasium.spaces.Box(-np.inf, np.inf, feature.shape, dtype.type)


class SimEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray], abc.ABC):
    """Dict observations named by features; one vector action.

    `reset(seed, options={"init_state": k})` gives start state k of the scene's fixed list. What happens in an
    episode depends on (scene_version, init_state, actions) only, never on what ran before or beside it.
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
        workspace_low_m, workspace_high_m: corners of the box that the TCP may be commanded to, in the base frame.

    Attributes of the class or of an instance:
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
    evaluation_start: ClassVar[int] = 0
    demonstrated: ClassVar[range] = range(0)
    accepts_goal: ClassVar[bool] = False
    modes: ClassVar[int | None] = None
    workspace_low_m: ClassVar[tuple[float, float, float]] = (-np.inf, -np.inf, -np.inf)
    workspace_high_m: ClassVar[tuple[float, float, float]] = (np.inf, np.inf, np.inf)
    video_camera: str = "front"
    cameras: tuple[str, ...] = ()
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
    the simulation let run for a while, each by itself. Table-top scenes have it.

    Attributes:
        timestep_s: simulated seconds of one substep.
    """

    observation_features: Features
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
