"""Limits between any source of targets and an arm: workspace, speed, acceleration, finiteness. On by default."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.execution.command import Command
from robolearn.hardware.arms.protocol import ArmCapabilities

# A tick counts as limited when what is commanded is further than this from what was asked for. Smoothing the
# corner between two actions stays below it.
_NOTICEABLE_M, _NOTICEABLE_RAD = 5e-3, 5e-2


@dataclass(frozen=True)
class SafetyLimits:
    """What the limiter allows.

    Attributes:
        workspace_low_m, workspace_high_m: (3,) box for the TCP in the base frame; infinite where there is no border.
        max_speed_m_s, max_rotation_rad_s: of the TCP.
        max_acceleration_m_s2, max_rotation_acceleration_rad_s2: when following targets.
        braking_m_s2, braking_rad_s2: deceleration of a safety stop.
    """

    workspace_low_m: tuple[float, float, float]
    workspace_high_m: tuple[float, float, float]
    max_speed_m_s: float
    max_rotation_rad_s: float
    max_acceleration_m_s2: float = 10.0
    max_rotation_acceleration_rad_s2: float = 40.0
    braking_m_s2: float = 3.0
    braking_rad_s2: float = 12.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not name.startswith("workspace") and not 0 < value < np.inf:
                raise ConfigError(f"Safety limit {name} must be positive and finite, found {value}.")
        if not all(low < high for low, high in zip(self.workspace_low_m, self.workspace_high_m, strict=True)):
            raise ConfigError(f"The workspace box is empty: {self.workspace_low_m} to {self.workspace_high_m} m.")

    @classmethod
    def from_capabilities(cls, arm: ArmCapabilities, max_speed_m_s: float | None = None) -> SafetyLimits:
        """The arm's own limits, optionally with a lower speed."""
        limits = cls(arm.workspace_low_m, arm.workspace_high_m, arm.max_speed_m_s, arm.max_rotation_rad_s)
        if max_speed_m_s is not None:
            limits = replace(limits, max_speed_m_s=min(max_speed_m_s, arm.max_speed_m_s))
        return limits


@dataclass
class LimiterCounts:
    """Ticks on which each limit kept the command noticeably (5 mm or 0.05 rad) from its target.

    `limited` counts ticks with any of them; `refused` counts targets that were not finite or no rotation;
    `largest_m` and `largest_rad` are the furthest that a command was from its target.
    """

    limited: int = 0
    workspace: int = 0
    speed: int = 0
    acceleration: int = 0
    refused: int = 0
    largest_m: float = 0.0
    largest_rad: float = 0.0


@dataclass(frozen=True)
class _Room:
    """How far it is to the workspace's borders along each axis, (3,) each; 0 where the border is passed already."""

    low_m: np.ndarray
    high_m: np.ndarray


class _Motion:
    """Velocity (3,) of position or rotation and its limits.

    Where there is a border, the speed towards it is at all times one that can be braked away before it. The
    deceleration planned with is what the acceleration limit, a norm, leaves to one axis when all three have to brake.
    """

    def __init__(self, max_speed: float, max_acceleration: float, braking: float):
        self.max_speed = max_speed
        self.max_acceleration = max_acceleration
        self.braking = braking
        self.velocity = np.zeros(3)

    def follow(
        self, error: np.ndarray, target_velocity: np.ndarray, dt_s: float, longest_step_s: float, room: _Room | None
    ) -> tuple[np.ndarray, bool]:
        """Advance by one tick towards a target `error` (3,) away. Returns the step (3,) and "speed was limited".

        The velocity wanted is the target's own plus what closes the rest of the error; of the latter no more
        than can still be braked away, so a target that rests is reached without overshoot.
        """
        behind = error - target_velocity * dt_s
        distance = float(np.linalg.norm(behind))
        wanted = target_velocity
        if distance > 1e-12:
            closing = _stoppable(distance, 0.9 * self.max_acceleration, dt_s)
            wanted = wanted + behind * (closing / distance)
        allowed = _clip_norm(wanted, self.max_speed * min(1.0, longest_step_s / dt_s))
        return self._advance(allowed, self.max_acceleration, dt_s, room), allowed is not wanted

    def brake(self, dt_s: float, room: _Room | None) -> np.ndarray:
        """Advance by one tick while slowing down. Returns the step (3,)."""
        slower = self.velocity - _clip_norm(self.velocity, self.braking * dt_s)
        return self._advance(slower, max(self.max_acceleration, self.braking), dt_s, room)

    def _advance(self, wanted: np.ndarray, acceleration: float, dt_s: float, room: _Room | None) -> np.ndarray:
        """Change the velocity to the one wanted as far as acceleration and borders allow. Returns the step (3,)."""
        needed = self.velocity
        if room is not None:
            deceleration = self.max_acceleration / np.sqrt(3)
            lowest, highest = -_stoppable(room.low_m, deceleration, dt_s), _stoppable(room.high_m, deceleration, dt_s)
            needed, wanted = np.clip(needed, lowest, highest), np.clip(wanted, lowest, highest)
        # the braking that is needed comes first; what is left of the acceleration goes to what is wanted
        change, rest = needed - self.velocity, wanted - needed
        self.velocity = needed + rest * _share(change, rest, acceleration * dt_s)
        return self.velocity * dt_s


class SafetyLimiter:
    """Turns targets, wherever they jump, into commands within the limits.

    Call `reset` with the pose the arm is in, then once per tick either `limit` (follow a target) or `brake`
    (come to rest), with the time that has really passed since the last tick. With v the step of a tick over that
    time, the position stays in the box, |v| within the speed and |v - v before| / dt within the acceleration limit,
    all at once and for ticks of any length.

    Args:
        longest_step_s: after a late tick the command moves on by no more than full speed for this long, as far as the
            acceleration limit lets it: an arm may follow a command at once, however long it waited for it.
    """

    def __init__(self, limits: SafetyLimits, longest_step_s: float = 0.02):
        self.limits = limits
        self.counts = LimiterCounts()
        self._longest_step_s = longest_step_s
        self._low, self._high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
        self._last: Command | None = None

    def reset(self, pose: Command) -> None:
        """The arm is at rest at `pose`, which may lie outside the workspace: then the way back in is open."""
        limits = self.limits
        self._last = pose
        self._position = _Motion(limits.max_speed_m_s, limits.max_acceleration_m_s2, limits.braking_m_s2)
        self._rotation = _Motion(
            limits.max_rotation_rad_s, limits.max_rotation_acceleration_rad_s2, limits.braking_rad_s2
        )
        self._target: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the commanded motion has ended."""
        return not self._position.velocity.any() and not self._rotation.velocity.any()

    @property
    def commanded(self) -> Command:
        """The last command given. Raises ConfigError before `reset`."""
        if self._last is None:
            raise ConfigError("The safety limiter must be reset to the arm's pose before it is used.")
        return self._last

    def limit(self, target: Command, dt_s: float) -> Command | None:
        """The command for this tick, `dt_s` after the last one; None when the target is no pose."""
        numbers = (target.position_m, target.rotation, target.gripper)
        # two parallel rows of a 6-d rotation, for one, do not give a rotation
        if not all(np.isfinite(n).all() for n in numbers) or abs(np.linalg.det(target.rotation) - 1) > 1e-3:
            self.counts.refused += 1
            return None
        if not dt_s > 0:
            return self.commanded
        inside = np.clip(target.position_m, self._low, self._high)
        last, longest_s = self.commanded, self._longest_step_s
        target_velocity, target_spin = self._target_motion(inside, target.rotation, dt_s)
        step, fast = self._position.follow(inside - last.position_m, target_velocity, dt_s, longest_s, self._room)
        turn_error = matrix_to_axis_angle(target.rotation @ last.rotation.T)
        turn, spinning_fast = self._rotation.follow(turn_error, target_spin, dt_s, longest_s, None)
        self._target = (inside, target.rotation)
        command = self._move(step, turn, float(np.clip(target.gripper, 0.0, 1.0)))
        self._count(target, inside, command, fast or spinning_fast, turn_error - turn)
        return command

    def brake(self, dt_s: float) -> Command:
        """The command for this tick of a smooth stop: slow down, then hold. The gripper stays as it is."""
        gripper = self.commanded.gripper
        self._target = None
        if not dt_s > 0:
            return self.commanded
        return self._move(self._position.brake(dt_s, self._room), self._rotation.brake(dt_s, None), gripper)

    @property
    def _room(self) -> _Room:
        position = self.commanded.position_m
        return _Room(np.maximum(position - self._low, 0.0), np.maximum(self._high - position, 0.0))

    def _target_motion(self, position: np.ndarray, rotation: np.ndarray, dt_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Velocities of the target itself. A jump is no motion: what exceeds the speed limit is left out."""
        if self._target is None:
            return np.zeros(3), np.zeros(3)
        velocity = (position - self._target[0]) / dt_s
        spin = matrix_to_axis_angle(rotation @ self._target[1].T) / dt_s
        if np.linalg.norm(velocity) > self.limits.max_speed_m_s:
            velocity = np.zeros(3)
        if np.linalg.norm(spin) > self.limits.max_rotation_rad_s:
            spin = np.zeros(3)
        return velocity, spin

    def _move(self, step: np.ndarray, turn: np.ndarray, gripper: float) -> Command:
        last = self.commanded
        # the velocity keeps it within; this keeps rounding within too. From outside only the way back in is open
        low, high = np.minimum(self._low, last.position_m), np.maximum(self._high, last.position_m)
        position = np.clip(last.position_m + step, low, high)
        rotation = axis_angle_to_matrix(turn) @ last.rotation if turn.any() else last.rotation
        self._last = Command(position, rotation, gripper)
        return self._last

    def _count(self, target: Command, inside: np.ndarray, command: Command, fast: bool, turn_left: np.ndarray) -> None:
        counts = self.counts
        away_m = float(np.linalg.norm(target.position_m - command.position_m))
        away_rad = float(np.linalg.norm(turn_left))
        counts.largest_m, counts.largest_rad = max(counts.largest_m, away_m), max(counts.largest_rad, away_rad)
        outside = bool(np.linalg.norm(target.position_m - inside) > _NOTICEABLE_M)
        behind = bool(np.linalg.norm(inside - command.position_m) > _NOTICEABLE_M or away_rad > _NOTICEABLE_RAD)
        counts.workspace += outside
        counts.speed += behind and fast
        counts.acceleration += behind and not fast
        counts.limited += outside or behind


def _clip_norm(vector: np.ndarray, longest: float) -> np.ndarray:
    """`vector` itself, or shortened to the length `longest`."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)


def _stoppable(distance: Any, deceleration: float, dt_s: float) -> Any:
    """The speed v for the next tick after which constant deceleration ends within `distance`, a number or an array.

    v dt + v^2 / (2 deceleration) = distance, solved for v. As each tick's step is taken with the velocity at its end,
    braking in ticks of any length needs less than the v^2 / (2 deceleration) that is kept free.
    """
    slower = deceleration * dt_s
    return np.sqrt(slower**2 + 2 * deceleration * distance) - slower


def _share(change: np.ndarray, rest: np.ndarray, longest: float) -> float:
    """The largest share in [0, 1] of `rest` that can be added to `change` without making it longer than `longest`."""
    squared = float(rest @ rest)
    if squared == 0.0:
        return 1.0
    along, free = float(change @ rest), longest**2 - float(change @ change)
    if free <= 0.0:
        return 0.0
    return min(1.0, (np.sqrt(along**2 + squared * free) - along) / squared)
