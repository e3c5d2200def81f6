"""LeRobot dataset format v3.0: parquet tables and videos of many episodes each, found through `meta/episodes`.

Which rows belong to an episode is read from the column `episode_index` itself, so that an incomplete download is
imported as far as it goes; `meta/episodes` is needed for videos only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.lerobot import (
    Info,
    LeRobotSource,
    codebase_version,
    open_witness,
    read_parquet,
    require_columns,
)
from robolearn.datasets.convert.protocol import ConvertOptions, SourceDescription
from robolearn.datasets.convert.source import ranges

__all__ = ["detect", "describe", "open_source", "open_witness"]
FORMAT = "lerobot_v3"
BATCH_ROWS = 65536


@dataclass
class Piece:
    """Rows `start` to `stop` of a parquet file, all of one episode."""

    file: Path
    start: int
    stop: int


def detect(source: Path) -> bool:
    """Whether `source` is a folder whose `meta/info.json` is of version 3."""
    return codebase_version(source).startswith("v3")


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads `meta/` and the names of files only."""
    info = Info.read(source, "v3")
    present = [key for key in info.videos if any((source / "videos" / key).glob("**/*.mp4"))]
    notes = [f"{key} (video) is not there" for key in info.videos if key not in present]
    decision = info.described(present)
    notes += decision.notes
    counts = int(info.raw["total_episodes"]), int(info.raw["total_frames"])
    return SourceDescription(
        FORMAT, *counts, info.fps, decision.features, tuple(read_tasks(source).values()), tuple(notes)
    )


def open_source(source: Path, options: ConvertOptions) -> LeRobotSource:
    """See `Converter.open_source`."""
    info = Info.read(source, "v3")
    files = sorted((source / "data").glob("**/*.parquet"))
    if not files:
        raise DatasetError(f"{source / 'data'} holds no parquet file; copy the whole dataset again.")
    episodes, notes = _find_episodes(files)
    lengths, places = _read_episodes_table(info)
    present = [key for key in info.videos if any((source / "videos" / key).glob("**/*.mp4"))]
    notes += [
        f"{key} (video) is not carried over: its files are not there" for key in info.videos if key not in present
    ]
    found = {number: sum(piece.stop - piece.start for piece in pieces) for number, pieces in episodes.items()}
    partial_rows = [number for number, rows in found.items() if rows != lengths.get(number, rows)]
    whole = [number for number in episodes if number not in partial_rows]
    without = [n for n in whole if not all(_is_file(places.get((n, key))) for key in present)]
    total = int(info.raw["total_episodes"])
    if len(episodes) < total:
        notes.append(f"meta/info.json lists {total} episodes, the parquet files hold {len(episodes)}")
    if partial_rows:
        notes.append(
            f"of {len(partial_rows)} episodes not all rows are there, they are left out: {ranges(partial_rows)}"
        )
    if without:
        notes.append(f"of {len(without)} episodes the video files are not there, they are left out: {ranges(without)}")
    kept = [(number, episodes[number]) for number in whole if number not in set(without)]
    return LeRobotV3Source(info, options, read_tasks(source), present, notes, kept, places, {*lengths, *episodes})


def _is_file(place: tuple[Path, float] | None) -> bool:
    return place is not None and place[0].is_file()


def _find_episodes(files: Sequence[Path]) -> tuple[dict[int, list[Piece]], list[str]]:
    """Episode number -> its pieces, in the order of the files; damaged files are noted."""
    episodes: dict[int, list[Piece]] = defaultdict(list)
    notes: list[str] = []
    broken: list[DatasetError] = []
    for file in files:
        try:
            numbers = read_parquet(file, partial(_episode_numbers, file))
        except DatasetError as error:
            broken.append(error)
            notes.append(f"{file.name} cannot be read, its episodes are left out")
            continue
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
            if stop > start:
                episodes[int(numbers[start])].append(Piece(file, start, stop))
    if broken and not episodes:
        raise broken[0]
    return dict(episodes), notes


def _episode_numbers(file: Path, parquet: Any) -> np.ndarray:
    opened = parquet.ParquetFile(file)
    require_columns(file, opened, ["episode_index"])
    batches = opened.iter_batches(BATCH_ROWS, columns=["episode_index"])
    return np.concatenate([np.empty(0, np.int64), *(batch.column(0).to_numpy() for batch in batches)])


def read_tasks(source: Path) -> dict[int, str]:
    """Task texts by index; none when the file is absent. Raises DatasetError when it is damaged."""
    file = source / "meta" / "tasks.parquet"
    if not file.is_file():
        return {}
    table = read_parquet(file, lambda parquet: parquet.read_table(file))
    texts = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or len(texts) != 1:
        raise DatasetError(f"{file} has columns {table.column_names}, expected task_index and one of texts.")
    return dict(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True))


Places = dict[tuple[int, str], tuple[Path, float]]


def _read_episodes_table(info: Info) -> tuple[dict[int, int], Places]:
    """`meta/episodes`: (episode number -> rows, (number, video key) -> (file, time in it at which it starts))."""
    lengths: dict[int, int] = {}
    places: Places = {}
    for file in sorted((info.path / "meta" / "episodes").glob("**/*.parquet")):
        columns = read_parquet(file, partial(_episodes_columns, file))
        numbers = columns.get("episode_index", [])
        lengths |= dict(zip(numbers, columns.get("length", [None] * len(numbers)), strict=True))
        for key in info.videos:
            fields = [columns.get(f"videos/{key}/{name}") for name in ("chunk_index", "file_index", "from_timestamp")]
            for number, chunk, part, start in zip(numbers, *fields, strict=True) if all(fields) else ():  # type: ignore[arg-type]
                if None not in (chunk, part, start):
                    video = info.file("video_path", video_key=key, chunk_index=chunk, file_index=part)
                    places[number, key] = video, start
    return {number: length for number, length in lengths.items() if length is not None}, places


def _episodes_columns(file: Path, parquet: Any) -> dict[str, list[Any]]:
    names = parquet.ParquetFile(file).schema_arrow.names
    wanted = [name for name in names if name in ("episode_index", "length") or name.startswith("videos/")]
    return parquet.read_table(file, columns=wanted).to_pydict()


class LeRobotV3Source(LeRobotSource):
    """Many episodes a file."""

    def __init__(
        self, info: Info, options: ConvertOptions, tasks: Mapping[int, str], videos: Sequence[str],
        notes: Sequence[str], episodes: list[tuple[int, list[Piece]]],
        places: Mapping[tuple[int, str], tuple[Path, float]], listed: Iterable[int],
    ):  # fmt: skip
        super().__init__(info, options, tasks, videos, notes, [number for number, _ in episodes], listed)
        self._pieces, self._places = [pieces for _, pieces in episodes], places
        self._group: tuple[Any, Any] = None, None

    def video(self, index: int, key: str) -> tuple[Path, float]:
        return self._places[self.numbers[index], key]

    def rows(self, index: int, columns: Sequence[str]) -> Any:
        return read_parquet(self._pieces[index][0].file, lambda parquet: self._rows(parquet, index, columns))

    def _rows(self, parquet: Any, index: int, columns: Sequence[str]) -> Any:
        import pyarrow

        tables = []
        for piece in self._pieces[index]:
            with parquet.ParquetFile(piece.file) as opened:
                require_columns(piece.file, opened, columns)
                start = 0
                for group in range(opened.num_row_groups):
                    stop = start + opened.metadata.row_group(group).num_rows
                    if start < piece.stop and piece.start < stop:
                        table = self._row_group(opened, piece.file, group, columns)
                        first, last = max(piece.start, start) - start, min(piece.stop, stop) - start
                        tables.append(table.slice(first, last - first))
                    start = stop
        return pyarrow.concat_tables(tables)

    def _row_group(self, opened: Any, file: Path, group: int, columns: Sequence[str]) -> Any:
        """A row group; the last one is kept, because episodes share them."""
        if self._group[0] != (file, group):
            self._group = (file, group), opened.read_row_group(group, columns=list(columns))
        return self._group[1]
