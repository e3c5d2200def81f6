"""Rows that follow from others, computed again; given back only if they have the checksum taken when recording."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.checks.survey import EpisodeView
from robolearn.datasets.format import layout
from robolearn.datasets.format.statistics import SAMPLED_FRAMES, episode_statistics, pixel_histogram


def restored_rows(view: EpisodeView, key: str) -> np.ndarray | None:
    """The rows of an episode in a derived array as they were recorded, or None when they cannot be had."""
    expected = (view.record.get("checksums") or {}).get(key)
    info = view.survey.metadata.arrays[key]
    if expected is None:
        return None
    try:
        for rows in _candidates(view, key):
            rows = np.ascontiguousarray(rows, info.dtype)
            if zlib.crc32(rows.data) == expected:
                return rows
    except (DatasetError, ValueError):
        return None
    return None


def sampled_histogram(view: EpisodeView, key: str) -> np.ndarray | None:
    """`(1, C, 256)` from the stored images: a recorder counts pixels before they are encoded, so this can differ."""
    feature = view.survey.features.get(key.split("/")[1])
    try:
        return next(_histograms(view, feature), None) if feature else None
    except DatasetError:
        return None


def _candidates(view: EpisodeView, key: str) -> Iterator[np.ndarray]:
    top, name = key.split("/")[:2]
    part = key.rpartition("/")[2]
    feature = view.survey.features.get(name)
    if feature is None:
        return
    if top == "statistics":
        values = view.rows(layout.data_key(name))
        if values is not None:
            yield episode_statistics(values)[None]
    elif top == "crc32" or (top == "streams" and part == "crc32"):
        frames = layout.data_key(name) if top == "crc32" else layout.stream_key(name, "value")
        yield np.array([zlib.crc32(data) for data in _frames(view, frames)], np.uint32)
    elif top == "histograms":
        yield from _histograms(view, feature)
    elif part == "at_step":
        span = view.survey.span(layout.stream_key(name, "value"), view.index)
        stamps, times = view.rows(layout.stream_key(name, "timestamp")), view.rows(layout.TIMESTAMP)
        if span is not None and stamps is not None and times is not None:
            yield np.searchsorted(stamps, times, side="right") - 1 + span.start


def _frames(view: EpisodeView, key: str) -> Iterator[bytes]:
    span, info = view.survey.span(key, view.index), view.survey.metadata.arrays[key]
    for row in range(span.start, span.stop) if span else ():
        yield view.survey.store.read(f"{key}/{info.chunk_name(row)}")


def _histograms(view: EpisodeView, feature: Feature) -> Iterator[np.ndarray]:
    """With the two ways of choosing frames that writers have."""
    key = layout.data_key(feature.name)
    if view.survey.metadata.recorded == "streams":
        key = layout.stream_key(feature.name, "value")
    span, info, codec = view.survey.span(key, view.index), view.survey.metadata.arrays[key], view.survey.codecs[key]
    if span is None:
        return
    count = span.stop - span.start
    for every in (SAMPLED_FRAMES, max(1, -(-count // 8))):
        total = np.zeros(view.survey.metadata.arrays[layout.histogram_key(feature.name)].row_shape, np.uint32)
        for row in range(span.start, span.stop, every):
            data = view.survey.store.read(f"{key}/{info.chunk_name(row)}")
            total += pixel_histogram(feature, codec.decode(data))
        yield total[None]
