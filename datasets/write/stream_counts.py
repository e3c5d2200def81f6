"""How many samples of a stream were expected, came, were dropped or were late; counted while they come."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from robolearn.datasets.format.layout import Json

LATE = 1.5  # periods between two samples from which on the second is late, and silence at either end is a loss
SILENCE_S = 0.25  # shorter silence at the beginning or end of an episode is latency, not loss
TOLERANCE = 1e-3  # by which a device's rate may differ from its nominal one before its samples count as missing


@dataclass(frozen=True)
class StreamCounts:
    """Of one stream in one episode.

    Attributes:
        expected: samples that should have come: by the device's own numbers where it has them, else by its rate.
        received: samples that came.
        dropped: expected but not received.
        late: came more than 1.5 periods after the sample before, although no number was skipped.
        spooled: frames that the encoders could not keep up with and that went to disk raw first; none of them is lost.
        device_clock_steps: how often the device's clock went back or stood still.
        rate_hz: as measured, 0 while fewer than two samples came.
    """

    expected: int
    received: int
    dropped: int
    late: int
    spooled: int
    device_clock_steps: int
    rate_hz: float

    def to_record(self) -> Json:
        """As the episode's record keeps it."""
        return {**asdict(self), "rate_hz": round(self.rate_hz, 4)}


class Counter:
    """Counts one stream.

    Args:
        rate_hz: nominal; None for events, of which only skipped numbers can be missed.
    """

    def __init__(self, rate_hz: float | None):
        self._rate_hz = rate_hz
        self.received = 0
        self.spooled = 0
        self.first_s = self.last_s = 0.0
        self._numbered = False
        self._number = 0
        self._expected = 0
        self._late = 0
        self._device_s = -float("inf")
        self._device_clock_steps = 0
        self._paused_s = 0.0
        self._pause_since_last_s = 0.0

    def add(self, time_s: float, number: int | None, device_time_s: float | None) -> None:
        """A sample came at `time_s`, with the device's number and time where it has them.

        A number that does not rise starts a new count (the device restarted); what was missed then is judged by time.
        """
        gap = time_s - self.last_s
        steps = 1
        if not self.received:
            self.first_s = time_s
        else:
            if self._pause_since_last_s:
                gap = 0.0
            elif number is not None and self._numbered and number > self._number:
                steps = number - self._number
            elif number is not None and self._rate_hz:
                steps = max(1, round(gap * self._rate_hz))
            if self._rate_hz and gap * self._rate_hz > LATE and steps == 1:
                self._late += 1
        self._expected += steps
        if number is not None:
            self._number, self._numbered = number, True
        if device_time_s is not None:
            self._device_clock_steps += device_time_s <= self._device_s
            self._device_s = device_time_s
        self.received += 1
        self.last_s = time_s
        self._paused_s += self._pause_since_last_s
        self._pause_since_last_s = 0.0

    def pause(self, length_s: float) -> None:
        """Nobody listened for so long: what was missed then is not counted, nor is the gap to the next sample."""
        if self.received:
            self._pause_since_last_s += length_s

    def counts(self, start_s: float, end_s: float) -> StreamCounts:
        """Of what came between the times of the first and the last sample of any stream."""
        rate, expected = self._rate_hz, self._expected
        if rate and self.received:
            ends_s = (self.first_s - start_s, end_s - self.last_s - self._pause_since_last_s)
            silence_s = sum(length for length in ends_s if length > max(LATE / rate, SILENCE_S))
            if self._numbered:
                expected += int(silence_s * rate + 1e-6)
            else:
                by_rate = round((self.last_s - self.first_s - self._paused_s + silence_s) * rate) + 1
                missing = by_rate - self.received
                expected = by_rate if missing > TOLERANCE * by_rate else self.received
        duration_s = self.last_s - self.first_s - self._paused_s
        return StreamCounts(
            expected,
            self.received,
            expected - self.received,
            self._late,
            self.spooled,
            self._device_clock_steps,
            (self.received - 1) / duration_s if duration_s > 0 else 0.0,
        )
