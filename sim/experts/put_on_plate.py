"""Expert for put_on_plate: above the bar, down, close, up, across, down, open, away.

It looks at the observation every time it is asked, so a bar that was pushed or slipped is followed; a bar that
was lost on the way starts the sequence again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robolearn.core.rotation import rot6d_to_matrix
from robolearn.sim.experts.protocol import Waypoint

_PHASES = ("approach", "descend", "grasp", "lift", "carry", "lower", "release", "retreat")
_CLOSED = 0.0


@dataclass(frozen=True)
class Grip:
    """How one robot takes the bar and lets go of it.

    Attributes:
        grasp_m, release_m: height of the TCP at the grasp, and over the plate at the release.
        approach_m: height over the bar from which it goes down.
        carry_m, retreat_m: height of the TCP on the way to the plate, and in the end.
        opening: of the gripper while it is open.
        beside_m: how far along its own x axis the TCP comes down beside the middle of the bar, so that a finger that
            does not move passes the bar; the other one pushes the bar to it.
    """

    grasp_m: float = 0.014
    release_m: float = 0.034
    approach_m: float = 0.10
    carry_m: float = 0.12
    retreat_m: float = 0.10
    opening: float = 1.0
    beside_m: float = 0.0


class PutOnPlateExpert:
    """Phases advance when the operator reports the waypoint as reached."""

    grip: ClassVar[Grip] = Grip()

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
        rotation = grasp_rotation(rot6d_to_matrix(objects[3:9])) if self._phase < 3 else rot6d_to_matrix(tcp[3:9])
        if self._phase >= 3:
            # keep the orientation of the grasp; re-reading it every tick would drift
            if self._release_rotation is None:
                self._release_rotation = rotation
            rotation = self._release_rotation
        else:
            self._release_rotation = None
        grip, beside = self.grip, bar + self.grip.beside_m * rotation[:, 0]
        above, at, here = beside + [0, 0, grip.approach_m], np.array([*beside[:2], grip.grasp_m]), tcp[:2]
        carried, lowered = np.array([*plate[:2], grip.carry_m]), np.array([*plate[:2], grip.release_m])
        lifted, let_go = np.array([*here, grip.carry_m]), np.array([*here, grip.release_m])
        return {
            "approach": lambda: Waypoint(phase, above, rotation, grip.opening, 0.02),
            "descend": lambda: Waypoint(phase, at, rotation, grip.opening, 0.004),
            "grasp": lambda: Waypoint(phase, at, rotation, _CLOSED, 0.02, 0.5),
            "lift": lambda: Waypoint(phase, lifted, rotation, _CLOSED, 0.02),
            "carry": lambda: Waypoint(phase, carried, rotation, _CLOSED, 0.012),
            "lower": lambda: Waypoint(phase, lowered, rotation, _CLOSED, 0.006),
            "release": lambda: Waypoint(phase, let_go, rotation, grip.opening, 0.02, 0.4),
            "retreat": lambda: Waypoint(phase, np.array([*here, grip.retreat_m]), rotation, grip.opening, 0.02),
        }[phase]()


def grasp_rotation(bar: np.ndarray) -> np.ndarray:
    """TCP rotation (3, 3) that grips the bar across its narrow side from above, turned least from straight ahead.

    The fingers open along the TCP's x axis; the bar is long along its own x axis.
    """
    along = bar[:, 0] * np.array([1.0, 1.0, 0.0])
    along /= np.linalg.norm(along)
    down = np.array([0.0, 0.0, -1.0])
    return np.stack([np.cross(along, down), along, down], axis=1)


class Vx300sExpert(PutOnPlateExpert):
    grip = Grip(grasp_m=0.020, release_m=0.042)


class So100Expert(PutOnPlateExpert):
    """A short arm with a jaw that swings: it opens no further than it needs to."""

    grip = Grip(0.010, 0.028, 0.05, 0.07, 0.07, 0.4, 0.006)
