"""Child processes that never outlive their parent, and whose end is told in their own words."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

_PR_SET_PDEATHSIG = 1


def usable_cores() -> int:
    """Cores this process may use: fewer than the machine has inside a container or under `taskset`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """Ask the kernel to send this process SIGTERM when its parent ends, however that happens (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def python_child(module: str, arguments: Sequence[str], **popen: Any) -> subprocess.Popen:
    """Start `python -m module arguments`; the child calls `die_with_parent` through the environment.

    The child is put in its own process group, so that Ctrl-C reaches the parent only, which then stops its
    children in an orderly way.

    Call it from a thread that lives as long as the child should: to the kernel, the thread is the parent.
    """
    environment = {**os.environ, **popen.pop("env", {}), "ROBOLEARN_PARENT": str(os.getpid())}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], env=environment, start_new_session=True, **popen
    )


def adopt_parent_from_environment() -> None:
    """Called by child entry points: die with the parent that started us, also when it is gone already."""
    parent = os.environ.pop("ROBOLEARN_PARENT", None)
    if parent is None:
        return
    die_with_parent()
    if os.getppid() != int(parent):
        sys.exit("The parent process ended before this child had started.")


def stop_process(process: subprocess.Popen, timeout_s: float = 5.0) -> int:
    """SIGTERM, wait, then SIGKILL. Returns the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def end_in_words(status: int | None) -> str:
    """How a process ended: `exit status 3`, `killed by SIGKILL`; `still running` for None."""
    if status is None:
        return "still running"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class LastLine:
    """The last line that a child said on a stream of its, such as why it ends.

    The stream is read all the time: a child stops when a pipe that nobody reads is full.
    """

    _LONGEST = 4096

    def __init__(self, stream: IO[str]):
        self._line = ""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="child's stderr", daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            while text := stream.readline(self._LONGEST):
                self._line = text.strip() or self._line

    def text(self, wait_s: float = 1.0) -> str:
        """The line so far; of a child that has ended, what it said last. Empty when it said nothing."""
        self._thread.join(wait_s)
        return self._line.removeprefix("error: ")
