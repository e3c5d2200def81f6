"""`EpisodeData`: one whole episode, with its frames still encoded; what readers give and writers take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robolearn.datasets.format.layout import Json


@dataclass
class StreamRows:
    """What one stream brought in an episode, at its native rate.

    Attributes:
        timestamp: `(M,)` float64, host clock, seconds since the episode started; rises.
        device_time: `(M,)` float64, seconds on the device's own clock; NaN where it has none.
        sequence: `(M,)` int64, the device's count of samples, or our own where it has none.
        values: `(M, *shape)`; None for images and depth.
        frames: M encoded images; None for the rest.
        at_step: `(T,)` int64, the row that each step of the aligned grid shows, counted within the episode; None for
            events.
        counts: what the episode's record says of the stream: expected, received, dropped, late, ...
    """

    timestamp: np.ndarray
    device_time: np.ndarray
    sequence: np.ndarray
    values: np.ndarray | None = None
    frames: Sequence[bytes] | None = None
    at_step: np.ndarray | None = None
    counts: Json = field(default_factory=dict)


@dataclass
class EpisodeData:
    """One episode.

    Attributes:
        timestamps: `(T,)` float64, seconds since the episode started; rises.
        values: low-dimensional feature -> `(T, *shape)`.
        frames: image or depth feature -> T images, encoded by the dataset's codec of that feature; any sequence, so
            that they need not all be in memory.
        record: json-ready facts: task, success, operator, seed, ...
        sim_states: `(T, S)` float64 simulator states, or None.
        sim_model: simulator model (XML), or None.
        streams: feature -> its native-rate rows; empty for episodes recorded step by step. Where it is not empty,
            `values` and `frames` may leave features out: they follow from `at_step`.
    """

    timestamps: np.ndarray
    values: dict[str, np.ndarray]
    frames: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    record: Json = field(default_factory=dict)
    sim_states: np.ndarray | None = None
    sim_model: str | None = None
    streams: dict[str, StreamRows] = field(default_factory=dict)
