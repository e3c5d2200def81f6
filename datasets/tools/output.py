"""A new folder that appears whole or not at all: what every maker of datasets writes into."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robolearn.core.errors import DatasetError
from robolearn.datasets import layout
from robolearn.datasets.storage import WriterLock, explain_os_errors, sync_directory, sync_file_system


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give a folder `OUTPUT.unfinished` to write into; at the end it is flushed to disk and renamed to `output`.

    When the block raises, or is interrupted, the folder is removed. What an earlier process that was killed left
    under that name is removed first.

    Raises DatasetError when `output` exists, another process is making it, something else has that name (an unfinished
    conversion, a folder of the user's), or the disk is full.
    """
    output = Path(output)
    refuse_existing(output)
    unfinished = output.with_name(output.name + ".unfinished")
    with explain_os_errors(f"Making {output}", "Free space or choose another folder."):
        _remove_left_over(unfinished, output)
        try:
            yield unfinished
            sync_file_system(unfinished)
            refuse_existing(output)
            os.rename(unfinished, output)
            sync_directory(output.parent)
        except BaseException as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
                raise error.__cause__ from error  # the writer's advice is for recordings
            raise


def refuse_existing(output: Path) -> None:
    """Raises DatasetError when there is something at `output`; an empty folder is nothing."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DatasetError(f"{output} exists already; choose another output, or remove it first.")


def _remove_left_over(unfinished: Path, output: Path) -> None:
    if not unfinished.exists():
        return
    if not (_is_begun(unfinished) or (unfinished.is_dir() and all(map(_is_begun, unfinished.iterdir())))):
        raise DatasetError(f"{unfinished} is in the way and is not ours to remove; remove it, or choose another output.")
    for lock in [unfinished / layout.LOCK, *unfinished.glob(f"*/{layout.LOCK}")]:
        if lock.exists():
            WriterLock(lock, output).release()  # raises with the pid of the process that holds it
    shutil.rmtree(unfinished)


def _is_begun(folder: Path) -> bool:
    """Whether a folder is a dataset, at whatever moment its making was stopped."""
    return (folder / layout.PENDING).is_dir() or layout.is_ours(folder)
