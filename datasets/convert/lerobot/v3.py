"""LeRobot dataset format v3.0: parquet tables and videos of many episodes each, found through `meta/episodes`.

Which rows belong to an episode is read from the column `episode_index` itself, so that an incomplete download is
imported as far as it goes; `meta/episodes` is needed for videos only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.lerobot.episodes import LeRobotSource, Place
from robolearn.datasets.convert.lerobot.info import Info, codebase_version, open_witness, read_parquet, require_columns
from robolearn.datasets.convert.lfs import is_there
from robolearn.datasets.convert.protocol import ConvertOptions, SourceDescription, damaged
from robolearn.datasets.convert.wording import ranges

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
    files = sorted(file for file in (source / "data").glob("**/*.parquet") if is_there(file))
    if not files:
        raise DatasetError(f"{source / 'data'} holds no parquet file; copy the whole dataset again.")
    episodes, notes = _find_episodes(info, files)
    listed = _read_episodes_table(info)
    places = _separate(listed.places, info.frame_rate)
    present = [key for key in info.videos if any(map(is_there, (source / "videos" / key).glob("**/*.mp4")))]
    notes += [
        f"{key} (video) is not carried over: its files are not there" for key in info.videos if key not in present
    ]
    found = {number: sum(piece.stop - piece.start for piece in pieces) for number, pieces in episodes.items()}
    partial_rows = [number for number, rows in found.items() if rows != listed.lengths.get(number, rows)]
    whole = [number for number in episodes if number not in partial_rows]
    unknown = [n for n in whole if any((n, key) not in places for key in present)]
    whole = [n for n in whole if n not in set(unknown)]
    without = [n for n in whole if not all(is_there(places[n, key].file) for key in present)]
    total = int(info.raw["total_episodes"])
    if len(episodes) < total:
        notes.append(f"meta/info.json lists {total} episodes, the parquet files hold {len(episodes)}")
    if partial_rows:
        notes.append(
            f"of {len(partial_rows)} episodes not all rows are there, they are left out: {ranges(partial_rows)}"
        )
    if unknown:
        notes.append(
            f"meta/episodes does not say where the videos of {len(unknown)} episodes are, they are left out: "
            f"{ranges(unknown)}"
        )
    if without:
        notes.append(f"of {len(without)} episodes the video files are not there, they are left out: {ranges(without)}")
    kept = [(number, episodes[number]) for number in whole if number not in set(without)]
    tasks: dict[int, Sequence[str]] = {n: listed.tasks.get(n, ()) for n in {*listed.lengths, *episodes}}
    named = {*partial_rows, *unknown, *without}
    return LeRobotV3Source(info, options, read_tasks(source), present, notes, kept, places, tasks, named)


def _find_episodes(info: Info, files: Sequence[Path]) -> tuple[dict[int, list[Piece]], list[str]]:
    """Episode number -> its pieces, in the order of the files; damaged files are noted."""
    episodes: dict[int, list[Piece]] = defaultdict(list)
    notes: list[str] = []
    broken: list[DatasetError] = []
    for file in files:
        try:
            numbers = read_parquet(file, partial(_episode_numbers, info, file))
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


def _episode_numbers(info: Info, file: Path, parquet: Any) -> np.ndarray:
    opened = parquet.ParquetFile(file)
    require_columns(info, file, opened, ["episode_index"])
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


Places = dict[tuple[int, str], Place]


@dataclass
class Listed:
    """What `meta/episodes` says.

    Attributes:
        lengths: episode number -> rows.
        tasks: episode number -> texts.
        places: (episode number, video key) -> where its frames are.
    """

    lengths: dict[int, int] = field(default_factory=dict)
    tasks: dict[int, Sequence[str]] = field(default_factory=dict)
    places: Places = field(default_factory=dict)


def _read_episodes_table(info: Info) -> Listed:
    listed = Listed()
    for file in sorted((info.path / "meta" / "episodes").glob("**/*.parquet")):
        columns = read_parquet(file, partial(_episodes_columns, file))
        numbers = columns.get("episode_index", [])
        nothing = [None] * len(numbers)
        lengths = zip(numbers, columns.get("length", nothing), strict=True)
        listed.lengths |= {number: length for number, length in lengths if length is not None}
        listed.tasks |= {n: texts for n, texts in zip(numbers, columns.get("tasks", nothing), strict=True) if texts}
        for key in info.videos:
            names = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
            fields = [columns.get(f"videos/{key}/{name}", nothing) for name in names]
            for number, chunk, part, start, stop in zip(numbers, *fields, strict=True):
                if None not in (chunk, part, start) and math.isfinite(start):
                    video = info.file("video_path", video_key=key, chunk_index=chunk, file_index=part)
                    bound = stop if stop is not None and math.isfinite(stop) else None
                    listed.places[number, key] = Place(video, start, bound)
    return listed


def _separate(places: Places, fps: float) -> Places:
    """The same, where no frame belongs to two episodes: those that share one are in trouble, and say so."""
    files: dict[tuple[Path, str], list[tuple[float, int]]] = defaultdict(list)
    for (number, key), place in places.items():
        files[place.file, key].append((place.start_s, number))
    found = dict(places)
    for (file, key), starts in files.items():
        starts.sort()
        for (_, one), (start_s, other) in zip(starts, starts[1:], strict=False):
            before = found[one, key]
            if before.stop_s is None:
                before = found[one, key] = replace(before, stop_s=start_s)
            if before.stop_s is not None and (before.stop_s - start_s) * fps > 0.5:
                where = f"{file} (meta/episodes: from_timestamp {start_s:g} s, before to_timestamp {before.stop_s:g} s)"
                for number, neighbour in ((one, other), (other, one)):
                    trouble = f"its frames and those of episode {neighbour} overlap in {where}."
                    found[number, key] = replace(found[number, key], trouble=trouble)
    return found


def _episodes_columns(file: Path, parquet: Any) -> dict[str, list[Any]]:
    """What is read of `meta/episodes`, as whole numbers and seconds. Raises DatasetError for anything else."""
    names = parquet.ParquetFile(file).schema_arrow.names
    wanted = [name for name in names if name in ("episode_index", "length", "tasks") or name.startswith("videos/")]
    table = parquet.read_table(file, columns=wanted)
    types = {name: "double" if name.endswith("_timestamp") else "int64" for name in wanted if name != "tasks"}
    found = {name: table[name].cast(types[name]) if name in types else table[name] for name in wanted}
    if "episode_index" in found and found["episode_index"].null_count:
        raise damaged(file, "an episode without episode_index")
    return {name: column.to_pylist() for name, column in found.items()}


class LeRobotV3Source(LeRobotSource):
    """Many episodes a file."""

    def __init__(
        self, info: Info, options: ConvertOptions, tasks: Mapping[int, str], videos: Sequence[str],
        notes: Sequence[str], episodes: list[tuple[int, list[Piece]]], places: Places,
        listed: Mapping[int, Sequence[str]], named: Collection[int],
    ):  # fmt: skip
        self._pieces, self._places = [pieces for _, pieces in episodes], places
        self._group: tuple[Any, Any] = None, None
        super().__init__(info, options, tasks, videos, notes, [number for number, _ in episodes], listed, named)

    def video(self, index: int, key: str) -> Place:
        return self._places[self.numbers[index], key]

    def row_file(self, index: int, step: int) -> Path:
        for piece in self._pieces[index]:
            if step < piece.stop - piece.start:
                return piece.file
            step -= piece.stop - piece.start
        return self._pieces[index][-1].file

    def rows(self, index: int, columns: Sequence[str], if_there: Sequence[str] = ()) -> Any:
        return read_parquet(self._pieces[index][0].file, lambda parquet: self._rows(parquet, index, columns, if_there))

    def _rows(self, parquet: Any, index: int, columns: Sequence[str], if_there: Sequence[str]) -> Any:
        import pyarrow

        tables = []
        for piece in self._pieces[index]:
            with parquet.ParquetFile(piece.file) as opened:
                require_columns(self.info, piece.file, opened, columns)
                more = [name for name in if_there if name in opened.schema_arrow.names and name not in columns]
                wanted, start = [*columns, *more], 0
                for group in range(opened.num_row_groups):
                    stop = start + opened.metadata.row_group(group).num_rows
                    if start < piece.stop and piece.start < stop:
                        table = self._row_group(opened, piece.file, group, wanted)
                        first, last = max(piece.start, start) - start, min(piece.stop, stop) - start
                        tables.append(table.slice(first, last - first))
                    start = stop
        return pyarrow.concat_tables(tables)

    def _row_group(self, opened: Any, file: Path, group: int, columns: Sequence[str]) -> Any:
        """A row group; the last one is kept, because episodes share them."""
        if self._group[0] != (file, group, tuple(columns)):
            self._group = (file, group, tuple(columns)), opened.read_row_group(group, columns=list(columns))
        return self._group[1]
