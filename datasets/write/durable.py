"""Files that survive a crash: atomic replacement, flushing a file system, and the lock of the one writer."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robolearn.core.errors import DatasetError
from robolearn.core.lock import FileLock, HeldError


def write_file(path: Path, data: bytes | memoryview, exclusive: bool = False) -> None:
    """Write a whole new file. Not atomic: for files that nobody can see yet.

    Raises OSError; FileExistsError for a file that is there already, where it has to be new (`exclusive`).
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_EXCL if exclusive else os.O_TRUNC), 0o644)
    try:
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Return when everything written so far to the file system of `path` is on stable storage.

    One call instead of an fsync per file: an episode with images has hundreds of small files.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Return when the content of a file is on stable storage."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the entries (renames, new names) of a directory are on stable storage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: str, target: str) -> None:
    """Make `target` hold what `source` holds, replacing it: a hard link where possible, else a copy."""
    try:
        os.link(source, target)
    except FileExistsError:
        os.unlink(target)
        link_or_copy(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS):
            raise
        write_file(Path(target), Path(source).read_bytes())


@contextmanager
def explain_os_errors(action: str, remedy: str) -> Iterator[None]:
    """Turn an OSError (disk full, permission) into one line: what was being done, what happened, what to do."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise DatasetError(f"{action} failed: {error.strerror or error}{where}. {remedy}") from error


class WriterLock(FileLock):
    """At most one writer a dataset, on one machine and between machines.

    Raises DatasetError naming the process that holds it.
    """

    def __init__(self, path: Path, dataset: Path):
        try:
            super().__init__(path)
        except HeldError as error:
            raise DatasetError(f"{dataset} is being written by {error.holder}; {error.holder.remedy}") from error
