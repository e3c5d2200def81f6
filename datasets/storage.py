"""Files that survive a crash: atomic replacement, flushing a file system, and the lock of the one writer."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robolearn.core.errors import DatasetError


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


class WriterLock:
    """At most one writer a dataset, on one machine and between machines where the file system has flock.

    Raises DatasetError naming the process that holds it.
    """

    def __init__(self, path: Path, dataset: Path):
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise DatasetError(
                f"{dataset} is being written by process {holder}; wait for it, or stop it with: kill -INT {holder}"
            ) from error
        except OSError:  # a file system without locks
            os.close(self._descriptor)
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    @property
    def released(self) -> bool:
        return self._descriptor < 0

    def release(self) -> None:
        """Let the next writer in. Unlocks explicitly: forked children may still hold the descriptor open."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1


def lock_holder(path: Path) -> str | None:
    """The process that holds a `WriterLock`, or None. Writes nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(descriptor)  # lets the lock go, too
    return None
