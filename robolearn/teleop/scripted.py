"""A scripted operator: looks at the scene, follows an expert's waypoints, and moves the way a person does.

It is an input device like any other: it gives velocities, so its demonstrations pass through the same loop, with
the same limits, as a person's. What is human about it: speed and acceleration limits, a reaction time before each
move, a first aim that is a few millimetres off and is corrected near the goal, and a slow tremor of the hand. All
of this goes through one limiter, so no draw of the random generator can exceed the limits.

Everything random in an episode is drawn from (seed, attempt).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.execution.command import Command
from robolearn.hardware.input.protocol import Event, Motion
from robolearn.sim.experts.protocol import Expert, Waypoint

_CORRECTION_S = 0.1  # time constant with which a wrong aim is corrected


@dataclass(frozen=True)
class Style:
    """How the hand moves.

    Attributes:
        speed_m_s, acceleration_m_s2, turn_rad_s, turn_acceleration_rad_s2: limits that always hold.
        braking: share of the acceleration used to slow down; people brake more gently than they start.
        reaction_s: shortest and longest pause before a new move.
        aim_error_m: standard deviation, per axis, of the first aim.
        correct_within_m: distance to the first aim at which it is corrected.
        tremor_m: amplitude of the hand's slow tremor.
        settle_s: from the expert's "done" to saving.
        timeout_s: an episode longer than this is given up.
    """

    speed_m_s: float = 0.25
    acceleration_m_s2: float = 1.2
    turn_rad_s: float = 1.2
    turn_acceleration_rad_s2: float = 5.0
    braking: float = 0.6
    reaction_s: tuple[float, float] = (0.05, 0.3)
    aim_error_m: float = 0.006
    correct_within_m: float = 0.018
    tremor_m: float = 0.0006
    settle_s: float = 0.25
    timeout_s: float = 20.0

    def __post_init__(self) -> None:
        limits = (self.speed_m_s, self.acceleration_m_s2, self.turn_rad_s, self.turn_acceleration_rad_s2)
        if min(limits) <= 0 or not 0 < self.braking <= 1 or not 0 <= self.reaction_s[0] <= self.reaction_s[1]:
            raise ConfigError(
                "An operator's style needs positive speeds and accelerations, braking in (0, 1] and "
                f"0 <= reaction_s[0] <= reaction_s[1]; found {self}."
            )


def approach_velocity(
    error: np.ndarray, velocity: np.ndarray, speed: float, acceleration: float, braking: float, dt_s: float
) -> np.ndarray:
    """Next velocity (n,) towards a goal that is `error` (n,) away: a trapezoid on a grid of `dt_s`.

    Never faster than `speed` (given that `velocity` is not) and never changing by more than `acceleration * dt_s`.
    On the way straight to a resting goal it comes to rest there without passing it. In units of s = braking *
    acceleration * dt, a speed n loses one unit a tick and covers n + (n - 1) + ... = (m + 1) (n - m / 2) units of
    s dt, m = floor(n), before it is zero; solved for n, that is the highest speed from which stopping is possible.
    """
    distance = float(np.sqrt(error @ error))
    step = braking * acceleration * dt_s
    units = distance / (step * dt_s)
    whole = np.floor(np.sqrt(0.25 + 2.0 * units) - 0.5)
    safe = step * (units / (whole + 1.0) + whole / 2.0)
    wanted = error * (min(speed, safe, distance / dt_s) / max(distance, 1e-12))
    change = wanted - velocity
    size = float(np.sqrt(change @ change))
    return velocity + change * min(1.0, acceleration * dt_s / max(size, 1e-12))


class ScriptedOperator:
    """Drives an expert's waypoints; see the module's text.

    Args:
        expert: says where to go next.
        period_s: of the loop that reads this device.
        seed: with the attempt number, seeds everything random.

    Raises ConfigError for a negative seed.
    """

    name = "scripted"
    autonomous = True

    def __init__(self, expert: Expert, period_s: float, seed: int = 0, style: Style | None = None):
        if seed < 0:
            raise ConfigError(f"A seed must be at least 0, found {seed}.")
        self.style = style or Style()
        self._expert = expert
        self._dt = period_s
        self._seed = seed
        self._sequence = 0

    def describe(self) -> str:
        style = self.style
        return f"Operator: scripted, up to {style.speed_m_s:g} m/s, seed {self._seed}. Ctrl-C stops."

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def start_episode(self, attempt: int) -> None:
        self._rng = np.random.default_rng([self._seed, attempt])
        self._expert.start_episode()
        self._twist = np.zeros(6)
        self._hand: Command | None = None  # the pose it believes to have commanded
        self._phase: str | None = None
        self._gripper: float | None = None
        self._aim_error = np.zeros(3)
        self._act_after_s = 0.0
        self._arrived_s: float | None = None
        self._done_s: float | None = None
        # three slow sines a axis are smooth and never stray
        self._tremor_rad_s = 2 * np.pi * self._rng.uniform(0.2, 0.9, size=(3, 3))
        self._tremor_phase = self._rng.uniform(0, 2 * np.pi, size=(3, 3))
        self._time_s = 0.0

    def observe(self, observation: dict[str, np.ndarray], time_s: float) -> None:
        self._time_s = time_s
        self._measured = Command.from_action(observation["observation.state"])
        if self._hand is None:
            self._hand = self._measured
        self._waypoint = self._expert.waypoint(observation)
        if self._waypoint is not None and self._arrived(self._waypoint):
            self._expert.reached()
            self._waypoint = self._expert.waypoint(observation)

    def read(self) -> Motion:
        self._sequence += 1
        waypoint = self._waypoint
        if waypoint is None:
            return self._finish()
        if self._time_s > self.style.timeout_s:
            return self._motion(events=(Event.DISCARD,))
        if waypoint.name != self._phase:
            self._begin_phase(waypoint)
        if self._time_s < self._act_after_s:
            self._steer(np.zeros(3), np.zeros(3))
            return self._motion()
        self._gripper = waypoint.gripper
        assert self._hand is not None
        to_goal = waypoint.position_m - self._hand.position_m
        to_aim = to_goal + self._aim_error
        if to_aim @ to_aim < self.style.correct_within_m**2:
            self._aim_error *= np.exp(-self._dt / _CORRECTION_S)
        self._steer(
            to_goal + self._aim_error + self._tremor(),
            matrix_to_axis_angle(waypoint.rotation @ self._hand.rotation.T),
        )
        return self._motion()

    def _begin_phase(self, waypoint: Waypoint) -> None:
        """React late, and aim a little beside the goal when there is some way to go."""
        assert self._hand is not None
        self._phase = waypoint.name
        self._act_after_s = self._time_s + self._rng.uniform(*self.style.reaction_s)
        distance = float(np.linalg.norm(waypoint.position_m - self._hand.position_m))
        scale = self.style.aim_error_m * min(1.0, distance / 0.1)
        self._aim_error = np.clip(self._rng.normal(0.0, scale, size=3), -2 * scale, 2 * scale)

    def _arrived(self, waypoint: Waypoint) -> bool:
        """Measured pose within tolerance and the hold time over, counted from when the gripper was told."""
        if waypoint.name != self._phase or self._gripper != waypoint.gripper:
            self._arrived_s = None
            return False
        offset = waypoint.position_m - self._measured.position_m
        cosine = 0.5 * (float(np.sum(waypoint.rotation * self._measured.rotation)) - 1.0)
        if offset @ offset > waypoint.tolerance_m**2 or cosine < np.cos(0.1):
            self._arrived_s = None
            return False
        if self._arrived_s is None:
            self._arrived_s = self._time_s
        if self._time_s - self._arrived_s < waypoint.hold_s:
            return False
        self._arrived_s = None
        return True

    def _finish(self) -> Motion:
        """Come to rest, wait a moment, save."""
        self._steer(np.zeros(3), np.zeros(3))
        if self._done_s is None:
            self._done_s = self._time_s
        if self._time_s - self._done_s < self.style.settle_s:
            return self._motion()
        return self._motion(events=(Event.SUCCESS, Event.SAVE))

    def _steer(self, error_m: np.ndarray, error_rad: np.ndarray) -> None:
        """Set the twist towards a goal and remember where the hand will be."""
        style = self.style
        v = approach_velocity(
            error_m, self._twist[:3], style.speed_m_s, style.acceleration_m_s2, style.braking, self._dt
        )
        w = approach_velocity(
            error_rad, self._twist[3:], style.turn_rad_s, style.turn_acceleration_rad_s2, style.braking, self._dt
        )
        self._twist = np.concatenate([v, w])
        assert self._hand is not None
        self._hand = Command(
            self._hand.position_m + v * self._dt,
            axis_angle_to_matrix(w * self._dt) @ self._hand.rotation,
            self._hand.gripper,
        )

    def _tremor(self) -> np.ndarray:
        waves = np.sin(self._tremor_rad_s * self._time_s + self._tremor_phase)
        return self.style.tremor_m * waves.sum(axis=0) / np.sqrt(1.5)

    def _motion(self, events: tuple[Event, ...] = ()) -> Motion:
        return Motion(self._twist.copy(), self._gripper, events, self._time_s, self._sequence)
