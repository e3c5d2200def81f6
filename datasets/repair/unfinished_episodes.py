"""Save episodes that were never committed: the part of `repair` that looks after `pending/`.

What a journal holds `read_journal.py` reads; here it becomes an episode, marked with `salvaged`. A journal goes
only when its episode is committed, and an episode is saved once although an earlier run was interrupted.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.datasets.checks.survey import Survey
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.read.store import LocalStore
from robolearn.datasets.repair.quarantine import FOLDER
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.repair.repair_step import RepairStep
from robolearn.datasets.write.journal import find_journals
from robolearn.datasets.write.writer import DatasetWriter


def rescue(root: Path, dry_run: bool) -> list[RepairStep]:
    """Commit what is whole of the episodes in `pending/`, and set aside journals that hold nothing whole.

    Args:
        root: of a dataset whose metadata is sound.
        dry_run: change nothing, and return what would be done.

    Raises DatasetError when the disk is full or somebody is writing the dataset; journals are then where they were.
    """
    journals = find_journals(root / layout.PENDING)
    if dry_run and journals:
        saved = {record.get("journal") for record in _records(root)[-1:]}
        journals = [journal for journal in journals if journal.name not in saved]  # `append_to` removes it
    if dry_run or not journals:
        return [RepairStep("salvage", "would be saved as far as it is whole", f"pending/{j.name}") for j in journals]
    with _quiet(), DatasetWriter.append_to(root) as writer:
        saved_before = {record.get("salvaged_from") for record in _records(root)}
        return [_save(root, writer, journal, saved_before) for journal in find_journals(root / layout.PENDING)]


@contextmanager
def _quiet() -> Iterator[None]:
    """The writer tells of unfinished episodes when it opens: the very ones that are about to be saved."""
    logger = logging.getLogger(DatasetWriter.__module__)
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _save(root: Path, writer: DatasetWriter, journal: Path, saved_before: set[Any]) -> RepairStep:
    file = f"pending/{journal.name}"
    if journal.name in saved_before:  # an earlier repair was interrupted before it could remove it
        shutil.rmtree(journal)
        return RepairStep("salvage", "saved earlier; removed", file)
    found = None
    try:
        found = read_journal(journal, Metadata.read(root))
        found.data.record |= {
            "salvaged": True, "success": None, "salvaged_from": journal.name, "losses": found.losses,
        }  # fmt: skip
        model = root / layout.SIM_MODELS / f"{found.header.get('sim_model')}.xml"
        if model.is_file():
            found.data.sim_model = model.read_bytes().decode()
        episode = writer.write_episode(found.data)
    except (DatasetError, FeatureError) as error:
        if found and isinstance(error.__cause__, OSError):
            raise  # a full disk says nothing about the journal
        folder = root / FOLDER / f"pending_{journal.name}"
        folder.parent.mkdir(exist_ok=True)
        os.replace(journal, folder)
        return RepairStep(
            "salvage", f"cannot be saved ({str(error).rstrip('.')}); moved to {FOLDER}/{folder.name}", file
        )
    shutil.rmtree(journal)
    lost = f"; lost: {'; '.join(found.losses)}" if found.losses else "; nothing was lost"
    steps = len(found.data.timestamps)
    return RepairStep("salvage", f"saved {steps} steps of an unfinished episode{lost}", file, episode)


def _records(root: Path) -> list[dict[str, Any]]:
    return [record or {} for record in Survey.open(LocalStore(root), images="none").records]
