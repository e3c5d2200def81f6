"""The journal of an episode recorded as streams: `pending/<id>/`, on disk from the first samples.

    header.json            features, codecs, rate of the grid, number of the episode, start time, process, what is
                           known of the episode; crc32
    .pauses                one row a pause: start, length, crc32 of the row
    <feature>.bin          one fixed-size row a sample: times, number, flags, then the value, or size and crc32 of the
                           encoded frame; crc32 of the row
    <feature>/<row>        one encoded frame a file
    <feature>/<row>.raw    a frame that the encoders could not keep up with: its pixels and their crc32; its row says
                           size 0 until it has been encoded

A row is written after its frame, so every whole row with a right crc32 is a whole sample.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import threading
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature, Features
from robolearn.datasets.format import layout
from robolearn.datasets.format.alignment import Pause, align
from robolearn.datasets.format.episode import StreamRows
from robolearn.datasets.format.layout import Json, Metadata, is_encoded, is_event
from robolearn.datasets.write.chunk_staging import link_frames
from robolearn.datasets.write.commit import Content
from robolearn.datasets.write.durable import write_file
from robolearn.datasets.write.journal import REMOVED, ROW_CRC, right_rows, write_header
from robolearn.datasets.write.stream_counts import StreamCounts
from robolearn.datasets.write.whole_episode import StreamColumns, stream_content

NUMBERED = 1  # flag of a row: the number is the device's own
SPOOLED = 2  # the frame went to disk raw first

PAUSES = ".pauses"
PAUSE_ROW = np.dtype([("start", "<f8"), ("length", "<f8"), (ROW_CRC, "<u4")])

_PAUSE = struct.Struct("<dd")
_SAMPLE = struct.Struct("<ddqB")  # host time, device time, number, flags
_FRAME = struct.Struct("<II")  # size and crc32 of an encoded frame
_CRC = struct.Struct("<I")


def stream_row_dtype(feature: Feature) -> np.dtype[Any]:
    """Layout of a row of `<feature>.bin`; no gaps between the fields."""
    sample: list[Any] = [("timestamp", "<f8"), ("device_time", "<f8"), ("sequence", "<i8"), ("flags", "u1")]
    if is_encoded(feature):
        sample += [("size", "<u4"), ("crc32", "<u4")]
    else:
        sample.append(("value", feature.dtype, feature.shape))
    return np.dtype([*sample, (ROW_CRC, "<u4")])


def pack_sample(time_s: float, device_time_s: float, number: int, flags: int) -> bytes:
    """The beginning of a row; the value, or the frame's size and crc32, and the row's crc32 follow."""
    return _SAMPLE.pack(time_s, device_time_s, number, flags)


def pack_frame(size: int, crc32: int) -> bytes:
    """What stands in a row instead of a value; all zero for a frame that is spooled."""
    return _FRAME.pack(size, crc32)


def sealed(row: bytes) -> bytes:
    """A whole row: with its crc32."""
    return row + _CRC.pack(zlib.crc32(row))


class StreamJournal:
    """The files of a pending episode. Rows of one stream are written by one thread at a time.

    Attributes:
        id: names the journal, and later the episode's record.
        num_rows: rows of each stream that are in its file.
    """

    def __init__(self, root: Path, features: Features, header: Json):
        self.id = uuid.uuid4().hex
        self.path = root / self.id
        self.features = features
        self.num_rows = dict.fromkeys(features, 0)
        self.path.mkdir(parents=True)
        self._files: dict[str, int] = {}
        self._row_bytes = {name: stream_row_dtype(feature).itemsize for name, feature in features.items()}
        write_header(self.path, features, header)
        for name, feature in features.items():
            if is_encoded(feature):
                (self.path / name).mkdir()
            self._files[name] = os.open(self.path / f"{name}.bin", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def append_rows(self, name: str, rows: Sequence[bytes]) -> None:
        """Add whole rows (`sealed`). After an OSError the journal is as it was, and they can be given again."""
        self._write(name, self.num_rows[name], b"".join(rows))
        self.num_rows[name] += len(rows)

    def append_pause(self, pause: Pause) -> None:
        """Raises OSError."""
        with open(self.path / PAUSES, "ab") as file:
            file.write(sealed(_PAUSE.pack(*pause)))

    def replace_row(self, name: str, row: int, data: bytes) -> None:
        """Write a row again: that of a spooled frame which has been encoded now."""
        self._write(name, row, data)

    def _write(self, name: str, row: int, data: bytes) -> None:
        if os.pwrite(self._files[name], data, row * self._row_bytes[name]) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / f"{name}.bin"))

    def frame_file(self, name: str, row: int) -> Path:
        return self.path / name / str(row)

    def raw_file(self, name: str, row: int) -> Path:
        return self.path / name / f"{row}.raw"

    def rows(self, name: str) -> np.ndarray:
        """All rows of a stream, read back from disk and checked. Raises DatasetError when one is damaged."""
        file, count = self.path / f"{name}.bin", self.num_rows[name]
        rows = np.fromfile(file, stream_row_dtype(self.features[name]), count)
        if len(rows) == count and right_rows(rows).all():
            return rows
        raise DatasetError(f"{file} does not hold what was written to it; check the disk.")

    def close(self) -> None:
        """Stop writing; the directory stays."""
        while self._files:
            os.close(self._files.popitem()[1])

    def remove(self) -> None:
        """Stop writing; the directory is gone at once, and its files in the background."""
        self.close()
        aside = self.path.with_name(f"{REMOVED}{self.id}")
        os.rename(self.path, aside)
        threading.Thread(target=shutil.rmtree, args=(aside, True), name="journal-removal").start()


def write_raw(file: Path, image: np.ndarray) -> None:
    """Spool a frame: its pixels, then their crc32."""
    write_file(file, image.tobytes() + _CRC.pack(zlib.crc32(np.ascontiguousarray(image).data)))


def read_raw(file: Path, feature: Feature) -> np.ndarray:
    """A spooled frame. Raises DatasetError when it is missing or damaged."""
    size = int(np.prod(feature.shape)) * np.dtype(feature.dtype).itemsize
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}.") from error
    if len(data) != size + _CRC.size or zlib.crc32(data[:size]) != _CRC.unpack(data[size:])[0]:
        raise DatasetError(f"{file} does not hold the pixels that were written to it.")
    return np.frombuffer(data, feature.dtype, size // np.dtype(feature.dtype).itemsize).reshape(feature.shape)


@dataclass
class RecordedStreams:
    """A finished stream recording: a `NewEpisode`.

    Attributes:
        journal: with every row and every frame in it, none spooled any more.
        counts: of each stream.
        histograms: of each image and depth stream.
        pauses: in which nothing was recorded.
    """

    journal: StreamJournal
    counts: Mapping[str, StreamCounts]
    histograms: Mapping[str, np.ndarray]
    pauses: Sequence[Pause] = ()

    @property
    def id(self) -> str:
        return self.journal.id

    def place(self, root: Path, metadata: Metadata) -> Content:
        """See `NewEpisode`."""
        features = metadata.features
        rows = {name: self.journal.rows(name) for name in features}
        stamps = {name: rows[name]["timestamp"] for name, feature in features.items() if not is_event(feature)}
        grid = align(stamps, float(metadata.attributes["fps"]), self.pauses)
        streams = {}
        for name, feature in features.items():
            found, counts = stream_rows(feature, rows[name]), self.counts[name].to_record()
            found.at_step, found.counts = grid.at_step.get(name), counts
            if not is_encoded(feature):
                streams[name] = StreamColumns(found)
                continue
            key = layout.stream_key(name, "value")
            files = (f"{self.journal.path}/{name}/{row}" for row in range(len(rows[name])))
            link_frames(root / key, metadata.arrays[key], files)
            crcs = np.ascontiguousarray(rows[name]["crc32"])
            streams[name] = StreamColumns(found, crcs, self.histograms[name])
        return stream_content(root, metadata, grid.times, streams)


def stream_rows(feature: Feature, rows: np.ndarray) -> StreamRows:
    """Rows of a journal as columns, frames left out."""
    return StreamRows(
        np.ascontiguousarray(rows["timestamp"]),
        np.ascontiguousarray(rows["device_time"]),
        np.ascontiguousarray(rows["sequence"]),
        None if is_encoded(feature) else np.ascontiguousarray(rows["value"]),
    )
