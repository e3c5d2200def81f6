"""Expert for robosuite's Stack: grasp the red cube, lift it, carry it over the green one, put it down, let go, leave.

It looks at the observation every time it is asked; a cube that was missed or lost starts the sequence again. The base
of a single arm stands parallel to the world, so differences of positions are the same in both frames.
"""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.grasping import cube_rotation, grasp_rotation
from robolearn.sim.experts.protocol import Waypoint

_APPROACH_M, _CARRY_M, _RETREAT_M = 0.08, 0.09, 0.06
_STACKED_M = 0.045  # between the middles of the cubes, of 4 and 5 cm
_RELEASE_M = 0.003  # above that when it is let go
_PHASES = ("approach", "descend", "grasp", "lift", "carry", "lower", "release", "retreat")
_CLOSED, _OPEN = 0.0, 1.0
_LOST_M = 0.04


class StackExpert:
    """Phases advance when the operator reports the waypoint as reached."""

    def __init__(self) -> None:
        self.start_episode()

    def start_episode(self) -> None:
        self._phase = 0
        self._rotation = np.eye(3)
        self._start = self._left = np.zeros(3)

    def reached(self) -> None:
        self._phase += 1

    def waypoint(self, observation: dict[str, np.ndarray]) -> Waypoint | None:
        objects = observation["observation.environment_state"].astype(np.float64)
        tcp = observation["observation.state"].astype(np.float64)[:3]
        if self._phase >= len(_PHASES):
            return None
        a_to_b, to_a = objects[14:17], objects[17:20]
        if _PHASES[self._phase] in ("lift", "carry", "lower") and np.linalg.norm(to_a) > _LOST_M:
            self._phase = 0
        phase = _PHASES[self._phase]
        if phase in ("approach", "descend", "grasp"):
            self._start = tcp + to_a
            self._rotation = grasp_rotation(cube_rotation(objects[3:7]), a_to_b)
        if phase != "retreat":
            self._left = tcp
        # where the hand is when the cube that it holds, as it holds it, lies on the other one
        stacked = tcp + a_to_b + [0, 0, _STACKED_M]
        return {
            "approach": lambda: Waypoint(phase, tcp + to_a + [0, 0, _APPROACH_M], self._rotation, _OPEN, 0.015),
            "descend": lambda: Waypoint(phase, tcp + to_a, self._rotation, _OPEN, 0.006),
            "grasp": lambda: Waypoint(phase, tcp + to_a, self._rotation, _CLOSED, 0.02, 0.3),
            "lift": lambda: Waypoint(phase, self._start + [0, 0, _CARRY_M], self._rotation, _CLOSED, 0.02),
            "carry": lambda: Waypoint(phase, stacked + [0, 0, _CARRY_M - _STACKED_M], self._rotation, _CLOSED, 0.012),
            "lower": lambda: Waypoint(phase, stacked + [0, 0, _RELEASE_M], self._rotation, _CLOSED, 0.005),
            "release": lambda: Waypoint(phase, tcp, self._rotation, _OPEN, 0.02, 0.3),
            "retreat": lambda: Waypoint(phase, self._left + [0, 0, _RETREAT_M], self._rotation, _OPEN, 0.02),
        }[phase]()
