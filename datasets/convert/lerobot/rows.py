"""Rows of an episode in LeRobot's parquet files by the column `index`: for the witness, and not for the importer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.protocol import damaged

INDEX, EPISODE = "index", "episode_index"


@dataclass(frozen=True)
class Counters:
    """`(N,)` of one file; `index` is None where the file has none."""

    index: np.ndarray | None
    episode: np.ndarray


class Table:
    """One parquet file; keeps the counters, and of each column the row group that was read last."""

    def __init__(self, file: Path):
        self.file = file
        self._groups: dict[str, tuple[int, Any]] = {}

    @cached_property
    def counters(self) -> Counters:
        columns = [name for name in (INDEX, EPISODE) if name in self._parquet.schema_arrow.names]
        if EPISODE not in columns:
            raise DatasetError(f"{self.file} has no column {EPISODE!r}.")
        table = self._guarded(lambda: self._parquet.read(columns=columns))
        index = table[INDEX].to_numpy() if INDEX in columns else None
        return Counters(index, table[EPISODE].to_numpy())

    def numbered(self, first: int, stop: int) -> np.ndarray:
        """Rows whose `index` is from `first` up to `stop`. Raises DatasetError where they are not in this order."""
        index = self.counters.index
        assert index is not None
        if self._in_order:
            low = int(index[0])
            return np.arange(max(first - low, 0), min(stop - low, len(index)))
        rows = np.flatnonzero((index >= first) & (index < stop))
        self.require_order(rows)
        return rows

    @cached_property
    def _in_order(self) -> bool:
        index = self.counters.index
        return index is not None and bool((np.diff(index) == 1).all())

    def require_order(self, rows: np.ndarray) -> None:
        """Raises DatasetError where `index` of these rows does not count up by one."""
        index = self.counters.index
        wrong = np.flatnonzero(np.diff(index[rows]) != 1) if index is not None else np.empty(0, np.int64)
        if wrong.size:
            raise DatasetError(
                f"{self.file}: {INDEX!r} does not count up by one after row {rows[wrong[0]]}: rows are missing "
                "or mixed up."
            )

    def take(self, key: str, rows: np.ndarray) -> list[Any]:
        """Arrow arrays of one column, of these rows (rising)."""
        taken = []
        for group in np.unique(np.searchsorted(self._stops, rows, side="right")).tolist():
            start, stop = int(self._stops[group - 1]) if group else 0, int(self._stops[group])
            if self._groups.get(key, (-1, None))[0] != group:
                self._groups[key] = group, self._guarded(partial(self._read_group, group, key))
            taken.append(self._groups[key][1].take(rows[(rows >= start) & (rows < stop)] - start))
        return taken

    def close(self) -> None:
        """Let go of the file."""
        if "_parquet" in self.__dict__:
            self._parquet.close()

    @cached_property
    def _parquet(self) -> Any:
        from pyarrow import parquet

        return self._guarded(lambda: parquet.ParquetFile(self.file))

    @cached_property
    def _stops(self) -> np.ndarray:
        """`(G,)` the row after the last of each row group."""
        described = self._parquet.metadata
        return np.cumsum([described.row_group(group).num_rows for group in range(described.num_row_groups)])

    def _read_group(self, group: int, key: str) -> Any:
        return self._parquet.read_row_group(group, columns=[key])[key].combine_chunks()

    def _guarded(self, call: Callable[[], Any]) -> Any:
        import pyarrow

        try:
            return call()
        except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
            raise damaged(self.file, error) from error


class RowFinder:
    """Where the rows of episodes are.

    Args:
        folder: with the parquet files, at any depth.
        by_name: every file is one episode and has its number in its name (v2).
    """

    def __init__(self, folder: Path, by_name: bool):
        self.files = sorted(folder.rglob("*.parquet"))
        self._by_number: dict[int, Path] = {}
        if by_name:
            self._by_number = {int(m[-1]): file for file in self.files if (m := re.findall(r"\d+", file.stem))}
        self._by_name = by_name
        self._tables: dict[Path, Table] = {}

    def column(self, episode: int, first: int | None, length: int, key: str) -> Any:
        """pyarrow ChunkedArray of an episode's rows; `first` is the `index` of its first row, where that is known.

        Raises DatasetError where rows are missing, doubled or another episode's.
        """
        import pyarrow

        pieces: list[Any] = []
        for table, rows in self._places(episode, first, length):
            others = np.flatnonzero(table.counters.episode[rows] != episode)
            if others.size:
                row = rows[others[0]]
                found = table.counters.episode[row]
                raise DatasetError(f"{table.file}: row {row} belongs to episode {found}, expected {episode}.")
            pieces += table.take(key, rows)
        column = pyarrow.chunked_array(pieces) if pieces else ()
        if len(column) != length:
            raise DatasetError(f"episode {episode} has {len(column)} rows, meta/ says {length}.")
        return column

    def episodes(self) -> set[int]:
        """Numbers of all episodes that have rows."""
        return set(self._holders)

    def count(self, episode: int) -> int:
        """Rows of an episode, wherever they are."""
        return sum(int(np.sum(self._table(file).counters.episode == episode)) for file in self._holders[episode])

    @cached_property
    def counted(self) -> bool:
        """Whether `index` counts through all rows of all files: each number once, no gap within a file."""
        spans = sorted((span.low, span.high) for span in self._spans.values() if span.index)
        whole = len(spans) == len(self._spans) and all(s.high - s.low + 1 == s.rows for s in self._spans.values())
        return bool(spans) and whole and all(a[1] < b[0] for a, b in zip(spans, spans[1:], strict=False))

    def reaches(self, first: int, last: int) -> bool:
        """Whether a number between these is the `index` of a row."""
        return any(span.low <= last and first <= span.high for span in self._spans.values())

    def close(self) -> None:
        """Let go of files."""
        for table in self._tables.values():
            table.close()

    def _places(self, episode: int, first: int | None, length: int) -> list[tuple[Table, np.ndarray]]:
        if self._by_name:
            if episode not in self._by_number:
                raise DatasetError(f"there is no parquet file of episode {episode}.")
            table = self._table(self._by_number[episode])
            rows = np.arange(len(table.counters.episode))
            table.require_order(rows)
            return [(table, rows)]
        if first is None:
            tables = [self._table(file) for file in self._holders.get(episode, ())]
            return [(table, np.flatnonzero(table.counters.episode == episode)) for table in tables]
        found = []
        files, highs = self._rising
        for file in files[int(np.searchsorted(highs, first)) :]:
            if self._spans[file].low >= first + length:
                break
            table = self._table(file)
            found.append((table, table.numbered(first, first + length)))
        return found

    @cached_property
    def _rising(self) -> tuple[list[Path], np.ndarray]:
        """(Files in the order of their `index`, the largest of each)."""
        files = sorted(self._spans, key=lambda file: self._spans[file].low)
        return files, np.array([self._spans[file].high for file in files])

    def _table(self, file: Path) -> Table:
        """The last two are kept: episodes follow each other, and some go on in the next file."""
        if file not in self._tables:
            while len(self._tables) > 1:
                self._tables.pop(next(iter(self._tables))).close()
            self._tables[file] = Table(file)
        return self._tables[file]

    @cached_property
    def _spans(self) -> dict[Path, Span]:
        """Of the files that can be read and have rows; episodes of the others are not asked for."""
        return {file: span for file in self.files if (span := Span.read(file)) is not None}

    @cached_property
    def _holders(self) -> dict[int, list[Path]]:
        """Episode -> files with rows of it."""
        found: dict[int, list[Path]] = {}
        for file in self._spans:
            for episode in np.unique(self._table(file).counters.episode).tolist():
                found.setdefault(episode, []).append(file)
        return found


@dataclass(frozen=True)
class Span:
    """The smallest and the largest `index` of a file, where it has that column, and its number of rows."""

    low: int
    high: int
    rows: int
    index: bool = True

    @classmethod
    def read(cls, file: Path) -> Span | None:
        """None for a file without rows, or that cannot be read."""
        import pyarrow
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(file) as opened:
                rows = int(opened.metadata.num_rows)
                if not rows:
                    return None
                if INDEX not in opened.schema_arrow.names:
                    return cls(0, -1, rows, index=False)
                values = [_extremes(opened, group) for group in range(opened.num_row_groups)]
                return cls(min(low for low, _ in values), max(high for _, high in values), rows)
        except (OSError, ValueError, pyarrow.ArrowException):
            return None


def _extremes(opened: Any, group: int) -> tuple[int, int]:
    row_group = opened.metadata.row_group(group)
    for column in range(row_group.num_columns):
        described = row_group.column(column)
        if described.path_in_schema == INDEX and described.statistics is not None and described.statistics.has_min_max:
            return int(described.statistics.min), int(described.statistics.max)
    values = opened.read_row_group(group, columns=[INDEX])[INDEX].to_numpy()
    return int(values.min()), int(values.max())
