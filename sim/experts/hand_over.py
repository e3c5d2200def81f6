"""Expert for hand_over: the left arm brings the bar to the middle, the right arm takes it there and carries it off.

Each hand points straight down and moves with least jerk (`MinJerk`) to goals that are read off the observation at every
step, so a bar that is pushed is followed; one that was dropped is picked up again. As with people, no two episodes are
alike: where the arms meet, how the bar lies there and how fast they work are drawn from the start state's number.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robolearn.core.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
)
from robolearn.sim.experts.min_jerk import MinJerk
from robolearn.sim.tasks.hand_over import BAR_HALF_M, GRIP_M
from robolearn.sim.worlds.face_to_face import PAIRS

PERIOD_S = 0.05
MEETING_HEIGHT_M = {"panda": 0.20, "vx300s": 0.17}
"""Of the bar where it is handed over, about."""
_REACH_M_S, _CARRY_M_S, _NEAR_M_S = 0.30, 0.35, 0.18
_LIFT_M, _TAKE_AWAY_M, _WAIT_M = 0.10, 0.16, 0.08
_LEAVE_M = np.array([-0.10, 0.0, 0.09])
_GRASP_S, _RELEASE_S = 0.4, 0.3
_FALLEN_M = BAR_HALF_M[2] + 0.014
_CLOSED, _OPEN = 0.0, 1.0


class _Hand:
    """One arm's hand: what it does now, and where its command is.

    The command is (7,): position [m], yaw about z [rad], and the rotation vector [rad] that is left of how the hand was
    turned in the beginning; all in the frame of the left arm's base, whose x axis points to the right arm's.

    Args:
        base_position, base_rotation: (3,) and (3, 3), of its arm in that frame.
        measured: (10,) where the arm is, its pose and opening in its own base frame.
    """

    def __init__(self, base_position: np.ndarray, base_rotation: np.ndarray, measured: np.ndarray):
        self._base_position, self._base_rotation = base_position, base_rotation
        self.phase = ""
        self.opening = _OPEN
        self._still_s = 0.0
        turned = matrix_to_axis_angle(_downwards(0.0).T @ rot6d_to_matrix(measured[3:9]))
        self.motion = MinJerk(np.array([*(base_position + base_rotation @ measured[:3]), 0.0, *turned]), PERIOD_S)

    @property
    def place(self) -> np.ndarray:
        """(4,) commanded position and yaw."""
        return self.motion.position[:4]

    @property
    def arrived(self) -> bool:
        """At its goal, and it has been still there for as long as it should."""
        return self.motion.remaining_s <= 0 and self._still_s <= 0

    def go(self, phase: str, place: np.ndarray, speed_m_s: float, least_s: float) -> None:
        """To a position and yaw (4,), in a straight line."""
        self.phase = phase
        distance = float(np.linalg.norm(place[:3] - self.place[:3]))
        self.motion.go(np.array([*place, 0.0, 0.0, 0.0]), max(distance / speed_m_s, least_s))

    def follow(self, place: np.ndarray) -> None:
        """The place that it is on its way to has moved."""
        self.motion.goal[:4] = place

    def grip(self, phase: str, opening: float, still_s: float) -> None:
        """Open or close, and keep still meanwhile."""
        self.phase, self.opening, self._still_s = phase, opening, still_s

    def step(self) -> np.ndarray:
        """(10,) the next action, in the base frame."""
        position, yaw, turned = np.split(self.motion.step(), [3, 4])
        if self.motion.remaining_s < 0:
            self._still_s -= PERIOD_S
        rotation = _downwards(float(yaw[0])) @ axis_angle_to_matrix(turned)
        return np.concatenate(
            [self._base_rotation.T @ (position - self._base_position), matrix_to_rot6d(rotation), [self.opening]]
        )


class HandOverExpert:
    """Phases of the left hand: reach, descend, grasp, lift, bring, offer, release, leave; of the right: wait, reach,
    descend, grasp, take. An episode is over when both have come to their ends.
    """

    variant: ClassVar[str]

    def __init__(self) -> None:
        pair = PAIRS[self.variant]
        self._left, right = pair.arms()
        self._right_base = self._left.from_world(np.array(right.position_m), right.rotation)
        self._middle = np.array([pair.apart_m / 2, 0.0, MEETING_HEIGHT_M[self.variant]])

    def start_episode(self, init_state: int) -> None:
        """Draw how this one is done."""
        rng = np.random.default_rng([init_state, *b"hand_over expert"])
        self._meeting = self._middle + rng.uniform([-0.02, -0.03, -0.02], [0.02, 0.03, 0.03])
        self._meeting_yaw = rng.uniform(-0.15, 0.15)
        self._pace = rng.uniform(0.85, 1.15)
        self._above = np.array([0.0, 0.0, rng.uniform(0.07, 0.10), 0.0])
        self._hands: tuple[_Hand, _Hand] | None = None

    def action(self, observation: dict[str, np.ndarray]) -> np.ndarray | None:
        """(20,) float32: the left arm's pose and opening, then the right arm's; None when it is done."""
        objects = observation["observation.environment_state"].astype(np.float64)
        bar, turned = self._left.from_world(objects[:3], rot6d_to_matrix(objects[3:9]))
        along = turned[:, 0]
        if self._hands is None:
            self._hands = self._begin(observation["observation.state"].astype(np.float64).reshape(2, 10))
        left, right = self._hands
        if bar[2] < _FALLEN_M and left.phase in ("bring", "offer", "release", "leave"):
            self._begin_again(left, right)
        along = along * np.copysign(1.0, along[0])  # whichever end is on the left is the left hand's
        yaw = float(np.arctan2(along[1], along[0]))
        self._give(left, right, np.array([*(bar - GRIP_M * along), yaw]))
        self._take(left, right, np.array([*(bar + GRIP_M * along), yaw]))
        if left.phase == "leave" and right.phase == "take" and left.arrived and right.arrived:
            return None
        return np.concatenate([left.step(), right.step()]).astype(np.float32)

    def _begin(self, state: np.ndarray) -> tuple[_Hand, _Hand]:
        left, right = _Hand(np.zeros(3), np.eye(3), state[0]), _Hand(*self._right_base, state[1])
        self._begin_again(left, right)
        return left, right

    def _begin_again(self, left: _Hand, right: _Hand) -> None:
        left.opening = right.opening = _OPEN
        waiting = np.array([*self._meeting, self._meeting_yaw]) + [GRIP_M + _WAIT_M, 0.0, 0.02, 0.0] + self._above
        left.go("reach", left.place, _REACH_M_S, 1.2 / self._pace)
        right.go("wait", waiting, _REACH_M_S * self._pace, 1.0)

    def _give(self, left: _Hand, right: _Hand, end: np.ndarray) -> None:
        """What the left hand does next; `end` (4,) is where it holds the bar, and the bar's yaw."""
        pace, low = self._pace, np.array([*end[:2], BAR_HALF_M[2], end[3]])
        if left.phase == "reach":
            left.follow(end + self._above)
        elif left.phase == "descend":
            left.follow(low)
        if not left.arrived:
            return
        if left.phase == "reach":
            left.go("descend", low, _NEAR_M_S * pace, 0.5)
        elif left.phase == "descend":
            left.grip("grasp", _CLOSED, _GRASP_S)
        elif left.phase == "grasp":
            left.go("lift", left.place + [0.0, 0.0, _LIFT_M, 0.0], _NEAR_M_S * pace, 0.5)
        elif left.phase == "lift":
            way = GRIP_M * np.array([np.cos(self._meeting_yaw), np.sin(self._meeting_yaw), 0.0])
            left.go("bring", np.array([*(self._meeting - way), self._meeting_yaw]), _CARRY_M_S * pace, 0.8)
        elif left.phase == "bring":
            left.phase = "offer"
        elif left.phase == "offer" and right.phase == "grasp" and right.arrived:
            left.grip("release", _OPEN, _RELEASE_S)
        elif left.phase == "release":
            left.go("leave", left.place + [*_LEAVE_M, 0.0], _NEAR_M_S * pace, 0.6)

    def _take(self, left: _Hand, right: _Hand, end: np.ndarray) -> None:
        """What the right hand does next; `end` as in `_give`, of its own end of the bar."""
        pace = self._pace
        if right.phase == "wait" and left.phase == "offer":
            right.go("reach", end + self._above, _REACH_M_S * pace, 0.5)
        elif right.phase == "reach":
            right.follow(end + self._above)
            if right.arrived:
                right.go("descend", end, _NEAR_M_S * pace, 0.5)
        elif right.phase == "descend":
            right.follow(end)
            if right.arrived:
                right.grip("grasp", _CLOSED, _GRASP_S)
        elif right.phase == "grasp" and left.phase == "leave" and left.motion.remaining_s < 0.25:
            away = right.place + [_TAKE_AWAY_M, 0.0, 0.03, -self._meeting_yaw]
            right.go("take", away, _CARRY_M_S * pace, 0.8)


class PandaHandOverExpert(HandOverExpert):
    variant = "panda"


class Vx300sHandOverExpert(HandOverExpert):
    variant = "vx300s"


def _downwards(yaw: float) -> np.ndarray:
    """(3, 3) of a hand that points straight down, its fingers opening across the direction of `yaw`.

    Two bases that face each other differ by half a turn, under which a gripper looks the same: one yaw does for both.
    """
    ahead, down = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0])
    return np.stack([np.cross(ahead, down), ahead, down], axis=1)
