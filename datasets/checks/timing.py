"""Time: rises, without holes, at the rate that was asked for; of the grid and of every stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding, Severity
from robolearn.datasets.checks.survey import EpisodeView, Survey
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json

GAP_PERIODS = 2.5  # a gap is longer than this many periods ...
GAP_S = 0.02  # ... and than this: a shorter hole in a 1 kHz stream is the operating system's jitter
RATE_OFF = 0.1  # share by which the median gap may differ from the nominal period
EDGES = np.array([0, 0.5, 0.9, 1.1, 1.5, GAP_PERIODS, np.inf])


@dataclass
class _Gaps:
    """Of one stream, over all episodes."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1, np.int64))
    deviation_s: float = 0.0
    longest_s: float = 0.0
    medians_s: list[float] = field(default_factory=list)


def _gaps_without_pauses(times: np.ndarray, record: Json) -> np.ndarray:
    """Time between samples, less the pauses that the operator made in it."""
    gaps = np.diff(times)
    pauses = record.get("pauses")
    for pause in pauses if isinstance(pauses, list) else ():
        if isinstance(pause, list) and len(pause) == 2 and all(isinstance(number, int | float) for number in pause):
            before = int(np.searchsorted(times, pause[0], side="right")) - 1
            if 0 <= before < len(gaps):
                gaps[before] -= pause[1]
    return gaps


class Timing(Check):
    name = "time"

    def __init__(self) -> None:
        self._gaps: dict[str, _Gaps] = {}

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        yield from self._stream(view, layout.TIMESTAMP, None, 1 / view.survey.fps)
        for name, feature in view.survey.features.items():
            key = layout.stream_key(name, "timestamp")
            if key in view.survey.metadata.arrays:
                yield from self._stream(view, key, name, 1 / feature.rate_hz if feature.rate_hz else None)

    def _stream(self, view: EpisodeView, key: str, feature: str | None, period_s: float | None) -> Iterator[Finding]:
        times = view.rows(key)
        if times is None or not len(times):
            return
        rises = np.isfinite(times)
        rises[1:] &= np.diff(times) > 0
        if not rises.all():
            bad = np.flatnonzero(~rises)
            message = f"time does not rise: {times[bad[0]]:.6f} s after {times[max(0, bad[0] - 1)]:.6f} s"
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            yield self._finding("error", message + more, view.index, feature, int(bad[0]))
        if period_s is None or len(times) < 2 or not np.isfinite(times).all():
            return
        gaps, kept = _gaps_without_pauses(times, view.record), self._gaps.setdefault(feature or "", _Gaps())
        kept.counts += np.histogram(np.maximum(gaps, 0) / period_s, EDGES)[0]
        kept.deviation_s += float(np.abs(gaps - period_s).sum())
        kept.longest_s = max(kept.longest_s, float(gaps.max()))
        kept.medians_s.append(float(np.median(gaps)))
        holes = np.flatnonzero(gaps > max(GAP_PERIODS * period_s, GAP_S))
        if len(holes):
            worst = int(holes[np.argmax(gaps[holes])])
            after = f"{'sample' if feature else 'step'} {worst}, at {times[worst]:.3f} s"
            message = f"a hole of {gaps[worst]:.3f} s after {after}; expected {period_s:.4g} s between samples"
            more = f" (and {len(holes) - 1} more)" if len(holes) > 1 else ""
            yield self._finding("warning", message + more, view.index, feature, worst)

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for feature, gaps in self._gaps.items():
            rate_hz = survey.features[feature].rate_hz if feature else None
            nominal_hz = rate_hz or survey.fps
            measured_hz, total = 1 / max(float(np.median(gaps.medians_s)), 1e-9), int(gaps.counts.sum())
            labels = ["<0.5", "0.5-0.9", "0.9-1.1", "1.1-1.5", f"1.5-{GAP_PERIODS}", f">{GAP_PERIODS}"]
            shares = ", ".join(
                f"{label}: {100 * n / total:.3g} %" for label, n in zip(labels, gaps.counts, strict=True) if n
            )
            message = (
                f"{'stream' if feature else 'grid'} at {measured_hz:.4g} Hz (nominal {nominal_hz:.4g}), mean jitter "
                f"{round(1e3 * gaps.deviation_s / total, 6):.3g} ms, longest gap {gaps.longest_s:.3g} s; "
                f"gaps in periods: {shares}"
            )
            yield self._finding("info", message, None, feature or None, None)
            if abs(measured_hz / nominal_hz - 1) > RATE_OFF:
                message = f"samples come at {measured_hz:.4g} Hz, expected {nominal_hz:.4g} Hz"
                yield self._finding("warning", message, None, feature or None, None)

    def _finding(
        self, severity: Severity, message: str, episode: int | None, feature: str | None, step: int | None
    ) -> Finding:
        return Finding(
            severity=severity, check=self.name, message=message, episode=episode, feature=feature, step=step,
            file=layout.stream_key(feature, "timestamp") if feature else layout.TIMESTAMP,
        )  # fmt: skip
