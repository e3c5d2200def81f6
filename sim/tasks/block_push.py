"""block_push: push two cubes into two targets with a round effector, in the plane; many ways lead there.

A scene of our own after the multimodal block push of BeT and BESO (Shafiullah et al. 2022, Reuss et al. 2023).
`robolearn.sim.worlds.pushing_plane` has cubes, targets and effector.
Start states: cubes at x 0.3..0.5 m, y -0.35..-0.05 m, more than 0.1 m apart in x, turned by any angle; effector at
(0.40, -0.42) m.
A cube has reached a target when its centre has been within 0.05 m of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.task import Task
from robolearn.sim.observables.observable import Observable
from robolearn.sim.worlds.pushing_plane import CAMERA, MAX_STEP_M, TARGETS_M, TOLERANCE_M, PushingPlane

EFFECTOR_START_M = np.array([0.40, -0.42])
CUBES_LOW_M, CUBES_HIGH_M = np.array([0.30, -0.35]), np.array([0.50, -0.05])
MIN_LATERAL_GAP_M = 0.10
# what a successful episode saw last is one step before success
GOAL_TOLERANCE_M = TOLERANCE_M + MAX_STEP_M
FIRST_REWARD, BOTH_REWARD = 0.49, 0.51

_TARGETS = TARGETS_M.tolist()
_EVENT_NUMBERS = 8  # two cubes, two targets
_XY = ("x", "y")
_RATE_HZ = 10.0
_CUBE_NAMES = tuple(f"cube{i}_{a}" for i in (0, 1) for a in _XY)
_STATE = Feature(
    "observation.state", (4,), names=(*_XY, "target_x", "target_y"), unit="m", frame="world", rate_hz=_RATE_HZ
)
_CUBES = Feature("observation.environment_state", (4,), names=_CUBE_NAMES, unit="m", frame="world", rate_hz=_RATE_HZ)
_FROM_EFFECTOR = Feature(
    "observation.block_from_effector", (4,), names=_CUBE_NAMES, unit="m", frame="world", rate_hz=_RATE_HZ
)
_YAW = Feature(
    "observation.block_yaw", (4,), names=tuple(f"{f}_4yaw{i}" for i in (0, 1) for f in ("cos", "sin")),
    frame="world", rate_hz=_RATE_HZ,
)  # fmt: skip


class BlockPush(Task):
    """See the module's text.

    Observations: `observation.state` (4,) effector and where it was told to be [m]; `observation.environment_state`
    (4,) centres of the cubes [m]; `observation.block_from_effector` (4,) the same seen from the effector [m], which
    networks learn to push from much sooner; `observation.block_yaw` (4,) cosine and sine of four times each cube's yaw,
    so that what looks the same is the same. Action (2,): how far the commanded position moves in this step of 0.1 s
    [m], at most 0.035 long (longer ones are shortened).

    A goal is `observation.environment_state`: it asks for every cube that is in a target in the goal's last step, or
    one action from it, to reach that target; `score` is the share of these that have, the published "result". Without
    a goal, the first cube in any target gives 0.49 and both in different ones 0.51 more, the published "reward".
    `info["reached"]` lists (cube, target) in the order of events, each pair once. `info["mode"]` is the way in which
    both cubes came to different targets, one of four, such as "1>0 0>1": cube 1 to target 0, then cube 0 to target 1.

    What has been reached stays reached for score, reward, mode and, with a goal, `success`, as published. Without a
    goal `success` asks for more: both cubes lie in different targets now. The expert's second push moves the first
    cube out again in about 2 % of its episodes; their ends would be goals for one cube only, so they are no successes.
    """

    name = "block_push"
    language = "push the cubes into the targets"
    scene_version = "block_push-1"
    control_hz = _RATE_HZ
    any_rate = False
    evaluation_start = 100_000  # demonstrations may be many
    accepts_goal = True
    modes = 4
    video_camera = CAMERA
    events_size = _EVENT_NUMBERS

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.world = PushingPlane()
        self._requested: set[tuple[int, int]] | None = None
        self._reached: list[tuple[int, int]] = []

    def bind(self, sim: Simulation) -> None:
        super().bind(sim)
        self._cubes, self._effector = sim.data.qpos[:8].reshape(2, 4), sim.data.qpos[8:]

    def ask(self, goal: Mapping[str, np.ndarray] | None) -> None:
        self._requested = None if goal is None else self._requests(goal)

    def start(self, rng: np.random.Generator) -> None:
        cubes = self._cubes
        while True:
            cubes[:, :2] = rng.uniform(CUBES_LOW_M, CUBES_HIGH_M, size=(2, 2))
            if abs(cubes[0, 0] - cubes[1, 0]) > MIN_LATERAL_GAP_M:
                break
        cubes[:, 3] = rng.uniform(-np.pi, np.pi, size=2)
        self._effector[:] = self.sim.data.act[:] = EFFECTOR_START_M
        self._reached = []

    def observables(self) -> Sequence[Observable]:
        cubes, effector, command = self._cubes, self._effector, self.sim.data.act

        def turns() -> np.ndarray:
            turn, found = 4.0 * cubes[:, 3], np.empty((2, 2))
            found[:, 0], found[:, 1] = np.cos(turn), np.sin(turn)
            return found.reshape(4)

        return (
            Observable(_STATE, lambda: np.concatenate((effector, command))),
            Observable(_CUBES, lambda: cubes[:, :2].reshape(4)),
            Observable(_FROM_EFFECTOR, lambda: (cubes[:, :2] - effector).reshape(4)),
            Observable(_YAW, turns),
        )

    def note(self) -> None:
        self._reached += [pair for pair in self._lying().items() if pair not in self._reached]

    def info(self) -> dict[str, Any]:
        score = self._score()
        success = len(set(self._lying().values())) == 2 if self._requested is None else score >= 1.0
        return {"success": success, "score": score, "mode": self._mode(), "reached": tuple(self._reached)}

    def reward(self, info: Mapping[str, Any], score_before: float) -> float:
        """What the score gains."""
        return float(info["score"] - score_before)

    def events(self) -> np.ndarray:
        """Four pairs (cube, target) in order of events, -1 where none is."""
        events = np.full(_EVENT_NUMBERS, -1.0)
        events[: 2 * len(self._reached)] = np.ravel(self._reached)
        return events

    def set_events(self, events: np.ndarray) -> None:
        self._reached = [(int(cube), int(target)) for cube, target in events.reshape(-1, 2) if cube >= 0]

    def _lying(self) -> dict[int, int]:
        """Cube -> the target it is in now."""
        found = {}
        for cube, (x, y, _, _) in enumerate(self._cubes.tolist()):
            # most of the time it is near to none, which needs no exact distance
            if any(math.hypot(x - to_x, y - to_y) < 1.001 * TOLERANCE_M for to_x, to_y in _TARGETS):
                target, distance = nearest_target(self._cubes[cube, :2])
                if distance <= TOLERANCE_M:
                    found[cube] = target
        return found

    def _score(self) -> float:
        if self._requested is not None:
            return len(self._requested.intersection(self._reached)) / len(self._requested)
        return FIRST_REWARD * bool(self._reached) + BOTH_REWARD * (self._mode() is not None)

    def _mode(self) -> str | None:
        for event, (cube, target) in enumerate(self._reached):
            if (1 - cube, 1 - target) in self._reached[:event]:
                return f"{1 - cube}>{1 - target} {cube}>{target}"
        return None

    def _requests(self, goal: Mapping[str, np.ndarray]) -> set[tuple[int, int]]:
        """The pairs (cube, target) that a checked goal asks for. Raises FeatureError when there is no such pair."""
        if _CUBES.name not in goal:
            raise FeatureError(f"A goal of block_push is {_CUBES.name!r}, found: {', '.join(goal)}.")
        places = goal[_CUBES.name][-1].reshape(2, 2).astype(np.float64)
        nearest = [(cube, *nearest_target(place)) for cube, place in enumerate(places)]
        asked = {(cube, target) for cube, target, distance in nearest if distance <= GOAL_TOLERANCE_M}
        if not asked:
            raise FeatureError(
                f"A goal of block_push has a cube in a target, found cubes at {places.round(3).tolist()} m; give the "
                "end of a successful demonstration."
            )
        return asked


def nearest_target(place_m: np.ndarray) -> tuple[int, float]:
    """Number of the target nearest to (2,) and its distance [m]."""
    distances = np.hypot(*(TARGETS_M - place_m).T)
    target = int(distances.argmin())
    return target, float(distances[target])
