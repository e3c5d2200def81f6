"""`FileLock`: one process at a time, also where the file system has no locks.

Where flock works it is used: the kernel lets go of it however its holder ends. Some network and foreign file systems
have none. There a process that wants the lock puts a *claim* beside the file, whose name says who it is, and has the
lock when no claim of another living process is there:

    .lock
    .lock@4711-8812345-7f3a@cell-2@c0ffee12@1b2c3d4e@5e6f7a8b   process, its start; host, machine, boot, namespace

Two that come at once see each other, withdraw and try again. A claim is removed by whoever finds its process dead,
which can be told on the same machine only; nobody else ever makes one of that name, so no living claim is removed.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import random
import re
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from robolearn.core.errors import RobolearnError
from robolearn.core.files import is_still_named

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO)
_TRIES, _PAUSE_S = 6, 0.03  # one that is only looking, or comes at the same moment, is gone by then
_WAIT_S = 30.0


@dataclass(frozen=True)
class Holder:
    """A process that has a lock.

    Attributes:
        pid: "" where it has not said yet.
        host: its name.
        claim: the file to remove where that process can no longer be; None where the lock goes by itself.
    """

    pid: str
    host: str
    claim: Path | None = None

    def __str__(self) -> str:
        """`process 4711`, and on which host if that is another."""
        if not self.pid:
            return "another process"
        return f"process {self.pid}" + (f" on {self.host}" if self.is_elsewhere else "")

    @property
    def is_elsewhere(self) -> bool:
        return bool(self.host) and self.host != _host()

    @property
    def remedy(self) -> str:
        """What to do, as the end of a sentence."""
        if self.is_elsewhere or not self.pid:
            stop = "stop it there" if self.pid else "try again"
        else:
            stop = f"stop it with: kill -INT {self.pid}"
        gone = f" (if it no longer runs, remove {self.claim})" if self.claim is not None and self.is_elsewhere else ""
        return f"wait for it, or {stop}{gone}"


class HeldError(RobolearnError):
    """Somebody else has the lock.

    Attributes:
        holder: who.
    """

    def __init__(self, holder: Holder):
        super().__init__(f"It is held by {holder}; {holder.remedy}")
        self.holder = holder


class FileLock:
    """The lock of a file, which is made where it is missing. Release it; the death of the process does so, too.

    Args:
        path: of the file.
        wait: for others who have it, instead of being refused.
        sign: write process and host into the file, for those who are refused. Its content is lost.

    Raises HeldError when somebody else has it, OSError with the file's name when that cannot be opened or written.

    Attributes:
        descriptor: of the open file.
    """

    def __init__(self, path: Path, wait: bool = False, sign: bool = True):
        self._path, self._sign, self._pid = path, sign, os.getpid()
        self._claim: Path | None = None
        self.descriptor = -1
        self._until_free(wait)
        try:
            if sign:
                os.ftruncate(self.descriptor, 0)
                os.pwrite(self.descriptor, f"{self._pid} {_host()}\n".encode(), 0)
        except BaseException as error:
            self.release(remove=True)
            if isinstance(error, OSError):  # of a full disk, which tells no name
                error.filename = str(path)
            raise

    def _until_free(self, wait: bool) -> None:
        give_up_s = time.monotonic() + _WAIT_S
        tries = 0
        while (holder := self._try(wait)) is not None:
            tries += 1
            if (not wait and tries >= _TRIES) or time.monotonic() > give_up_s:
                raise HeldError(holder)
            if not wait and holder.pid and holder.claim is None:
                raise HeldError(holder)  # it says who it is: it is there to stay
            time.sleep(_PAUSE_S * (1 + random.random()))

    def _try(self, wait: bool) -> Holder | None:
        """Take the lock, or say who has it."""
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            holder = self._take(wait)
            # the file may have been removed, or replaced, while we came
            if holder is None and not is_still_named(self._path, self.descriptor):
                holder = Holder("", "")
        except BaseException:
            self._let_go()
            raise
        if holder is not None:
            self._let_go()
        return holder

    def _take(self, wait: bool) -> Holder | None:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return _signed(self.descriptor) if self._sign else Holder("", "")
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            claim = self._path.with_name(_claim_name(self._path.name))
            os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            self._claim = claim
        return next(iter(_living_claims(self._path, but=self._claim)), None)

    @property
    def released(self) -> bool:
        return self.descriptor < 0

    def release(self, remove: bool = False) -> None:
        """Let the next one in; with `remove`, the file goes, too. A second time, or in a forked child, nothing."""
        if self.descriptor < 0 or os.getpid() != self._pid:
            return
        with suppress(OSError):
            if remove:
                os.unlink(self._path)
            elif self._sign:
                os.ftruncate(self.descriptor, 0)
        self._let_go()

    def _let_go(self) -> None:
        if self._claim is not None:
            self._claim.unlink(missing_ok=True)
            self._claim = None
        with suppress(OSError):  # explicitly: forked children may still hold the descriptor open
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)
        self.descriptor = -1


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock of a file, or None. Writes nothing but to remove claims of the dead."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _signed(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(descriptor)  # lets the lock go, too
    return next(iter(_living_claims(path)), None)


def is_lock_file(name: str, lock: str) -> bool:
    """Whether a file name is that of the lock, or of a claim of it."""
    return name == lock or name.startswith(f"{lock}@")


def _signed(descriptor: int) -> Holder:
    """Who has written into the file."""
    words = os.pread(descriptor, 300, 0).decode(errors="replace").split()
    return Holder(words[0] if words else "", words[1] if len(words) > 1 else _host())


def _claim_name(lock: str) -> str:
    pid = os.getpid()
    us = (f"{pid}-{_started(pid)}-{secrets.token_hex(2)}", _host(), _machine(), _boot(), _namespace())
    return "@".join((lock, *us))


def _living_claims(path: Path, but: Path | None = None) -> list[Holder]:
    """Others that claim the lock of a file; claims of the dead are removed."""
    found = []
    for name in sorted(os.listdir(path.parent)):
        file = path.with_name(name)
        if not name.startswith(f"{path.name}@") or file == but:
            continue
        process, host, *place = [*name.split("@")[1:], "", "", "", "", ""][:5]
        pid, _, started = process.rpartition("-")[0].partition("-")
        if _is_dead(pid, started, host, place):
            with suppress(OSError):  # of a file system that cannot be written it stays
                file.unlink()
        else:
            found.append(Holder(pid, host, file))
    return found


def _is_dead(pid: str, started: str, host: str, place: list[str]) -> bool:
    """Whether a process is known to have ended: of another machine, or another container, nothing is known."""
    machine, boot, namespace = place
    if (host, machine) != (_host(), _machine()):
        return False
    if boot != _boot():
        return bool(machine)  # this very machine has been started anew
    return namespace == _namespace() and pid.isdigit() and _started(int(pid)) != started


def _started(pid: int) -> str | None:
    """When a process began, as the kernel counts; None when there is no such process any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)  # a system without /proc
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"


def _read(file: str) -> str:
    with suppress(OSError):
        return Path(file).read_text().strip()
    return ""


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8] if text else ""


@functools.cache
def _host() -> str:
    return re.sub(r"[^\w.-]", "-", socket.gethostname()) or "unknown"


@functools.cache
def _machine() -> str:
    return _mark(_read("/etc/machine-id"))


@functools.cache
def _boot() -> str:
    return _mark(_read("/proc/sys/kernel/random/boot_id"))


@functools.cache
def _namespace() -> str:
    with suppress(OSError):
        return _mark(os.readlink("/proc/self/ns/pid"))
    return ""
