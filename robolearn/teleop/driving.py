"""Drive without recording: to try a scene, a device or an operator."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.execution.command import Command
from robolearn.execution.outcome import outcome_word
from robolearn.hardware.input.protocol import Event
from robolearn.teleop.episode import Episode
from robolearn.teleop.pace import describe_slow
from robolearn.teleop.session import TeleopSession
from robolearn.teleop.station import Station


@dataclass
class DriveSummary:
    """What a session did: episodes ended by the operator, what became of them, and how the loop ran."""

    episodes: int = 0
    successes: int = 0
    unjudged: int = 0
    steps: int = 0
    driven_s: float = 0.0
    rate_hz: float = 0.0
    late_ticks: int = 0
    skipped_ticks: int = 0
    stopped: str = "operator"


def drive(station: Station, duration_s: float | None = None, init_state: int = 0) -> DriveSummary:
    """Run episodes until the operator, a signal or the clock ends the session.

    Save goes on to the next start state, discard goes back to the same one.
    """
    summary = DriveSummary()
    intervals = 0
    end_s = None if duration_s is None else station.clock.now() + duration_s

    def out_of_time() -> bool:
        return end_s is not None and station.clock.now() >= end_s

    slow_told = False

    def tick(episode: Episode, measured: Command, target: Command) -> None:
        nonlocal slow_told
        if episode.slowed_by and not slow_told:
            slow_told = True
            station.status.say(describe_slow("driving", episode.rate_hz, station.rate_hz, episode.slowed_by))
        station.status.tick(f"start state {init_state}", episode, measured)

    session = TeleopSession(
        station.target, station.device, station.clock, station.rate_hz,
        on_tick=tick, should_stop=lambda: station.should_stop() or out_of_time(),
    )  # fmt: skip
    while True:
        episode = session.run_episode(init_state)
        summary.steps += episode.steps
        summary.driven_s += episode.recorded_s
        summary.late_ticks += episode.late_ticks
        summary.skipped_ticks += episode.skipped_ticks
        intervals += max(0, episode.steps - 1)
        if episode.ending is Event.STOP:
            break
        summary.episodes += 1
        summary.successes += episode.succeeded is True
        summary.unjudged += episode.succeeded is None
        station.status.say(f"start state {init_state}: {outcome_word(episode.succeeded)}")
        init_state += episode.ending is Event.SAVE
    summary.rate_hz = intervals / summary.driven_s if summary.driven_s > 0 else 0.0
    summary.stopped = "signal" if station.stop() else "duration" if out_of_time() else "operator"
    return summary
