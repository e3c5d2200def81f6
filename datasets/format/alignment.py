"""The aligned grid of an episode, derived from streams that each have their own rate.

Ticks are at `t0 + k / fps`: the first, `t0`, is the latest of the first samples of all streams, so that every stream
has something to show; the last is not after the last sample of any stream. Each tick shows the newest sample that is
not later than the tick itself. Nothing is interpolated. Worked example, 10 ticks a second:

    camera (10 Hz)   0.00  0.10        0.31
    force (20 Hz)       0.05 0.10 0.15 0.20 0.25 0.30 0.35

    tick             0.05  0.15  0.25  0.35
    camera row       0     1     1     2        the second 1 is a repeat: no picture came between
    force row        0     2     4     6
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import DatasetError

Pause = tuple[float, float]  # start and length, seconds

_TOLERANCE = 1e-6  # of a tick: decides whether a sample on the border counts, whatever the rounding


@dataclass
class Grid:
    """The steps of an episode.

    Attributes:
        times: `(T,)` seconds.
        at_step: stream -> `(T,)` int64, the row that each step shows. Equal neighbours are repeats.
    """

    times: np.ndarray
    at_step: dict[str, np.ndarray]


def nearest_earlier(stamps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`(T,)` int64: the last of the rising `stamps` `(M,)` that is not later than each of `times`; -1 where none is."""
    return np.searchsorted(stamps, times, side="right").astype(np.int64) - 1


def align(streams: Mapping[str, np.ndarray], fps: float, pauses: Iterable[Pause] = ()) -> Grid:
    """The grid that all of `streams` (name -> rising `(M,)` seconds) share, at `fps` ticks a second.

    Ticks that fall into one of `pauses` (start and length in seconds) are left out.

    Raises DatasetError naming a stream without a sample, and when no tick is left.
    """
    for name, stamps in streams.items():
        if not len(stamps):
            raise DatasetError(f"Stream {name!r} brought no sample; check its device, and record the episode again.")
    first = max(float(stamps[0]) for stamps in streams.values())
    last = max(float(stamps[-1]) for stamps in streams.values())
    ticks = np.arange(int(np.floor((last - first) * fps + _TOLERANCE)) + 1)
    times = first + ticks / fps
    for start, length in pauses:
        times = times[(times < start) | (times >= start + length)]
    if not len(times):
        raise DatasetError("All streams bring samples only while recording is paused; there is no step to save.")
    slack = _TOLERANCE / fps
    return Grid(times, {name: nearest_earlier(stamps, times + slack) for name, stamps in streams.items()})
