"""An episode of a person or a script at the controls, and what is stored with it besides its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from robolearn.core.provenance import git_revision, package_versions
from robolearn.hardware.input.protocol import Event, InputDevice


@dataclass
class Episode:
    """What is known about an episode, while it runs and after it.

    Attributes:
        init_state: start state it was given.
        started_at: wall-clock time, for people.
        ending: SAVE, DISCARD or STOP; STOP also when the session was told to stop from outside.
        steps: recorded steps.
        duration_s: time stamp of the last recorded step.
        pauses: (start, length) in seconds of each pause, on the same axis as the time stamps.
        late_ticks, skipped_ticks: recorded ticks that began late, and due times that passed without a tick.
        success: what the target says at the end; None where nothing measures it.
        mark: what the operator said: True, False or None.
        slowed_by: what keeps the recorded ticks from coming at the rate asked for, see `robolearn.teleop.pace`.
        inexact: what of the hand's commands the actions do not say exactly, see `TeleopTarget.inexact`.
        paused, waiting: the operator has the clutch down; the first motion has not come yet.
    """

    init_state: int
    started_at: str = ""
    ending: Event = Event.STOP
    steps: int = 0
    duration_s: float = 0.0
    pauses: list[tuple[float, float]] = field(default_factory=list)
    late_ticks: int = 0
    skipped_ticks: int = 0
    success: bool | None = None
    mark: bool | None = None
    slowed_by: str | None = None
    inexact: str = ""
    paused: bool = False
    waiting: bool = False

    @property
    def recorded_s(self) -> float:
        """Time from the first to the last recorded step, pauses left out."""
        return self.duration_s - sum(length for _, length in self.pauses)

    @property
    def rate_hz(self) -> float:
        """Measured rate of the recorded steps; 0 before the second step."""
        return (self.steps - 1) / self.recorded_s if self.steps > 1 and self.recorded_s > 0 else 0.0

    @property
    def succeeded(self) -> bool | None:
        """The operator's mark where there is one, else what the target says."""
        return self.success if self.mark is None else self.mark


def episode_record(episode: Episode, device: InputDevice, task: str, seed: int, simulated_time: bool) -> dict[str, Any]:
    """What is stored with an episode besides its steps."""
    return {
        "task": task,
        "success": episode.succeeded,
        "success_env": episode.success,
        "success_operator": episode.mark,
        "operator": device.name,
        "seed": seed,
        "init_state": episode.init_state,
        "started_at": episode.started_at,
        "clock": "simulated" if simulated_time else "host monotonic",
        "late_ticks": episode.late_ticks,
        "skipped_ticks": episode.skipped_ticks,
        "rate_hz": round(episode.rate_hz, 4),
        "slowed_by": episode.slowed_by,
        "pauses": [list(pause) for pause in episode.pauses],
        "software": software(),
    }


def software() -> dict[str, Any]:
    """What recorded it."""
    return {"git_revision": git_revision(), "versions": package_versions()}
