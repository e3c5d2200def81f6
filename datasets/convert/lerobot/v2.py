"""LeRobot dataset formats v2.0 and v2.1: one parquet file and one video a camera for each episode.

Incomplete downloads are common (videos are large): episodes whose files are not all there are left out and listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.lerobot.episodes import LeRobotSource, Place
from robolearn.datasets.convert.lerobot.info import Info, codebase_version, open_witness, read_parquet, require_columns
from robolearn.datasets.convert.lfs import is_there
from robolearn.datasets.convert.protocol import ConvertOptions, SourceDescription, damaged
from robolearn.datasets.convert.wording import ranges

__all__ = ["detect", "describe", "open_source", "open_witness"]
FORMAT = "lerobot_v2"


def detect(source: Path) -> bool:
    """Whether `source` is a folder whose `meta/info.json` is of version 2."""
    return codebase_version(source).startswith("v2")


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads `meta/` and the names of files only. Counts what is there."""
    info = Info.read(source, "v2")
    listed = _episodes(info)
    present, whole, _, notes = _inventory(info, list(listed))
    decision = info.described(present)
    notes += decision.notes
    steps = sum(listed[number].length for number in whole)
    return SourceDescription(
        FORMAT, len(whole), steps, info.fps, decision.features, tuple(_tasks(info).values()), tuple(notes)
    )


def open_source(source: Path, options: ConvertOptions) -> LeRobotSource:
    """See `Converter.open_source`."""
    info = Info.read(source, "v2")
    listed = _episodes(info)
    present, whole, named, notes = _inventory(info, list(listed))
    if not whole:
        raise DatasetError(f"{source} holds no whole episode: {'; '.join(notes)}.")
    tasks = {number: entry.tasks for number, entry in listed.items()}
    return LeRobotV2Source(info, options, _tasks(info), present, notes, whole, tasks, named)


@dataclass(frozen=True)
class Listed:
    """An episode as `meta/episodes.jsonl` lists it."""

    length: int
    tasks: tuple[str, ...]


def _episodes(info: Info) -> dict[int, Listed]:
    """Episode number -> what `meta/episodes.jsonl` says of it."""
    file = info.path / "meta" / "episodes.jsonl"
    try:
        return {
            int(entry["episode_index"]): Listed(int(entry["length"]), tuple(map(str, entry.get("tasks") or ())))
            for entry in _jsonl(file)
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(file, repr(error)) from error


def _tasks(info: Info) -> dict[int, str]:
    file = info.path / "meta" / "tasks.jsonl"
    try:
        return {int(e["task_index"]): str(e["task"]) for e in (_jsonl(file) if file.is_file() else ())}
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(file, repr(error)) from error


def _jsonl(file: Path) -> list[Any]:
    try:
        return [parsed(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise damaged(file, error) from error


def _file(info: Info, template: str, number: int, key: str = "") -> Path:
    chunk = number // info.chunk_size
    # chunk_index is v3's word for the same, and some have it here
    return info.file(template, episode_chunk=chunk, episode_index=number, video_key=key, chunk_index=chunk)


def _inventory(info: Info, numbers: Sequence[int]) -> tuple[list[str], list[int], set[int], list[str]]:
    """(Videos of which at least one file is there, episodes that are whole, others that notes name, notes)."""
    rows = [n for n in numbers if is_there(_file(info, "data_path", n))]
    there = {key: {n for n in rows if is_there(_file(info, "video_path", n, key))} for key in info.videos}
    present = [key for key, episodes in there.items() if episodes]
    whole = [n for n in rows if all(n in there[key] for key in present)]
    notes: list[str] = []
    missing = sorted(set(numbers) - set(rows))
    named = set(missing)
    if missing:
        notes.append(
            f"{len(missing)} of the {len(numbers)} episodes listed have no parquet file and are left out: "
            f"{ranges(missing)}"
        )
    for key in info.videos:
        absent = set(rows) - there[key]
        if key not in present:
            notes.append(f"{key} (video) is not carried over: its files are not there")
        elif absent:
            named |= absent
            notes.append(f"{len(absent)} episodes have no video of {key} and are left out: {ranges(absent)}")
    if (info.path / "meta" / "episodes_stats.jsonl").is_file():
        notes.append("meta/episodes_stats.jsonl is not carried over: statistics are computed anew from what is stored")
    return present, whole, named, notes


class LeRobotV2Source(LeRobotSource):
    """One file an episode."""

    def video(self, index: int, key: str) -> Place:
        return Place(_file(self.info, "video_path", self.numbers[index], key))

    def row_file(self, index: int, step: int) -> Path:
        return _file(self.info, "data_path", self.numbers[index])

    def rows(self, index: int, columns: Sequence[str], if_there: Sequence[str] = ()) -> Any:
        file = self.row_file(index, 0)

        def read(parquet: Any) -> Any:
            with parquet.ParquetFile(file) as opened:
                require_columns(self.info, file, opened, columns)
                more = [name for name in if_there if name in opened.schema_arrow.names and name not in columns]
                return opened.read(columns=[*columns, *more])

        return read_parquet(file, read)
