"""Monotonic time that can be replaced: a real clock, a virtual clock and a fixed-rate ticker.

Everything that waits takes a `Clock`. Tests and simulation-speed recording pass a `VirtualClock`, whose
`sleep_until` returns at once with time moved on, so the same loops run in real time and as fast as possible.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robolearn.core.errors import ConfigError


class Clock(Protocol):
    """Seconds on a clock that never runs backwards; its zero is arbitrary."""

    def now(self) -> float: ...

    def sleep_until(self, time_s: float) -> None: ...


class MonotonicClock:
    """The system's monotonic clock, shared by all processes of one machine (CLOCK_MONOTONIC).

    Sleeps until `spin_s` before the deadline, then spins: a plain sleep wakes 0.05 to 1 ms late.
    """

    def __init__(self, spin_s: float = 0.0005):
        self.spin_s = spin_s

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, time_s: float) -> None:
        remaining = time_s - time.monotonic()
        if remaining > self.spin_s:
            time.sleep(remaining - self.spin_s)
        while time.monotonic() < time_s:
            pass


class VirtualClock:
    """A clock that only moves when it is told to: `sleep_until` jumps, `advance` adds."""

    def __init__(self, start_s: float = 0.0):
        self._now = start_s

    def now(self) -> float:
        return self._now

    def sleep_until(self, time_s: float) -> None:
        self._now = max(self._now, time_s)

    def advance(self, duration_s: float) -> None:
        if duration_s < 0:
            raise ConfigError(f"A clock cannot go back: asked to advance by {duration_s} s.")
        self._now += duration_s


@dataclass
class TickStatistics:
    """Lateness of the ticks of one loop, in seconds after each tick was due."""

    lateness_s: np.ndarray
    late: int
    skipped: int
    period_s: float


class Ticker:
    """Paces a loop at a fixed rate against absolute due times, so errors do not add up.

    With a period of 100 ms and work that once takes 250 ms:

        tick   due    wait() returns at   lateness   note
        0      0.000  0.000               0.000
        1      0.100  0.100               0.000      the body of tick 1 takes 0.250
        2      0.200  0.350               0.150      late; due time 0.300 is skipped
        3      0.400  0.400               0.000      back on the grid

    A tick is counted late when it starts more than `tolerance_s` after its due time. Due times that have
    passed entirely are skipped and counted, never caught up in a burst: an arm must not receive two commands
    at once.
    """

    def __init__(self, clock: Clock, rate_hz: float, tolerance_s: float | None = None):
        if not rate_hz > 0:
            raise ConfigError(f"A loop rate must be positive, found {rate_hz} Hz.")
        self.clock = clock
        self.period_s = 1.0 / rate_hz
        self.tolerance_s = 0.1 * self.period_s if tolerance_s is None else tolerance_s
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next `wait` returns at once and starts the grid there."""
        self._next_due: float | None = None
        self._lateness: list[float] = []
        self.late = 0
        self.skipped = 0

    def wait(self) -> float:
        """Wait for the next tick and return how late it starts, in seconds."""
        if self._next_due is None:
            self._next_due = self.clock.now()
        due = self._next_due
        self.clock.sleep_until(due)
        lateness = max(0.0, self.clock.now() - due)
        missed = int(lateness / self.period_s)
        self.skipped += missed
        self.late += lateness > self.tolerance_s
        self._lateness.append(lateness)
        self._next_due = due + (missed + 1) * self.period_s
        return lateness

    def statistics(self) -> TickStatistics:
        return TickStatistics(np.asarray(self._lateness), self.late, self.skipped, self.period_s)
