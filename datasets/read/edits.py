"""Label edits and masks: `meta/edits.jsonl`, to which lines are added and of which none is ever changed.

Episode records stay as they were recorded; readers lay the edits over them. Each line is the CRC-32 of its json in 8
hex digits, a space, the json and a line feed. Three kinds of json:

    {"at": ..., "by": ..., "labels": {"success": false}, "episodes": [[0, 3], [7, 8]]}     episodes 0 to 2 and 7
    {"at": ..., "by": ..., "mask": "train", "episodes": [[0, 80]]}                         in place of what it was
    {"at": ..., "by": ..., "mask": "train", "episodes": null}                              no such mask any more

Editors take turns by a lock of the file itself, and do not get in the way of whoever records.
"""

from __future__ import annotations

import difflib
import errno
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, unknown_name
from robolearn.core.lock import FileLock
from robolearn.core.provenance import user_name, wall_time
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json, Metadata
from robolearn.datasets.read.arrays import read_records
from robolearn.datasets.read.store import DAMAGED, LocalStore, Store, open_store
from robolearn.datasets.write.durable import explain_os_errors, sync_directory, sync_file_system, write_file

EDITS = "meta/edits.jsonl"
QUARANTINE = "quarantine"
LABELS = ("task", "success", "notes")
# what recording, salvaging and the tools write into a record
FACTS = frozenset((
    *layout.RESERVED, "started_at", "clock", "rate_hz", "late_ticks", "skipped_ticks", "slowed_by", "pauses",
    "software", "seed", "init_state", "success_env", "success_operator", "salvaged", "losses", "source_dataset",
    "source_episode",
))  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One line of the journal.

    Attributes:
        at: wall clock, for people.
        by: who made it.
        episodes: `(n, 2)` ranges [start, stop); None where a mask was removed.
        labels: new fields of the records of these episodes; None for a mask.
        mask: its name; None for labels.
    """

    at: str
    by: str
    episodes: tuple[tuple[int, int], ...] | None
    labels: Json | None = None
    mask: str | None = None


def read_edits(location: str | Path | Store) -> list[Edit]:
    """All edits, oldest first; none where there is no journal.

    A last line without an end was never acknowledged (its writer died) and is left out. Raises DatasetError naming any
    other line that is damaged.
    """
    edits, damaged = scan_edits(location)
    if damaged:
        raise DatasetError(next(iter(damaged.values())))
    return edits


def scan_edits(location: str | Path | Store) -> tuple[list[Edit], dict[int, str]]:
    """The edits that are whole, oldest first, and what is wrong with each damaged line, by number from 1."""
    store = location if isinstance(location, Store) else open_store(location)
    edits: list[Edit] = []
    damaged: dict[int, str] = {}
    for number, line in enumerate((store.find(EDITS) or b"").split(b"\n")[:-1], 1):
        try:
            edits.append(_parse(line, f"{store.where(EDITS)}, line {number}"))
        except DatasetError as error:
            damaged[number] = str(error)
    return edits, damaged


def _parse(line: bytes, where: str) -> Edit:
    crc, _, text = line.partition(b" ")
    try:
        if len(crc) != 8 or int(crc, 16) != zlib.crc32(text):
            raise ValueError("its checksum does not match")
        found = json.loads(text)
        ranges = found["episodes"]
        episodes = None if ranges is None else tuple((int(start), int(stop)) for start, stop in ranges)
        edit = Edit(str(found["at"]), str(found["by"]), episodes, found.get("labels"), found.get("mask"))
        if any(not 0 <= start < stop for start, stop in episodes or ()):
            raise ValueError(f"episodes {ranges}")
        if not (isinstance(edit.labels, dict) and episodes) and not (isinstance(edit.mask, str) and edit.mask):
            raise ValueError("neither labels nor a mask")
        return edit
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{where} is damaged ({error}): {DAMAGED}.") from error


def edited_records(records: list[Json], edits: Iterable[Edit]) -> list[Json]:
    """The records with the labels laid over them. Records without edits are the same objects."""
    edited = list(records)
    for edit in edits:
        for start, stop in edit.episodes or () if edit.labels is not None else ():
            for episode in range(start, min(stop, len(edited))):
                edited[episode] = {**edited[episode], **(edit.labels or {})}
    return edited


def masks_of(edits: Iterable[Edit], num_episodes: int) -> dict[str, np.ndarray]:
    """`{name: (E,) bool}`, read-only: the masks that the edits leave."""
    masks: dict[str, np.ndarray] = {}
    for edit in edits:
        if edit.mask is None:
            continue
        masks.pop(edit.mask, None)
        if edit.episodes is not None:
            mask = np.zeros(num_episodes, bool)
            for start, stop in edit.episodes:
                mask[start:stop] = True
            mask.flags.writeable = False
            masks[edit.mask] = mask
    return masks


def edit_episodes(path: str | Path, episodes: Iterable[int], fields: Mapping[str, Any], by: str | None = None) -> None:
    """Give episodes new labels: task, success, notes, or any other field of a record that recording does not fill in.

    Args:
        path: a dataset on this machine.
        episodes: indices.
        fields: json-ready; `success` is a boolean or None, `task` and `notes` are texts or None.
        by: who did it; the user's name by default.

    Raises DatasetError for an episode that does not exist, a field that is reserved or looks like a misspelt one, or a
    wrong type.
    """
    root, metadata = _open(path)
    ranges = _ranges(root, metadata, episodes)
    if not ranges or not fields:
        raise DatasetError(f"{root}: nothing to edit; name at least one episode and one field.")
    known = dict.fromkeys(LABELS)
    for record in read_records(LocalStore(root), metadata):
        known |= dict.fromkeys(record)
    for name, value in fields.items():
        _check_label(root, name, value, set(known) - FACTS)
    _append(root, {"labels": dict(fields), "episodes": ranges}, by)


def _check_label(root: Path, name: str, value: Any, known: set[str]) -> None:
    if name in FACTS:
        raise DatasetError(
            f"{root}: {name!r} is a fact of the recording and cannot be edited; labels are {_listed(known)}."
        )
    similar = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if not name or (name not in known and similar):
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        raise DatasetError(f"{root}: no episode has a field {name!r}.{hint} Known: {_listed(known)}.")
    expected = {"task": str, "notes": str, "success": bool}.get(name)
    if expected and value is not None and not isinstance(value, expected):
        kind = "true, false" if expected is bool else "a text"
        raise DatasetError(f"{root}: {name!r} must be {kind} or null, found {value!r}.")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def set_mask(path: str | Path, name: str, episodes: Iterable[int], by: str | None = None) -> None:
    """Name a set of episodes, in place of what had the name before.

    Args:
        path: a dataset on this machine.
        name: letters, digits, `_` and, not first, `.` and `-`. `quarantine` holds broken episodes, which loader and
            tools leave out.
        episodes: indices; none is an empty mask.

    Raises DatasetError for an episode that does not exist or a name that cannot be used.
    """
    root, metadata = _open(path)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise DatasetError(
            f"{root}: a mask cannot be called {name!r}; use letters, digits, _ and, not first, dots and -."
        )
    _append(root, {"mask": name, "episodes": _ranges(root, metadata, episodes)}, by)


def remove_mask(path: str | Path, name: str, by: str | None = None) -> None:
    """Forget a mask; the journal keeps what it was. Raises DatasetError for an unknown name."""
    root, metadata = _open(path)
    masks = masks_of(read_edits(LocalStore(root)), metadata.num_episodes)
    if name not in masks:
        raise DatasetError(f"{root}: " + unknown_name("mask", name, masks))
    _append(root, {"mask": name, "episodes": None}, by)


def _open(path: str | Path) -> tuple[Path, Metadata]:
    store = open_store(path)
    if not isinstance(store, LocalStore):
        raise DatasetError(f"{store.name} can be read but not edited; edit it on the machine where its files are.")
    return store.path, Metadata.read(store.path)


def _ranges(root: Path, metadata: Metadata, episodes: Iterable[int]) -> list[list[int]]:
    """Sorted indices as ranges [start, stop)."""
    chosen = np.unique(np.asarray(list(episodes), np.int64))
    if chosen.size and not (chosen[0] >= 0 and chosen[-1] < metadata.num_episodes):
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise DatasetError(f"{root} has no episode {wrong}; it has {metadata.num_episodes}, counted from 0.")
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1) if chosen.size else []
    return [[int(run[0]), int(run[-1]) + 1] for run in runs]


def _append(root: Path, edit: Json, by: str | None) -> None:
    """Add one line, on stable storage when this returns. Cuts off the torn line of an editor that died."""
    try:
        text = layout.to_json({"at": wall_time(), "by": by or user_name(), **edit})
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{root}: the edit cannot be stored as json: {error}.") from error
    line = b"%08x %s\n" % (zlib.crc32(text), text)
    with _locked(root) as descriptor:
        end = _acknowledged(descriptor)
        os.ftruncate(descriptor, end)
        if os.pwrite(descriptor, line, end) != len(line):
            os.ftruncate(descriptor, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root / EDITS))
        os.fsync(descriptor)
        sync_directory(root / "meta")


def mend_edits(path: str | Path, aside: Path) -> list[int]:
    """Take damaged lines out of the journal, which is kept as it was in `aside`. Returns their numbers, from 1.

    Changes nothing where no line is damaged.
    """
    root, _ = _open(path)
    if not (root / EDITS).exists():
        return []
    with _locked(root) as descriptor:
        _, damaged = scan_edits(LocalStore(root))
        if damaged:
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            good = [line for number, line in enumerate(data.split(b"\n")[:-1], 1) if number not in damaged]
            write_file(aside, data)
            mended = root / f"{EDITS}.mended"
            write_file(mended, b"".join(line + b"\n" for line in good))
            sync_file_system(root)
            os.replace(mended, root / EDITS)
            sync_directory(root / "meta")
    return list(damaged)


@contextmanager
def _locked(root: Path) -> Iterator[int]:
    """The open journal, made where it was missing, while no other editor has it."""
    with explain_os_errors(f"Editing {root}", "Nothing was changed; free space or check permissions."):
        lock = FileLock(root / EDITS, wait=True, sign=False)
        try:
            yield lock.descriptor
        finally:
            lock.release()


def _acknowledged(descriptor: int) -> int:
    """Bytes up to the end of the last whole line."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 4096)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
