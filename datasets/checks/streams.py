"""Streams: nothing lost on the way, device clocks that can be believed, and a grid that shows what the streams hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding, Severity
from robolearn.datasets.checks.survey import EpisodeView
from robolearn.datasets.format import layout

DROPPED = 0.01  # share of lost samples that is a warning; fewer are an info
CLOCK_OFF = 0.005  # relative rate of device and host clock: crystals agree to 0.0001, so this is a wrong unit


class Streams(Check):
    name = "stream"

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        if view.survey.metadata.recorded != "streams":
            return
        for name in view.survey.features:
            yield from self._counts(view, name)
            yield from self._numbers(view, name)
            yield from self._clock(view, name)
            yield from self._grid(view, name)

    def _counts(self, view: EpisodeView, name: str) -> Iterator[Finding]:
        streams = view.record.get("streams")
        counts = streams.get(name) if isinstance(streams, dict) else None
        if not isinstance(counts, dict):
            return
        dropped, expected = counts.get("dropped"), counts.get("expected")
        if isinstance(dropped, int) and dropped > 0:
            whole = expected if isinstance(expected, int) and expected else None
            share = f" of {whole} expected" if whole else ""
            serious = whole is None or dropped > DROPPED * whole
            yield self._finding(
                view, name, "sequence", f"{dropped} samples{share} were lost", "warning" if serious else "info"
            )

    def _numbers(self, view: EpisodeView, name: str) -> Iterator[Finding]:
        sequence = view.rows(layout.stream_key(name, "sequence"))
        if sequence is not None and len(sequence) > 1 and (np.diff(sequence) <= 0).any():
            row = int(np.argmax(np.diff(sequence) <= 0)) + 1
            message = (
                f"number {sequence[row]} comes after {sequence[row - 1]}: the device started again, or order is lost"
            )
            yield self._finding(view, name, "sequence", message, "warning", row)

    def _clock(self, view: EpisodeView, name: str) -> Iterator[Finding]:
        device, host = (view.rows(layout.stream_key(name, part)) for part in ("device_time", "timestamp"))
        if device is None or host is None or len(device) < 2 or not np.isfinite(device).all() or np.isnan(host).any():
            return
        if (np.diff(device) <= 0).any():
            row = int(np.argmax(np.diff(device) <= 0)) + 1
            message = f"the device's clock goes from {device[row - 1]:.6f} s to {device[row]:.6f} s"
            yield self._finding(view, name, "device_time", message, "warning", row)
        elif host[-1] - host[0] > 1:
            ratio = float((device[-1] - device[0]) / (host[-1] - host[0]))
            if abs(ratio - 1) > CLOCK_OFF:
                message = f"the device's clock counts {ratio:.4g} s in each second: is it in seconds?"
                yield self._finding(view, name, "device_time", message, "warning")

    def _grid(self, view: EpisodeView, name: str) -> Iterator[Finding]:
        """Every step shows the newest sample that was there."""
        key = layout.stream_key(name, "value")
        shown, span = view.rows(layout.stream_key(name, "at_step")), view.survey.span(key, view.index)
        stamps, times = view.rows(layout.stream_key(name, "timestamp")), view.rows(layout.TIMESTAMP)
        if shown is None or span is None or stamps is None or times is None or len(shown) != len(times):
            return
        inside = (shown >= span.start) & (shown < span.stop)
        if not inside.all():
            step = int(np.argmin(inside))
            message = f"the step shows row {shown[step]}, which is not in this episode"
            yield self._finding(view, name, "at_step", message, "error", step)
            return
        newest = np.searchsorted(stamps, times + 1e-9, side="right") - 1 + span.start
        if (shown != newest).any():
            step = int(np.argmax(shown != newest))
            message = f"the step shows row {shown[step]}, the newest at its time is {newest[step]}"
            yield self._finding(view, name, "at_step", message, "error", step)
        rows = None if key in view.survey.codecs else view.rows(key)
        grid = None if rows is None else view.rows(layout.data_key(name))
        if rows is not None and grid is not None:
            same = (rows[shown - span.start] == grid).reshape(len(grid), -1).all(1)
            if not same.all():
                message = "the step does not hold the value of the sample that it shows"
                yield self._finding(view, name, "value", message, "error", int(np.argmin(same)))

    def _finding(
        self, view: EpisodeView, name: str, part: str, message: str, severity: Severity, step: int | None = None
    ) -> Finding:
        return Finding(
            severity=severity, check=self.name, message=message, file=layout.stream_key(name, part), episode=view.index,
            feature=name, step=step,
        )  # fmt: skip
