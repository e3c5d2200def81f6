"""How a recorded episode becomes part of a dataset, so that a crash at any moment leaves all of it or nothing.

    1. write      frames as links past the visible end; everything else under temporary names in `pending/.staging`
       flush      the file system
    2. rename     the chunk files into place: they repeat the visible rows and add invisible ones
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets import layout
from robolearn.datasets.arrays import stage_episode, stage_rows
from robolearn.datasets.journal import Journal
from robolearn.datasets.layout import ArrayInfo, Json, Metadata
from robolearn.datasets.storage import link_or_copy, sync_directory, sync_file_system, write_file


def commit_episode(
    root: Path, old: Metadata, records: list[Json], journal: Journal, facts: Json, flush: bool = True
) -> Metadata:
    """Append the journal's episode to the dataset at `root` and `facts` about it to `records`.

    Args:
        old: the metadata that is on disk.
        records: those of all episodes so far; extended when the commit point is passed.
        journal: the recorded steps.
        facts: what the record of the episode holds besides lengths and checksums.
        flush: whether to wait for the disk; without, the death of the process is survived, but not a power cut.

    Returns the metadata that is now on disk. Raises DatasetError for facts that are not json, OSError when a file
    cannot be written; the dataset is then as it was.
    """
    rows = journal.rows()
    encoded = [layout.data_key(name) for name in journal.frame_crcs]
    start, stop = old.num_steps, old.num_steps + len(rows)
    columns = {
        key: np.ascontiguousarray(rows[name])
        for name in journal.columns
        if (key := layout.SIM_STATE if name == layout.SIM_STATE else layout.data_key(name)) not in encoded
    }
    checksums = {key: zlib.crc32(column.data) for key, column in columns.items()}
    checksums |= {layout.data_key(name): crc for name, crc in journal.frame_crcs.items()}
    record = {
        "index": old.num_episodes,
        "start_step": start,
        "num_steps": len(rows),
        "duration_s": float(rows["timestamp"][-1] - rows["timestamp"][0]),
        **facts,
        "checksums": checksums,
        "journal": journal.id,
    }
    try:
        layout.to_json(record)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"The episode's metadata cannot be stored as json: {error}.") from error

    staging = root / layout.STAGING
    arrays = dict(old.arrays)
    if layout.SIM_STATE in columns:
        arrays.setdefault(layout.SIM_STATE, ArrayInfo.rows(columns[layout.SIM_STATE].shape[1:], "<f8"))
    columns[layout.EPISODE_ENDS] = np.array([stop], np.int64)
    moves = [move for key, column in columns.items() for move in stage_rows(root, staging, key, arrays[key], column)]
    moves.append(stage_episode(root, staging, arrays[layout.EPISODES], [*records, record]))
    for name in journal.frame_crcs:
        folder, info = root / layout.data_key(name), arrays[layout.data_key(name)]
        for step in range(len(rows)):
            link_or_copy(journal.frame_file(name, step), folder / info.chunk_name(start + step))
    per_episode = (layout.EPISODES, layout.EPISODE_ENDS)
    lengths = {key: old.num_episodes + 1 if key in per_episode else stop for key in arrays}
    new = Metadata(old.attributes, {key: info.with_length(lengths[key]) for key, info in arrays.items()})
    write_file(staging / layout.METADATA, new.to_bytes())
    for key in new.arrays.keys() - old.arrays.keys():
        (root / key).mkdir(parents=True, exist_ok=True)
    copies = list(stage_copies(root, new))
    if flush:
        sync_file_system(root)

    for staged, target in moves:
        os.replace(staged, target)
    if flush:
        sync_file_system(root)

    os.replace(staging / layout.METADATA, root / layout.METADATA)
    if flush:
        sync_directory(root)
    records.append(record)

    for staged, target in copies:
        os.replace(staged, target)
    return new


def stage_copies(root: Path, metadata: Metadata) -> Iterator[tuple[Path, Path]]:
    """Write the `.zgroup`, `.zarray` and `.zattrs` files that need to change to the staging folder.

    Yields (staged file, its place). Staged, because renaming a file over another costs a flush if it was just written.
    """
    for name, document in metadata.documents().items():
        data, target = layout.to_json(document), root / name
        if not target.is_file() or target.read_bytes() != data:
            staged = root / layout.STAGING / name.replace("/", "+")
            write_file(staged, data)
            yield staged, target


def write_atomically(root: Path, file: Path, data: bytes) -> None:
    """Make `file` hold `data`, or leave it as it is, whatever happens."""
    staged = root / layout.STAGING / file.name
    write_file(staged, data)
    sync_file_system(root)
    os.replace(staged, file)
    sync_directory(file.parent)
