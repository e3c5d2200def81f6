"""Expert for put_on_plate: above the bar, down, close, up, across, down, open, away.

It looks at the observation every time it is asked, so a bar that was pushed or slipped is followed; a bar that
was lost on the way starts the sequence again.
"""

from __future__ import annotations

import numpy as np

from robolearn.core.rotation import rot6d_to_matrix
from robolearn.sim.experts.protocol import Waypoint

_APPROACH_M, _CARRY_M, _RETREAT_M = 0.10, 0.12, 0.10
_GRASP_M, _RELEASE_M = 0.014, 0.034  # TCP height at the grasp, and over the plate at the release
_PHASES = ("approach", "descend", "grasp", "lift", "carry", "lower", "release", "retreat")
_CLOSED, _OPEN = 0.0, 1.0


class PutOnPlateExpert:
    """Phases advance when the operator reports the waypoint as reached."""

    def __init__(self) -> None:
        self.start_episode()

    def start_episode(self) -> None:
        self._phase = 0
        self._release_rotation: np.ndarray | None = None

    def reached(self) -> None:
        self._phase += 1

    def waypoint(self, observation: dict[str, np.ndarray]) -> Waypoint | None:
        objects = observation["observation.environment_state"].astype(np.float64)
        tcp = observation["observation.state"].astype(np.float64)
        bar, plate = objects[:3], objects[9:12]
        if self._phase >= len(_PHASES):
            return None
        phase = _PHASES[self._phase]
        if phase in ("lift", "carry", "lower") and np.linalg.norm(bar - tcp[:3]) > 0.04:
            self._phase = 0  # the bar was missed or lost
            phase = _PHASES[0]
        rotation = _grasp_rotation(rot6d_to_matrix(objects[3:9])) if self._phase < 3 else rot6d_to_matrix(tcp[3:9])
        if self._phase >= 3:
            # keep the orientation of the grasp; re-reading it every tick would drift
            if self._release_rotation is None:
                self._release_rotation = rotation
            rotation = self._release_rotation
        else:
            self._release_rotation = None
        over = np.array([plate[0], plate[1], 0.0])
        return {
            "approach": lambda: Waypoint(phase, bar + [0, 0, _APPROACH_M], rotation, _OPEN, 0.02),
            "descend": lambda: Waypoint(phase, np.array([bar[0], bar[1], _GRASP_M]), rotation, _OPEN, 0.004),
            "grasp": lambda: Waypoint(phase, np.array([bar[0], bar[1], _GRASP_M]), rotation, _CLOSED, 0.02, 0.5),
            "lift": lambda: Waypoint(phase, np.array([tcp[0], tcp[1], _CARRY_M]), rotation, _CLOSED, 0.02),
            "carry": lambda: Waypoint(phase, over + [0, 0, _CARRY_M], rotation, _CLOSED, 0.012),
            "lower": lambda: Waypoint(phase, over + [0, 0, _RELEASE_M], rotation, _CLOSED, 0.006),
            "release": lambda: Waypoint(phase, np.array([tcp[0], tcp[1], _RELEASE_M]), rotation, _OPEN, 0.02, 0.4),
            "retreat": lambda: Waypoint(phase, np.array([tcp[0], tcp[1], _RETREAT_M]), rotation, _OPEN, 0.02),
        }[phase]()


def _grasp_rotation(bar: np.ndarray) -> np.ndarray:
    """TCP rotation (3, 3) that grips the bar across its narrow side from above, turned least from straight ahead.

    The fingers open along the TCP's x axis; the bar is long along its own x axis.
    """
    along = bar[:, 0] * np.array([1.0, 1.0, 0.0])
    along /= np.linalg.norm(along)
    down = np.array([0.0, 0.0, -1.0])
    return np.stack([np.cross(along, down), along, down], axis=1)
