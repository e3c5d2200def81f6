"""Where the time of a session's ticks goes, and what to say when they come more slowly than they should."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from robolearn.core.clock import Clock

SLOW = 0.9  # of the rate asked for
JUDGED_AFTER_S = 1.0
# what takes the time -> what to do about it
REMEDIES = {
    "viewer": "--no-viewer",
    "scene": "fewer or smaller pictures (--camera, --image-size), or a lower --fps",
    "recording": "a faster disk, or fewer or smaller pictures (--camera, --image-size)",
    "operator": "the operator's device answers slowly",
    "machine": "other programs have the processor",
}


class Pace:
    """Adds up what each part of a tick takes, by the session's clock.

    period 50 ms, 20 ticks: scene 30 ms, viewer 70 ms a tick    -> 10 Hz, slowed by the viewer
    period 50 ms, 20 ticks: scene 30 ms, 70 ms for nobody knows -> 10 Hz, slowed by the machine

    Attributes:
        counting: False while a session is paused, whose time is not the episode's either.
    """

    def __init__(self, clock: Clock, rate_hz: float):
        self._clock, self.rate_hz = clock, rate_hz
        self.reset()

    def reset(self) -> None:
        """An episode begins."""
        self._spent_s: dict[str, float] = defaultdict(float)
        self.counting = True

    @contextmanager
    def spending(self, part: str) -> Iterator[None]:
        """The time of the block is spent on `part`, a key of `REMEDIES`."""
        began_s = self._clock.now()
        yield
        if self.counting:
            self._spent_s[part] += self._clock.now() - began_s

    def slowed_by(self, ticks: int, duration_s: float) -> str | None:
        """What most of the time went to, when `ticks` took longer than they should; None at the right pace, and before
        it can be told."""
        if duration_s < JUDGED_AFTER_S or ticks >= SLOW * self.rate_hz * duration_s:
            return None
        part = max(self._spent_s, key=self._spent_s.__getitem__, default="machine")
        unexplained_s = duration_s - sum(self._spent_s.values())
        return part if self._spent_s[part] > unexplained_s else "machine"


def describe_slow(verb: str, rate_hz: float, nominal_hz: float, cause: str) -> str:
    """`recorded at 8.3 of 20 Hz: --no-viewer`"""
    return f"{verb} at {rate_hz:.1f} of {nominal_hz:g} Hz: {REMEDIES[cause]}"
