"""`WholeEpisode`: an `EpisodeData` on its way into a dataset, checked column by column; and the columns of streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec, check_image
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.format.statistics import BINS, image_channels, pixel_histogram
from robolearn.datasets.write.chunk_staging import link_frames, write_frames
from robolearn.datasets.write.commit import Content

LOOKED_AT = 8  # frames of an episode that are decoded for its histogram


def check_column(feature: Feature, rows: Any, count: int) -> np.ndarray:
    """`rows` as `(count, *shape)` of the feature's dtype, checked at once.

    Raises FeatureError naming the feature, and the step of a value that is not finite or that the dtype cannot hold.
    """
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise FeatureError(f"Feature {feature.name!r} is ragged, expected {(count, *feature.shape)}.") from error
    if array.shape != (count, *feature.shape):
        raise FeatureError(
            f"Feature {feature.name!r} has shape {array.shape}, expected {(count, *feature.shape)}: "
            f"{count} steps of shape {feature.shape}."
        )
    array = feature.cast(array, "The episode")
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            step = int(np.argmin(finite.reshape(count, -1).all(1)))
            feature.check(array[step], f"step {step}")
    return np.ascontiguousarray(array)


def check_times(times: Any, where: str) -> np.ndarray:
    """`times` as float64 `(T,)`. Raises DatasetError when it is empty, or naming the first step that does not rise."""
    array = np.ascontiguousarray(times, np.float64)
    if array.ndim != 1 or not len(array):
        raise DatasetError(f"{where}: timestamps have shape {array.shape}, expected one number for each of the steps.")
    rises = np.isfinite(array)
    rises[1:] &= np.diff(array) > 0
    if not rises.all():
        step = int(np.argmin(rises))
        before = f"later than the {array[step - 1]} s of the step before" if step else "a finite time"
        raise DatasetError(f"{where}: step {step} has timestamp {array[step]} s, expected {before}.")
    return array


@dataclass
class StreamColumns:
    """One stream of an episode whose encoded frames are in place already.

    Attributes:
        rows: times, numbers, values and `at_step`; its frames are not looked at.
        crc32: `(M,)` of the encoded frames, or None.
        histogram: `(C, 256)` of sampled pixels, or None.
    """

    rows: StreamRows
    crc32: np.ndarray | None = None
    histogram: np.ndarray | None = None


def stream_content(root: Path, metadata: Metadata, times: np.ndarray, streams: Mapping[str, StreamColumns]) -> Content:
    """The streams of an episode and the aligned grid that follows from them; links the frames of the grid."""
    content, counts = Content({layout.TIMESTAMP: times}), {}
    columns = content.columns
    for name, feature in metadata.features.items():
        rows = streams[name].rows
        first = metadata.arrays[layout.stream_key(name, "timestamp")].length
        for part in ("timestamp", "device_time", "sequence"):
            columns[layout.stream_key(name, part)] = getattr(rows, part)
        columns[layout.stream_key(name, "episode_ends")] = np.array([first + len(rows.timestamp)], np.int64)
        crcs = streams[name].crc32
        if crcs is not None:
            columns[layout.stream_key(name, "crc32")] = crcs
            content.frames[layout.stream_key(name, "value")] = len(crcs)
        elif rows.values is not None:
            columns[layout.stream_key(name, "value")] = rows.values
        counts[name] = dict(rows.counts)
        if rows.at_step is None:
            continue
        counts[name]["repeats"] = int((np.diff(rows.at_step) == 0).sum())
        columns[layout.stream_key(name, "at_step")] = first + rows.at_step
        key = layout.data_key(name)
        if crcs is not None:
            columns[layout.crc_key(name)] = crcs[rows.at_step]
            columns[layout.histogram_key(name)] = _one(streams[name].histogram, feature)
            info = metadata.arrays[layout.stream_key(name, "value")]
            folder = root / layout.stream_key(name, "value")
            files = (f"{folder}/{info.chunk_name(first + row)}" for row in rows.at_step.tolist())
            link_frames(root / key, metadata.arrays[key], files)
            content.frames[key] = len(rows.at_step)
        elif rows.values is not None:
            columns[key] = np.ascontiguousarray(rows.values[rows.at_step])
    content.facts["streams"] = counts
    return content


def _one(histogram: np.ndarray | None, feature: Feature) -> np.ndarray:
    empty = np.zeros((image_channels(feature), BINS), np.uint32)
    return (empty if histogram is None else histogram)[None]


class WholeEpisode:
    """A `NewEpisode`. Raises FeatureError and DatasetError for what is wrong in `data`."""

    id: str | None = None

    def __init__(self, data: EpisodeData, codecs: Mapping[str, ImageCodec]):
        self._data = data
        self._codecs = codecs

    def place(self, root: Path, metadata: Metadata) -> Content:
        times = check_times(self._data.timestamps, "The episode")
        if metadata.recorded == "streams":
            content = self._place_streams(root, metadata, times)
        else:
            content = self._place_steps(root, metadata, times)
        states = check_sim_states(metadata, self._data.sim_states, len(times))
        if states is not None:
            content.columns[layout.SIM_STATE] = states
        return content

    def _place_steps(self, root: Path, metadata: Metadata, times: np.ndarray) -> Content:
        features, data = metadata.features, self._data
        if data.streams:
            raise FeatureError(f"{root} is recorded step by step, found streams ({', '.join(data.streams)}).")
        encoded = {name for name, feature in features.items() if layout.is_encoded(feature)}
        _same_names(features.keys() - encoded, data.values, "feature")
        _same_names(encoded, data.frames, "image feature")
        content = Content({layout.TIMESTAMP: times})
        for name, rows in data.values.items():
            content.columns[layout.data_key(name)] = check_column(features[name], rows, len(times))
        for name, frames in data.frames.items():
            _check_count(name, frames, len(times))
            key = layout.data_key(name)
            crcs, histogram = self._write(root, metadata, key, features[name], frames)
            content.columns[layout.crc_key(name)] = crcs
            content.columns[layout.histogram_key(name)] = histogram[None]
            content.frames[key] = len(crcs)
        return content

    def _place_streams(self, root: Path, metadata: Metadata, times: np.ndarray) -> Content:
        data, placed = self._data, {}
        _same_names(metadata.features.keys(), data.streams, "stream")
        for name in {**data.values, **data.frames}.keys() - metadata.grid.keys():
            raise FeatureError(unknown_name("feature", name, metadata.grid))
        checked = {name: _checked_rows(metadata, name, data, times) for name in metadata.features}
        for name, rows in checked.items():
            if not layout.is_encoded(metadata.features[name]):
                placed[name] = StreamColumns(rows)
                continue
            frames, key = data.streams[name].frames or [], layout.stream_key(name, "value")
            _check_count(name, frames, len(rows.timestamp))
            crcs, histogram = self._write(root, metadata, key, metadata.features[name], frames)
            placed[name] = StreamColumns(rows, crcs, histogram)
        return stream_content(root, metadata, times, placed)

    def _write(
        self, root: Path, metadata: Metadata, key: str, feature: Feature, frames: Sequence[bytes]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Store encoded frames as they are. Returns their crc32 and the histogram of a few of them."""
        histogram = np.zeros((image_channels(feature), BINS), np.uint32)
        codec, every = self._codecs[feature.name], max(1, -(-len(frames) // LOOKED_AT))

        def checked() -> Iterator[bytes]:
            for step, frame in enumerate(frames):
                try:
                    check_image(frame, feature, codec)
                    if step % every == 0:
                        np.add(histogram, pixel_histogram(feature, codec.decode(frame)), out=histogram)
                except DatasetError as error:
                    raise FeatureError(f"step {step}: feature {feature.name!r}: {error}") from error
                yield frame

        return write_frames(root / key, metadata.arrays[key], checked()), histogram


def _checked_rows(metadata: Metadata, name: str, data: EpisodeData, times: np.ndarray) -> StreamRows:
    """The rows of a stream with every array checked, also against the grid of `data` where that gives it."""
    rows, feature = data.streams[name], metadata.features[name]
    count = len(rows.timestamp)
    stamps = check_times(rows.timestamp, f"Stream {name!r}") if count else np.zeros(0)
    device = np.ascontiguousarray(rows.device_time, np.float64)
    sequence = np.ascontiguousarray(rows.sequence, np.int64)
    if device.shape != (count,) or sequence.shape != (count,):
        raise FeatureError(
            f"Stream {name!r} has {count} timestamps, but device times {device.shape} and numbers {sequence.shape}."
        )
    values = None if layout.is_encoded(feature) else check_column(feature, rows.values, count)
    found = StreamRows(stamps, device, sequence, values, counts=rows.counts)
    if layout.is_event(feature):
        return found
    at_step = np.ascontiguousarray(rows.at_step if rows.at_step is not None else (), np.int64)
    inside = at_step.shape == times.shape and at_step.min() >= 0 and at_step.max() < count
    if not inside or (np.diff(at_step) < 0).any():
        raise FeatureError(
            f"Stream {name!r}: at_step has shape {at_step.shape}; "
            f"expected {times.shape} rising rows of 0 to {count - 1}."
        )
    found.at_step = at_step
    given = data.values.get(name)
    if values is not None and given is not None and not np.array_equal(given, values[at_step]):
        raise FeatureError(f"Feature {name!r} differs from the rows of its stream that at_step names.")
    return found


def _same_names(expected: Any, found: Mapping[str, Any], kind: str) -> None:
    for name in sorted(found.keys() - expected):
        raise FeatureError(f"The episode: {unknown_name(kind, name, expected)}")
    for name in sorted(expected - found.keys()):
        raise FeatureError(f"The episode: {kind} {name!r} is missing; expected {', '.join(sorted(expected))}.")


def _check_count(name: str, frames: Sequence[bytes], count: int) -> None:
    if len(frames) != count:
        raise FeatureError(f"Feature {name!r} has {len(frames)} frames, expected {count}.")


def check_sim_states(metadata: Metadata, states: np.ndarray | None, count: int) -> np.ndarray | None:
    """`(T, S)` float64 simulator states, or None for a dataset without. Raises FeatureError.

    All steps of a dataset have them, of one size, or none has.
    """
    stored = metadata.arrays.get(layout.SIM_STATE)
    if states is None and stored is None:
        return None
    if stored is not None:
        size = stored.row_shape[0]
    else:
        size = np.shape(states)[-1] if states is not None and states.ndim and not metadata.num_steps else 0
    if states is None or not size:
        found, wanted = ("none", "some") if states is None else ("some", "none")
        raise FeatureError(f"The episode has {found} simulator states, expected {wanted} as in the episodes before.")
    return check_column(Feature(layout.SIM_STATE, (size,), "float64"), states, count)
