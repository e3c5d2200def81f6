"""A new folder that appears whole or not at all: what every maker of datasets writes into."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robolearn.core.errors import DatasetError
from robolearn.core.lock import is_lock_file
from robolearn.core.output import new_folders
from robolearn.datasets.write.durable import WriterLock, explain_os_errors, sync_directory, sync_file_system
from robolearn.datasets.write.output import refuse_existing

LOCK, RESULT = "lock", "result"


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give a folder in `OUTPUT.unfinished` to make and write into; at the end it is flushed and renamed to `output`.

    When the block raises, or is interrupted, nothing stays. What an earlier process that was killed left under that
    name is removed first.

    Raises DatasetError when `output` exists, another process is making it, something else has the name of the
    unfinished (a conversion to go on with, a folder of the user's), or the disk is full.
    """
    output = Path(output)
    refuse_existing(output, "output")
    unfinished = output.with_name(output.name + ".unfinished")
    result = unfinished / RESULT
    with explain_os_errors(f"Making {output}", "Free space or choose another folder."), new_folders(unfinished):
        if not all(name == RESULT or is_lock_file(name, LOCK) for name in os.listdir(unfinished)):
            raise DatasetError(
                f"{unfinished} is in the way and is not ours to remove; remove it, or choose another output."
            )
        lock = WriterLock(unfinished / LOCK, output)
        try:
            refuse_existing(output, "output")  # made while we came for the lock
            shutil.rmtree(result, ignore_errors=True)
            yield result
            sync_file_system(result)
            refuse_existing(output, "output")
            os.rename(result, output)
            sync_directory(output.parent)
        except BaseException as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EFBIG,
            ):
                raise error.__cause__ from error  # the writer's advice is for recordings
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            lock.release()
