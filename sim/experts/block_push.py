"""Expert for block_push: push one cube into one target, come back, push the other cube into the other target.

Which cube goes first and to which target is drawn at random, so that the demonstrations of one goal show two ways, and
those of one start state four. What is drawn depends on the start state only.

Beside the oracle of BeT and BESO: it pushes at 0.20 m/s instead of 0.30, because at ten actions a second the heading
of a faster push cannot be held; it steers against the cube's turning; and it goes round the other cube.
"""

from __future__ import annotations

import numpy as np

from robolearn.sim.worlds.pushing_plane import CUBE_HALF_M, EFFECTOR_RADIUS_M, TARGETS_M

_PERIOD_S = 0.1
_PUSH_M, _TRAVEL_M, _ORIENT_M = 0.20 * _PERIOD_S, 0.35 * _PERIOD_S, 0.15 * _PERIOD_S  # for each action
_BEHIND_M = 0.05  # of the cube's centre, where a push begins
_CLEAR_M = 0.045  # from a cube's centre: half its diagonal, the effector and 7 mm
_ARRIVED_M = 0.01
_DONE_M = 0.04
_REORIENT_RAD, _STEER = 0.5, 3.0
# straight ahead first, then alternately to both sides, up to a half turn
_TURNS_RAD = np.array([side * np.deg2rad(7.5 * n) for n in range(25) for side in (1, -1)])


class BlockPushExpert:
    """Phases of each of the two pushes: approach the point behind the cube, push, return to that point.

    A push whose heading is off by more than 0.5 rad is broken off: the effector goes round to the point behind the cube
    again, slowly.
    """

    def start_episode(self, init_state: int) -> None:
        """Draw which cube goes first and to which target."""
        rng = np.random.default_rng([init_state, *b"block_push expert"])
        cube, target = (int(n) for n in rng.integers(2, size=2))
        self._pushes = [(cube, target), (1 - cube, 1 - target)]
        self._phase = "approach"
        self._speed = _TRAVEL_M
        self._home: np.ndarray | None = None

    def action(self, observation: dict[str, np.ndarray]) -> np.ndarray | None:
        """(2,) float32 displacement of the command [m]; None when both cubes are where they should be."""
        state = observation["observation.state"].astype(np.float64)
        effector, command = state[:2], state[2:]
        cubes = observation["observation.environment_state"].astype(np.float64).reshape(2, 2)
        if self._phase == "return" and self._home is not None and np.hypot(*(self._home - command)) < _ARRIVED_M:
            self._phase, self._speed, self._home = "approach", _TRAVEL_M, None
        if not self._pushes:
            return None
        number, target = self._pushes[0]
        cube = cubes[number]
        if self._phase != "return" and np.hypot(*(TARGETS_M[target] - cube)) < _DONE_M:
            del self._pushes[0]
            if not self._pushes:
                return None
            self._phase = "return"
        if self._phase == "return":
            assert self._home is not None
            return _shift(command, self._home, cubes, _TRAVEL_M)
        heading = _unit(TARGETS_M[target] - cube)
        behind = cube - _BEHIND_M * heading
        if self._home is None:
            self._home = behind
        if self._phase == "approach":
            if np.hypot(*(behind - command)) >= _ARRIVED_M:
                return _shift(command, behind, cubes, self._speed)
            self._phase = "push"
        offset = cube - effector
        error = abs(np.arctan2(heading[0] * offset[1] - heading[1] * offset[0], heading @ offset))
        if error > _REORIENT_RAD:
            self._phase, self._speed = "approach", _ORIENT_M
            return _shift(command, behind, cubes, self._speed)
        # the effector's line through the cube should be the cube's line to the target: make up for what it is off
        contact = cube - (CUBE_HALF_M + EFFECTOR_RADIUS_M) * heading
        aside = contact - effector
        aside -= (aside @ heading) * heading
        return (_PUSH_M * _unit(heading + _STEER * aside / _PUSH_M)).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.hypot(*vector)), 1e-9)


def _shift(start: np.ndarray, end: np.ndarray, cubes: np.ndarray, step_m: float) -> np.ndarray:
    """(2,) float32: at most `step_m` towards `end`, in the nearest direction that comes too near to no cube."""
    way = end - start
    length = min(step_m, float(np.hypot(*way)))
    turns = np.arctan2(way[1], way[0]) + _TURNS_RAD
    shifts = length * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    after = np.hypot(*(start + shifts[:, None] - cubes).T).T  # (directions, cubes)
    # leaving a cube is always allowed, and so is an end that lies near one
    allowed = np.minimum(_CLEAR_M, np.minimum(np.hypot(*(start - cubes).T), np.hypot(*(end - cubes).T)) - 1e-6)
    free = (after >= allowed).all(axis=1)
    return shifts[free.argmax()].astype(np.float32)
