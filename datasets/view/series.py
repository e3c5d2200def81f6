"""What the page draws: curves thinned to the width of the screen, and how regularly samples came."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from robolearn.datasets.format.layout import Json

BINS = 48
_MAX_MARKS = 1000


def thinned(times: np.ndarray, values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most `2 * points` rows as they are, more of them as the least and the greatest of `points` groups.

    Args:
        times: `(n,)`; values: `(n, D)`.

    Returns times `(m,)`, lows `(m, D)` and highs `(m, D)`; lows and highs are one array where nothing was thinned.
    NaN is left out of a group unless all of it is NaN. No peak is lost, whatever the rate.
    """
    if len(times) <= 2 * points:
        return times, values, values
    starts = np.arange(points, dtype=np.int64) * len(times) // points
    return times[starts], np.fmin.reduceat(values, starts, axis=0), np.fmax.reduceat(values, starts, axis=0)


def packed(times: np.ndarray, lows: np.ndarray, highs: np.ndarray, facts: Json) -> bytes:
    """uint32 length of a json text, the text, then float64 times and float32 lows, and highs where they differ.

    The json text is padded with spaces so that the arrays start at a multiple of 8 bytes.
    """
    thin = highs is not lows
    header = json.dumps({**facts, "rows": len(times), "thinned": thin}).encode()
    header += b" " * (-(len(header) + 4) % 8)
    arrays = [times.astype("<f8"), lows.astype("<f4"), *([highs.astype("<f4")] if thin else [])]
    return b"".join([len(header).to_bytes(4, "little"), header, *(array.tobytes() for array in arrays)])


def regularity(times: np.ndarray, rate_hz: float | None) -> Json:
    """Rate and jitter of the samples of one episode, and the histogram of the time between them.

    Args:
        times: `(n,)` seconds, rising.
        rate_hz: what was expected; None for events.

    Returns rate, median jitter (against the expected or, without, the median period), longest gap; the histogram covers
    0 to three periods, its last bin everything beyond.
    """
    facts: Json = {"samples": len(times), "nominal_hz": rate_hz}
    gaps = np.diff(times)
    if not gaps.size or not times[-1] > times[0]:
        return facts
    period = 1 / rate_hz if rate_hz else float(np.median(gaps))
    edges = np.linspace(0, 3 * period, BINS)
    counts = np.bincount(np.clip(np.searchsorted(edges, gaps, "right") - 1, 0, BINS - 1), minlength=BINS)
    return facts | {
        "rate_hz": float(gaps.size / (times[-1] - times[0])),
        "jitter_ms": round(1e3 * float(np.median(np.abs(gaps - period))), 4),
        "max_gap_ms": 1e3 * float(gaps.max()),
        "histogram": {"reach_ms": 3e3 * period * BINS / (BINS - 1), "counts": counts.tolist()},
    }


def gap_marks(times: np.ndarray, rate_hz: float) -> list[list[float]]:
    """Where more than one and a half periods pass between two samples: [start, stop] in seconds."""
    late = np.flatnonzero(np.diff(times) > 1.5 / rate_hz)
    return _spread([[float(times[k]), float(times[k + 1])] for k in late])


def repeat_marks(times: np.ndarray, at_step: np.ndarray) -> list[list[float]]:
    """Where steps of the grid show a sample again that an earlier step has shown: [start, stop] in seconds."""
    repeats = np.flatnonzero(np.diff(at_step) == 0) + 1
    if not repeats.size:
        return []
    runs = np.split(repeats, np.flatnonzero(np.diff(repeats) > 1) + 1)
    return _spread([[float(times[run[0]]), float(times[min(run[-1] + 1, len(times) - 1)])] for run in runs])


def _spread(marks: list[list[float]]) -> list[list[float]]:
    """Not more than a screen can show: neighbours of long lists are joined."""
    join = -(-len(marks) // _MAX_MARKS)
    return [[some[0][0], some[-1][1]] for some in (marks[k : k + join] for k in range(0, len(marks), join or 1))]


def finite(value: Any) -> Any:
    """NaN and infinity, which json lacks, as None, at any depth."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
