"""Expert for robosuite's Lift: above the cube, down, close, up.

It looks at the observation every time it is asked; a cube that slipped starts the sequence again. The base of a
single arm stands parallel to the world, so the difference from gripper to cube is the same in both frames.
"""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.grasping import cube_rotation, grasp_rotation
from robolearn.sim.experts.protocol import Waypoint

_APPROACH_M, _LIFT_M = 0.08, 0.10
_PHASES = ("approach", "descend", "grasp", "lift")
_CLOSED, _OPEN = 0.0, 1.0
_LOST_M = 0.04


class LiftExpert:
    """Phases advance when the operator reports the waypoint as reached."""

    def __init__(self) -> None:
        self.start_episode()

    def start_episode(self) -> None:
        self._phase = 0
        self._rotation = np.eye(3)
        self._cube = np.zeros(3)

    def reached(self) -> None:
        self._phase += 1

    def waypoint(self, observation: dict[str, np.ndarray]) -> Waypoint | None:
        objects = observation["observation.environment_state"].astype(np.float64)
        tcp = observation["observation.state"].astype(np.float64)
        if self._phase >= len(_PHASES):
            return None
        to_cube = objects[7:10]
        if _PHASES[self._phase] == "lift" and np.linalg.norm(to_cube) > _LOST_M:
            self._phase = 0
        phase = _PHASES[self._phase]
        if phase != "lift":
            self._cube = tcp[:3] + to_cube
            self._rotation = grasp_rotation(cube_rotation(objects[3:7]))
        above, held = self._cube + [0, 0, _APPROACH_M], self._cube + [0, 0, _LIFT_M]
        return {
            "approach": Waypoint(phase, above, self._rotation, _OPEN, 0.015),
            "descend": Waypoint(phase, self._cube, self._rotation, _OPEN, 0.006),
            "grasp": Waypoint(phase, self._cube, self._rotation, _CLOSED, 0.02, 0.3),
            "lift": Waypoint(phase, held, self._rotation, _CLOSED, 0.02),
        }[phase]
