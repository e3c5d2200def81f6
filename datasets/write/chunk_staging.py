"""Preparing the files that an appended episode needs, without touching anything that is visible.

Rows that share a chunk with visible rows go, together with those, to a whole chunk file under a temporary name in
`pending/.staging`; renaming it into place changes nothing visible. Frames and chunks that hold new rows only go
straight to their places: they are past the end of their array and therefore not part of the dataset yet.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.vlen import VLenUTF8

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.layout import EPISODES, ArrayInfo, Json, Metadata, sealed_json
from robolearn.datasets.read.store import DAMAGED
from robolearn.datasets.write.durable import link_or_copy, write_file


def stage_rows(
    root: Path, staging: Path, key: str, info: ArrayInfo, rows: np.ndarray, in_place: bool = False
) -> Iterator[tuple[Path, Path]]:
    """Write the chunk files that hold `rows` appended after `info.length`.

    Yields (staged file, its place) for the one that has to be renamed, if any.

    Args:
        in_place: write the rows that share a chunk with visible ones into its file, behind those. Quicker than a
            rename; the death of the process leaves the visible rows as they are, a power cut perhaps not.
    """
    if not len(rows):
        return
    stop = info.length + len(rows)
    for chunk in range(info.length // info.chunk_rows, -(-stop // info.chunk_rows)):
        first = chunk * info.chunk_rows
        low, high = max(info.length, first), min(stop, first + info.chunk_rows)
        file, added = root / key / info.chunk_name(chunk), rows[low - info.length : high - info.length]
        if low > first and in_place:
            _write_behind(file, info, low - first, added)
            continue
        content = np.zeros((info.chunk_rows, *info.row_shape), info.dtype)
        content[low - first : high - first] = added
        if low > first:
            content[: low - first] = _chunk(file, info)[: low - first]
            yield _stage(root, staging, key, info.chunk_name(chunk), content.data)
        else:
            _write_new(file, content.data)


def _chunk(file: Path, info: ArrayInfo) -> np.ndarray:
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{file} is missing: {DAMAGED}.") from error
    _check_size(file, info, len(data))
    return np.frombuffer(data, info.dtype).reshape(info.chunk_rows, *info.row_shape)


def _check_size(file: Path, info: ArrayInfo, size: int) -> None:
    expected = info.chunk_rows * _row_bytes(info)
    if size != expected:
        raise DatasetError(f"{file} has {size} bytes, expected {expected}: {DAMAGED}.")


def _row_bytes(info: ArrayInfo) -> int:
    return np.dtype(info.dtype).itemsize * int(np.prod(info.row_shape, dtype=np.int64))


def _write_behind(file: Path, info: ArrayInfo, row: int, rows: np.ndarray) -> None:
    try:
        with open(file, "r+b", buffering=0) as stream:
            _check_size(file, info, stream.seek(0, os.SEEK_END))
            stream.seek(row * _row_bytes(info))
            data = np.ascontiguousarray(rows, info.dtype).data.cast("B")
            if stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    except FileNotFoundError as error:
        raise DatasetError(f"{file} is missing: {DAMAGED}.") from error


def _stage(root: Path, staging: Path, key: str, name: str, data: Any) -> tuple[Path, Path]:
    staged = staging / f"{key.replace('/', '+')}+{name}"
    write_file(staged, data)
    return staged, root / key / name


def write_frames(folder: Path, info: ArrayInfo, frames: Iterable[bytes]) -> np.ndarray:
    """Put encoded frames behind the last of an array, one at a time. Returns their `(M,)` uint32 crc32."""
    crcs = []
    for position, data in enumerate(frames, info.length):
        _write_new(folder / info.chunk_name(position), data)
        crcs.append(zlib.crc32(data))
    return np.array(crcs, np.uint32)


def link_frames(folder: Path, info: ArrayInfo, files: Iterable[str]) -> None:
    """Put frame files behind the last of an array, as hard links where the file system has them."""
    for position, file in enumerate(files, info.length):
        link_or_copy(file, f"{folder}/{info.chunk_name(position)}")  # strings: thousands of links a commit


def _write_new(file: Path, data: Any) -> None:
    """Write a file that is not visible yet.

    One that an interrupted commit left there may be a link to a frame in a journal, so it is replaced, not opened.
    """
    try:
        write_file(file, data, exclusive=True)
    except FileExistsError:
        os.unlink(file)
        write_file(file, data, exclusive=True)


@dataclass
class RecordLog:
    """The episode records as far as a writer needs them.

    Attributes:
        texts: json of the records of the chunk that is being filled.
        crc32: of all records, one after the other.
        last: the newest record.
    """

    texts: list[str] = field(default_factory=list)
    crc32: int = 0
    last: Json | None = None

    @classmethod
    def read(cls, root: Path, metadata: Metadata) -> RecordLog:
        """Raises DatasetError naming the chunk file that is missing or damaged."""
        info, log = metadata.arrays[EPISODES], cls()
        for chunk in range(-(-info.length // info.chunk_rows)):
            file = root / EPISODES / info.chunk_name(chunk)
            wanted = min(info.chunk_rows, info.length - chunk * info.chunk_rows)
            try:
                log.texts = [str(text) for text in VLenUTF8().decode(file.read_bytes())[:wanted]]
                log.last = json.loads(log.texts[-1])
            except FileNotFoundError as error:
                raise DatasetError(f"{file} is missing: {DAMAGED}.") from error
            except (ValueError, TypeError, IndexError) as error:
                raise DatasetError(f"{file} does not hold {wanted} episode records: {DAMAGED}.") from error
            if len(log.texts) != wanted or not isinstance(log.last, dict):
                raise DatasetError(f"{file} does not hold {wanted} episode records: {DAMAGED}.")
            log.crc32 = zlib.crc32("".join(log.texts).encode(), log.crc32)
        if log.crc32 != metadata.attributes.get("records_crc32", 0):
            raise DatasetError(
                f"{root / EPISODES} does not have the checksum of the records that were written: {DAMAGED}."
            )
        if len(log.texts) == info.chunk_rows:
            log.texts = []
        return log

    def extended(self, record: Json, chunk_rows: int) -> RecordLog:
        """The log with one more record; its `texts` may be a whole chunk."""
        text = sealed_json(record)
        texts = self.texts if len(self.texts) < chunk_rows else []
        return RecordLog([*texts, text.decode()], zlib.crc32(text, self.crc32), record)


def stage_record(root: Path, staging: Path, info: ArrayInfo, log: RecordLog) -> tuple[Path, Path]:
    """Write the chunk of episode records that ends with the newest of `log`. Returns (staged file, its place)."""
    content = np.full(info.chunk_rows, "", dtype=object)
    content[: len(log.texts)] = log.texts
    data: Any = VLenUTF8().encode(content)
    return _stage(root, staging, EPISODES, info.chunk_name(info.length // info.chunk_rows), bytes(data))
