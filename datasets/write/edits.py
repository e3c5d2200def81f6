"""Changing labels and masks: one more line in `meta/edits.jsonl` each (`read/edits.py` says what they are).

Editors take turns by a lock of the file itself, and do not get in the way of whoever records.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, unknown_name
from robolearn.core.lock import FileLock
from robolearn.core.provenance import user_name, wall_time
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json, Metadata
from robolearn.datasets.read.arrays import read_records
from robolearn.datasets.read.edits import EDITS, masks_of, read_edits, scan_edits
from robolearn.datasets.read.store import LocalStore, open_store
from robolearn.datasets.write.durable import explain_os_errors, sync_directory, sync_file_system, write_file

LABELS = ("task", "success", "notes")
# what recording, salvaging and the tools write into a record
FACTS = frozenset((
    *layout.RESERVED, "started_at", "clock", "rate_hz", "late_ticks", "skipped_ticks", "slowed_by", "pauses",
    "software", "seed", "init_state", "success_env", "success_operator", "salvaged", "losses", "source_dataset",
    "source_episode",
))  # fmt: skip


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
