"""Chunk files of the arrays: reading rows, and preparing the files that appended rows need.

Chunks are read and written directly. A chunk of an uncompressed zarr v2 array is the bytes of its rows; a frame is the
bytes of one image; episode records are numcodecs' vlen-utf8. zarr-python reads the same files (tested).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.vlen import VLenUTF8

from robolearn.core.errors import DatasetError
from robolearn.datasets.layout import EPISODES, ArrayInfo, Json, to_json
from robolearn.datasets.storage import write_file

DAMAGED = "the dataset is damaged; restore the file from a backup"


def read_rows(root: Path, key: str, info: ArrayInfo, start: int, stop: int) -> np.ndarray:
    """Rows `start:stop` of an uncompressed array.

    Raises DatasetError naming the chunk file that is missing or has a wrong size.
    """
    rows = np.empty((stop - start, *info.row_shape), info.dtype)
    for chunk in range(start // info.chunk_rows, -(-stop // info.chunk_rows)):
        first = chunk * info.chunk_rows
        low, high = max(start, first), min(stop, first + info.chunk_rows)
        content = _read_chunk(root / key / info.chunk_name(chunk), info)
        rows[low - start : high - start] = content[low - first : high - first]
    return rows


def _read_chunk(file: Path, info: ArrayInfo) -> np.ndarray:
    data = read_bytes(file)
    expected = np.dtype(info.dtype).itemsize * info.chunk_rows * int(np.prod(info.row_shape, dtype=np.int64))
    if len(data) != expected:
        raise DatasetError(f"{file} has {len(data)} bytes, expected {expected}: {DAMAGED}.")
    return np.frombuffer(data, info.dtype).reshape(info.chunk_rows, *info.row_shape)


def read_bytes(file: Path) -> bytes:
    """A whole file. Raises DatasetError when it is missing or cannot be read."""
    try:
        with open(file, "rb", buffering=0) as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise DatasetError(f"{file} is missing: {DAMAGED}.") from error
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}.") from error


def stage_rows(root: Path, staging: Path, key: str, info: ArrayInfo, rows: np.ndarray) -> Iterator[tuple[Path, Path]]:
    """Write the chunk files that hold `rows` appended after `info.length`, under temporary names in `staging`.

    Yields (staged file, its place). The first of them repeats the rows that its chunk has already, so that renaming it
    into place changes nothing that is visible.
    """
    stop = info.length + len(rows)
    for chunk in range(info.length // info.chunk_rows, -(-stop // info.chunk_rows)):
        first = chunk * info.chunk_rows
        low, high = max(info.length, first), min(stop, first + info.chunk_rows)
        content = np.zeros((info.chunk_rows, *info.row_shape), info.dtype)
        content[: low - first] = read_rows(root, key, info, first, low)
        content[low - first : high - first] = rows[low - info.length : high - info.length]
        yield _stage(root, staging, key, info.chunk_name(chunk), content.tobytes())


def read_episodes(root: Path, info: ArrayInfo) -> list[Json]:
    """All episode records. Raises DatasetError naming the chunk file that is damaged."""
    records: list[Json] = []
    for chunk in range(-(-info.length // info.chunk_rows)):
        file = root / EPISODES / info.chunk_name(chunk)
        wanted = min(info.chunk_rows, info.length - len(records))
        try:
            records += [json.loads(text) for text in VLenUTF8().decode(read_bytes(file))[:wanted]]
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{file} does not hold {wanted} episode records: {DAMAGED}.") from error
        if len(records) != min(info.length, (chunk + 1) * info.chunk_rows) or not isinstance(records[-1], dict):
            raise DatasetError(f"{file} does not hold {wanted} episode records: {DAMAGED}.")
    return records


def stage_episode(root: Path, staging: Path, info: ArrayInfo, records: list[Json]) -> tuple[Path, Path]:
    """Write the chunk of episode records that ends with the newest of `records`; see `stage_rows`."""
    chunk = info.length // info.chunk_rows
    content = np.full(info.chunk_rows, "", dtype=object)
    recent = records[chunk * info.chunk_rows :]
    content[: len(recent)] = [to_json(record).decode() for record in recent]
    data: Any = VLenUTF8().encode(content)
    return _stage(root, staging, EPISODES, info.chunk_name(chunk), bytes(data))


def _stage(root: Path, staging: Path, key: str, name: str, data: bytes) -> tuple[Path, Path]:
    staged = staging / f"{key.replace('/', '+')}+{name}"
    write_file(staged, data)
    return staged, root / key / name
