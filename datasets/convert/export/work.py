"""The folder in which an export is made: it appears whole, and one that was interrupted goes on where it stopped."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from robolearn.core.errors import DatasetError
from robolearn.core.output import new_folders
from robolearn.core.progress import Progress
from robolearn.datasets.convert.unfinished import require_unfinished, unfinished_path
from robolearn.datasets.write.durable import (
    WriterLock,
    explain_os_errors,
    sync_directory,
    sync_file,
    sync_file_system,
    write_file,
)
from robolearn.datasets.write.output import refuse_existing

LOG = logging.getLogger(__name__)
STATE = "export.sha256"
LOCK = ".lock"


@dataclass(frozen=True)
class Part:
    """A file that can be made by itself: `make` writes a file of the name it is given."""

    path: Path
    make: Callable[[Path], None]


@dataclass(frozen=True)
class Work:
    """Where an exporter writes: `result` becomes the `output`, all else in `folder` is removed at the end."""

    folder: Path
    output: Path

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def has_parts(self) -> bool:
        """Whether a part was finished; unfinished ones have names that begin with a dot."""
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return any(not file.name.startswith(".") and file.parent != self.folder for file in files)

    @property
    def parts(self) -> Path:
        return self.folder / "parts"

    def clear_result(self) -> None:
        """Remove what an interrupted run assembled."""
        if self.result.is_dir():
            shutil.rmtree(self.result)
        self.result.unlink(missing_ok=True)

    def produce(self, parts: Sequence[Part], workers: int, progress: Progress) -> None:
        """Make the parts that are not there yet, `workers` at a time, in any order.

        A part appears under its name when it is complete and on stable storage: what exists needs no second look.
        """
        for folder in {part.path.parent for part in parts}:
            folder.mkdir(parents=True, exist_ok=True)
        missing = [part for part in parts if not part.path.exists()]
        done = len(parts) - len(missing)
        progress(done, len(parts))
        with ThreadPoolExecutor(workers, thread_name_prefix="export") as pool:
            try:
                for future in as_completed([pool.submit(_make, part) for part in missing]):
                    future.result()
                    done += 1
                    progress(done, len(parts))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _make(part: Part) -> None:
    unfinished = part.path.with_name(f".{part.path.name}.unfinished")
    part.make(unfinished)
    sync_file(unfinished)
    os.replace(unfinished, part.path)


def require_space(folder: Path, size: int) -> None:
    """Raises OSError when `folder` has no room for `size` bytes: for libraries that do not survive a full disk."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


@contextmanager
def work_folder(output: Path, fingerprint: str, resume: bool) -> Iterator[Work]:
    """Give `OUTPUT.unfinished` to work in; at the end its `result` is flushed to disk and becomes `output`.

    When the block raises, or the process dies, and some parts were made, the folder stays, and a call with `resume`
    and the same fingerprint finds them.

    Raises DatasetError when `output` exists, another process is making it, there is an unfinished export and `resume`
    is not given or the fingerprint has changed since, there is none and `resume` is given, or the disk is full.
    """
    refuse_existing(output)
    if resume:
        require_unfinished(output)
    folder = unfinished_path(output)
    remedy = "What is done so far is kept: free space or choose another folder, and go on with --resume."
    with explain_os_errors(f"Exporting to {output}", remedy), new_folders(folder):
        lock = WriterLock(folder / LOCK, output)
        work = Work(folder, output)
        try:
            _begin(work, fingerprint, resume)
            yield work
            sync_file_system(folder)
            refuse_existing(output)
            if output.is_dir() and not work.result.is_dir():
                output.rmdir()  # an empty one; a folder would take its place by itself
            os.rename(work.result, output)
            sync_directory(output.parent)
            shutil.rmtree(folder)
        except BaseException:
            if work.has_parts:
                LOG.warning("%s keeps what is done; the same command with --resume goes on from there.", folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            lock.release()


def _begin(work: Work, fingerprint: str, resume: bool) -> None:
    """Check what an interrupted export left, or say what is being made."""
    state = work.folder / STATE
    if not work.has_parts:
        write_file(state, fingerprint.encode())
    elif not resume:
        raise DatasetError(
            f"{work.folder} holds an unfinished export; go on with it with --resume, or remove it to start again."
        )
    elif not state.is_file() or state.read_text() != fingerprint:
        raise DatasetError(
            f"{work.folder} cannot be gone on with: the dataset, its labels or the options have changed; "
            "remove it to start again."
        )
