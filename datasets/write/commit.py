"""How a recorded episode becomes part of a dataset, so that a crash at any moment leaves all of it or nothing.

    1. write      what is past the visible end; chunks that visible rows share under temporary names in `.staging`
       flush      the file system
    2. rename     those chunks into place: they repeat the visible rows and add invisible ones
       flush      the file system
    3. rename     `.zmetadata`: the commit point, which makes all arrays longer at once
       flush      the folder
    4. rename     copies of array descriptions for readers that do not look at `.zmetadata`

What a crash leaves before step 3 is past the end of every array, and the next episode overwrites it; the journal is
whole until the writer removes it after step 4. What it leaves after step 3 `append_to` finishes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import ArrayInfo, Json, Metadata
from robolearn.datasets.format.statistics import episode_statistics
from robolearn.datasets.write.chunk_staging import RecordLog, stage_record, stage_rows
from robolearn.datasets.write.durable import sync_directory, sync_file_system, write_file


@dataclass
class Content:
    """What an episode adds to a dataset.

    Attributes:
        columns: array -> rows to append; `data/timestamp` among them. Statistics and episode ends are added to it.
        frames: encoded array -> number of frames that were put past its end.
        facts: what the episode's record says besides what the writer was told.
    """

    columns: dict[str, np.ndarray]
    frames: dict[str, int] = field(default_factory=dict)
    facts: Json = field(default_factory=dict)


class NewEpisode(Protocol):
    """An episode on its way into a dataset."""

    @property
    def id(self) -> str | None:
        """Of the journal it comes from, or None."""

    def place(self, root: Path, metadata: Metadata) -> Content:
        """Put the frames past the end of their arrays, where nobody sees them, and return the rest.

        Raises DatasetError or FeatureError for an episode that cannot be appended, OSError for files.
        """


def commit_episode(
    root: Path, old: Metadata, log: RecordLog, episode: NewEpisode, facts: Json, flush: bool = True
) -> tuple[Metadata, RecordLog]:
    """Append an episode to the dataset at `root`.

    Args:
        old: the metadata that is on disk.
        log: the episode records that are on disk.
        facts: what the record of the episode holds besides lengths and checksums, see `checked_facts`.
        flush: whether to wait for the disk; without, the death of the process is survived, but not a power cut, and
            step 4 is left to the writer's `close`.

    Returns what is now on disk. Raises OSError when a file cannot be written, and what `episode` raises; the dataset is
    then as it was.
    """
    content = episode.place(root, old)
    columns, times = content.columns, content.columns[layout.TIMESTAMP]
    start, stop = old.num_steps, old.num_steps + len(times)
    for name, feature in old.grid.items():
        if not layout.is_encoded(feature):
            columns[layout.statistics_key(name)] = episode_statistics(columns[layout.data_key(name)])[None]
    record = {
        "index": old.num_episodes,
        "start_step": start,
        "num_steps": len(times),
        "duration_s": float(times[-1] - times[0]),
        **facts,
        **grid_timing(times, float(old.attributes["fps"])),
        **content.facts,
        "checksums": {key: zlib.crc32(np.ascontiguousarray(rows).data) for key, rows in columns.items()},
        "journal": episode.id,
    }
    columns[layout.EPISODE_ENDS] = np.array([stop], np.int64)

    staging = root / layout.STAGING
    arrays = dict(old.arrays)
    if layout.SIM_STATE in columns:
        arrays.setdefault(layout.SIM_STATE, ArrayInfo.rows(columns[layout.SIM_STATE].shape[1:], "<f8"))
    added = {key: len(rows) for key, rows in columns.items()} | content.frames | {layout.EPISODES: 1}
    new_log = log.extended(record, arrays[layout.EPISODES].chunk_rows)
    new = Metadata(
        {
            **old.attributes,
            "records_crc32": new_log.crc32,
            "ends_crc32": zlib.crc32(columns[layout.EPISODE_ENDS].data, old.attributes.get("ends_crc32", 0)),
        },
        {key: info.with_length(info.length + added[key]) if key in added else info for key, info in arrays.items()},
    )
    for key in arrays.keys() - old.arrays.keys():
        (root / key).mkdir(parents=True, exist_ok=True)
    moves = [
        move for key, rows in columns.items() for move in stage_rows(root, staging, key, arrays[key], rows, not flush)
    ]
    moves.append(stage_record(root, staging, arrays[layout.EPISODES], new_log))
    write_file(staging / layout.METADATA, new.to_bytes())
    copies = list(stage_copies(root, new, old)) if flush else []
    if flush:
        sync_file_system(root)

    rename_all(moves)
    if flush:
        sync_file_system(root)

    os.replace(staging / layout.METADATA, root / layout.METADATA)
    if flush:
        sync_directory(root)

    rename_all(copies)
    return new, new_log


def checked_facts(facts: Mapping[str, Any] | None) -> Json:
    """A copy. Raises DatasetError for what an episode record cannot hold, or what only the writer may put into it."""
    found = dict(facts or {})
    reserved = sorted(set(layout.RESERVED) & found.keys())
    if reserved:
        raise DatasetError(f"Episode metadata may not set {reserved[0]!r}; the writer fills it in.")
    try:
        layout.to_json(found)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"The episode's metadata cannot be stored as json: {error}.") from error
    return found


def grid_timing(times: np.ndarray, fps: float) -> Json:
    """The record's `timing`: median and longest gap between steps, and median distance of a gap from `1 / fps`."""
    if len(times) < 2:
        return {}
    gaps = np.diff(times)
    jitter = float(np.median(np.abs(gaps - 1 / fps)))
    return {"timing": {"median_s": float(np.median(gaps)), "max_s": float(gaps.max()), "jitter_s": jitter}}


def stage_copies(root: Path, metadata: Metadata, old: Metadata | None = None) -> Iterator[tuple[Path, Path]]:
    """Write the `.zgroup`, `.zarray` and `.zattrs` files that need to change to the staging folder.

    Yields (staged file, its place). Staged, because renaming a file over another costs a flush if it was just written.

    Args:
        old: what the files say now; without it, they are read.
    """
    before = old.documents() if old else {}
    for name, document in metadata.documents().items():
        if before.get(name) == document:
            continue
        data, target = layout.to_json(document), root / name
        if old or not target.is_file() or target.read_bytes() != data:
            staged = root / layout.STAGING / name.replace("/", "+")
            write_file(staged, data)
            yield staged, target


def rename_all(moves: Iterable[tuple[Path, Path]]) -> None:
    """Bring staged files into place."""
    for staged, target in moves:
        os.replace(staged, target)


def write_atomically(root: Path, file: Path, data: bytes, flush: bool = True) -> None:
    """Make `file` hold `data`, or leave it as it is, whatever happens."""
    staged = root / layout.STAGING / file.name
    write_file(staged, data)
    if flush:
        sync_file_system(root)
    os.replace(staged, file)
    if flush:
        sync_directory(file.parent)


def write_metadata(root: Path, metadata: Metadata, flush: bool = True) -> None:
    """Make `metadata`, whose arrays are as long as before, that of the dataset; the copies of it, too."""
    write_atomically(root, root / layout.METADATA, metadata.to_bytes(), flush)
    write_copies(root, metadata)


def write_copies(root: Path, metadata: Metadata) -> None:
    """Bring the copies of array descriptions up to date, for readers that do not look at `.zmetadata`."""
    rename_all(stage_copies(root, metadata))
