"""LeRobot dataset formats v2.0 and v2.1: one parquet file and one video a camera for each episode.

Incomplete downloads are common (videos are large): episodes whose files are not all there are left out and listed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.lerobot import (
    Info,
    LeRobotSource,
    codebase_version,
    open_witness,
    read_parquet,
    require_columns,
)
from robolearn.datasets.convert.protocol import ConvertOptions, SourceDescription, damaged
from robolearn.datasets.convert.source import ranges

__all__ = ["detect", "describe", "open_source", "open_witness"]
FORMAT = "lerobot_v2"


def detect(source: Path) -> bool:
    """Whether `source` is a folder whose `meta/info.json` is of version 2."""
    return codebase_version(source).startswith("v2")


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads `meta/` and the names of files only. Counts what is there."""
    info = Info.read(source, "v2")
    lengths = _lengths(info)
    present, whole, notes = _inventory(info, list(lengths))
    decision = info.described(present)
    notes += decision.notes
    steps = sum(lengths[number] for number in whole)
    return SourceDescription(
        FORMAT, len(whole), steps, info.fps, decision.features, tuple(_tasks(info).values()), tuple(notes)
    )


def open_source(source: Path, options: ConvertOptions) -> LeRobotSource:
    """See `Converter.open_source`."""
    info = Info.read(source, "v2")
    lengths = _lengths(info)
    present, whole, notes = _inventory(info, list(lengths))
    if not whole:
        raise DatasetError(f"{source} holds no whole episode: {'; '.join(notes)}.")
    return LeRobotV2Source(info, options, _tasks(info), present, notes, whole, lengths)


def _lengths(info: Info) -> dict[int, int]:
    """Episode number -> steps, as `meta/episodes.jsonl` lists them."""
    entries = _jsonl(info.path / "meta" / "episodes.jsonl")
    try:
        return {int(entry["episode_index"]): int(entry["length"]) for entry in entries}
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(info.path / "meta" / "episodes.jsonl", repr(error)) from error


def _tasks(info: Info) -> dict[int, str]:
    file = info.path / "meta" / "tasks.jsonl"
    try:
        return {int(e["task_index"]): str(e["task"]) for e in (_jsonl(file) if file.is_file() else ())}
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(file, repr(error)) from error


def _jsonl(file: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise damaged(file, error) from error


def _file(info: Info, template: str, number: int, key: str = "") -> Path:
    chunk = number // int(info.raw.get("chunks_size", 1000))
    return info.file(template, episode_chunk=chunk, episode_index=number, video_key=key)


def _inventory(info: Info, numbers: Sequence[int]) -> tuple[list[str], list[int], list[str]]:
    """(Videos of which at least one file is there, episodes that are whole, notes on the rest)."""
    rows = [n for n in numbers if _file(info, "data_path", n).is_file()]
    there = {key: {n for n in rows if _file(info, "video_path", n, key).is_file()} for key in info.videos}
    present = [key for key, episodes in there.items() if episodes]
    whole = [n for n in rows if all(n in there[key] for key in present)]
    notes = []
    if len(rows) < len(numbers):
        missing = sorted(set(numbers) - set(rows))
        notes.append(
            f"{len(missing)} of the {len(numbers)} episodes listed have no parquet file and are left out: "
            f"{ranges(missing)}"
        )
    for key in info.videos:
        absent = set(rows) - there[key]
        if key not in present:
            notes.append(f"{key} (video) is not carried over: its files are not there")
        elif absent:
            notes.append(f"{len(absent)} episodes have no video of {key} and are left out: {ranges(absent)}")
    if (info.path / "meta" / "episodes_stats.jsonl").is_file():
        notes.append("meta/episodes_stats.jsonl is not carried over: statistics are computed anew from what is stored")
    return present, whole, notes


class LeRobotV2Source(LeRobotSource):
    """One file an episode."""

    def video(self, index: int, key: str) -> tuple[Path, float]:
        return _file(self.info, "video_path", self.numbers[index], key), 0.0

    def rows(self, index: int, columns: Sequence[str]) -> Any:
        file = _file(self.info, "data_path", self.numbers[index])

        def read(parquet: Any) -> Any:
            with parquet.ParquetFile(file) as opened:
                require_columns(file, opened, columns)
                return opened.read(columns=list(columns))

        return read_parquet(file, read)
