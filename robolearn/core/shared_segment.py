"""Named shared memory that says whether its owner lives, and that a killed owner does not leave behind for ever.

A segment is a file in memory (/dev/shm) that its owner keeps locked. However a process ends, the kernel lets the lock
go: a segment whose lock is free belongs to nobody any more. That holds across containers that share /dev/shm, where
process ids mean nothing. Every new segment first removes those that killed processes left.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import tempfile
from pathlib import Path

from robolearn.core.errors import DeviceError
from robolearn.core.files import is_still_named

PREFIX = "robolearn_"
_MAGIC = b"robolearn shared segment".ljust(32, b"\0")
_MEMORY = Path("/dev/shm")


def _folder() -> Path:
    return _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())


class SharedSegment:
    """`size` bytes that processes share by name, all zero at first; `buffer` is where they are.

    Create with `SharedSegment.create` in the process that owns it, which removes it on `close`, and open with
    `SharedSegment.open` anywhere else. Names begin with `robolearn_`.
    """

    def __init__(self, path: Path, descriptor: int, owner: bool):
        self.name = path.name
        self._path = path
        self._descriptor = descriptor
        # a fork of the owner holds a copy of this object but must not remove the segment
        self._owner_pid = os.getpid() if owner else None
        self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self.buffer = memoryview(self._map)[len(_MAGIC) :]

    @classmethod
    def create(cls, name: str, size: int) -> SharedSegment:
        """Make a segment, in place of one of this name whose owner is dead.

        Raises DeviceError when its owner lives, when the name is another program's, or when memory is full.
        """
        if not name.startswith(PREFIX):
            raise DeviceError(f"A shared segment's name begins with {PREFIX!r}, found {name!r}.")
        remove_left_over()
        path = _folder() / name
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            except FileExistsError as error:
                raise DeviceError(f"The shared segment {path} is in use by a running process.") from error
            except OSError as error:
                raise _no_memory(path, error) from error
            with contextlib.suppress(OSError):  # a file system without locks: its segments are never left over
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(path, descriptor):
                break
            os.close(descriptor)  # taken for a left-over before it was locked
        try:
            _reserve(descriptor, len(_MAGIC) + size)
            os.pwrite(descriptor, _MAGIC, 0)
            return cls(path, descriptor, owner=True)
        except OSError as error:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise _no_memory(path, error) from error

    @classmethod
    def open(cls, name: str) -> SharedSegment:
        """Attach to a segment. Raises FileNotFoundError when there is none, or not yet a complete one."""
        path = _folder() / name
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        if os.pread(descriptor, len(_MAGIC), 0) != _MAGIC:
            os.close(descriptor)
            raise FileNotFoundError(f"{path} is no shared segment, or not yet")
        return cls(path, descriptor, owner=False)

    @staticmethod
    def exists(name: str) -> bool:
        """Whether there is a segment of this name, whoever owns it."""
        return (_folder() / name).exists()

    @property
    def owner_alive(self) -> bool:
        """Whether the process that made it still has it; True as well where the file system cannot say."""
        if self._owner_pid is not None:
            return True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Detach; the owner also removes the segment. No view of `buffer` may be left. Safe to call twice."""
        if self._descriptor < 0:
            return
        if self._owner_pid == os.getpid() and _is(self._path, self._descriptor):
            self._path.unlink(missing_ok=True)
        self.buffer.release()
        self._map.close()
        os.close(self._descriptor)
        self._descriptor = -1


def remove_left_over() -> list[str]:
    """Remove the segments whose owners have died without doing so, and return their names. No living owner's goes."""
    removed = []
    for path in _folder().glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # another user's, a folder, or just removed
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # an empty one was left by who was killed while making it
            if _is(path, descriptor) and os.pread(descriptor, len(_MAGIC), 0) in (_MAGIC, b""):
                path.unlink()
                removed.append(path.name)
        except OSError:  # its owner lives, or nobody can say
            pass
        finally:
            os.close(descriptor)
    return removed


def _no_memory(path: Path, error: OSError) -> DeviceError:
    reason = (error.strerror or str(error)).lower()
    return DeviceError(f"Shared memory for {path.name!r} could not be had: {reason} ({path.parent}).")


def _is(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the plain file behind `descriptor`."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode) and is_still_named(path, descriptor, follow_links=False)


def _reserve(descriptor: int, size: int) -> None:
    """Make the file `size` bytes long, and have them: full memory would else kill who first writes there (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
