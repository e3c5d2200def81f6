"""Label edits and masks: `meta/edits.jsonl`, to which lines are added and of which none is ever changed.

Episode records stay as they were recorded; readers lay the edits over them. Each line is the CRC-32 of its json in 8
hex digits, a space, the json and a line feed. Three kinds of json:

    {"at": ..., "by": ..., "labels": {"success": false}, "episodes": [[0, 3], [7, 8]]}     episodes 0 to 2 and 7
    {"at": ..., "by": ..., "mask": "train", "episodes": [[0, 80]]}                         in place of what it was
    {"at": ..., "by": ..., "mask": "train", "episodes": null}                              no such mask any more

Lines are added by `write/edits.py`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.store import DAMAGED, Store, open_store

EDITS = "meta/edits.jsonl"
QUARANTINE = "quarantine"


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
