"""Parquet tables of a LeRobot dataset: columns of the steps, files up to a size, task texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from robolearn.core.feature import Feature

FILE_BYTES = 100 * 2**20
FILES_PER_CHUNK = 1000
GROUP_BYTES = 8 * 2**20
GROUP_TABLES = 128
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def place(file: int) -> tuple[int, int]:
    """Chunk and file index of file number `file`."""
    return divmod(file, FILES_PER_CHUNK)


def file_name(file: int, suffix: str) -> str:
    chunk, index = place(file)
    return f"chunk-{chunk:03d}/file-{index:03d}{suffix}"


def column(rows: np.ndarray) -> pa.Array:
    """`(T, *shape)` as an arrow column: a number a row for one element, a list of fixed length for a vector."""
    flat: pa.Array = pa.array(np.ascontiguousarray(rows).reshape(-1))
    shape = rows.shape[1:]
    if int(np.prod(shape, dtype=np.int64)) == 1 and len(shape) < 2:
        return flat
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, shape[0])
    for size in reversed(shape):
        offsets = np.arange(0, len(flat) + 1, size, dtype=np.int32)
        flat = pa.ListArray.from_arrays(pa.array(offsets), flat)
    return flat


def images(frames: Sequence[bytes], episode: int) -> pa.Array:
    """Encoded images as the column that Hugging Face's `datasets` decodes."""
    rows = [{"bytes": frame, "path": f"episode-{episode:06d}-frame-{k:06d}"} for k, frame in enumerate(frames)]
    return pa.array(rows, IMAGE)


def hub_type(feature: Feature, embedded: bool) -> dict[str, Any]:
    """How Hugging Face's `datasets` describes the column of a feature."""
    if embedded:
        return {"_type": "Image"}
    value = {"dtype": feature.dtype, "_type": "Value"}
    if len(feature.shape) > 1:
        return {"shape": list(feature.shape), "dtype": feature.dtype, "_type": f"Array{len(feature.shape)}D"}
    return value if feature.shape in ((), (1,)) else {"feature": value, "length": feature.shape[0], "_type": "Sequence"}


class TableFile:
    """One parquet file to which tables are appended; memory holds one row group. A context manager."""

    def __init__(self, path: Path, hub_types: dict[str, Any] | None = None):
        self._path = path
        self._metadata = {"huggingface": json.dumps({"info": {"features": hub_types}})} if hub_types else None
        self._writer: parquet.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self.bytes = 0

    def append(self, table: pa.Table) -> None:
        """Add rows."""
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        self.bytes += table.nbytes
        if self._waiting_bytes >= GROUP_BYTES or len(self._waiting) >= GROUP_TABLES:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._waiting_bytes = [], 0
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            schema = table.schema.with_metadata(self._metadata)
            self._writer = parquet.ParquetWriter(self._path, schema, compression="snappy")
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TableFiles:
    """Appends tables to `folder/chunk-000/file-000.parquet` and the next ones. A context manager.

    A file ends where an episode as large as the one before would take it over `FILE_BYTES` (uncompressed).
    """

    def __init__(self, folder: Path, hub_types: dict[str, Any] | None = None):
        self._folder, self._hub_types = folder, hub_types
        self._episode_bytes = 0
        self.file = 0
        self._current = self._open()

    def _open(self) -> TableFile:
        return TableFile(self._folder / file_name(self.file, ".parquet"), self._hub_types)

    def next_episode(self) -> int:
        """Begin rows that have to be in one file; returns its number."""
        if self._current.bytes and self._current.bytes + self._episode_bytes > FILE_BYTES:
            self._current.close()
            self.file += 1
            self._current = self._open()
        self._episode_bytes = 0
        return self.file

    def append(self, table: pa.Table) -> None:
        """Add rows to the file of the episode that was begun."""
        self._current.append(table)
        self._episode_bytes += table.nbytes

    def __enter__(self) -> TableFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._current.close()


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """`tasks.parquet`: a pandas frame whose index is the text and whose one column is the number."""
    level = "__index_level_0__"
    described = [
        {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
        for name, field, kind, numpy_type in (
            ("task_index", "task_index", "int64", "int64"), (None, level, "unicode", "object"),
        )
    ]  # fmt: skip
    names = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    pandas = {"index_columns": [level], "column_indexes": [names], "columns": described, "pandas_version": "2.0.0"}
    columns = {"task_index": pa.array(range(len(tasks)), pa.int64()), level: pa.array(tasks, pa.string())}
    parquet.write_table(pa.table(columns).replace_schema_metadata({"pandas": json.dumps(pandas)}), path)
