"""Running the project's own verbs one after the other: each in a process of its own, timed, with memory watched."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from robolearn.core.errors import RobolearnError
from robolearn.core.process import end_in_words, python_child, stop_process
from robolearn.evaluation.pages.demo import Stage

_SAVING_S = 30.0  # for a stage that is stopped to save what it has


class MemoryWatch:
    """Samples how much memory this process and everything below it hold at once.

    Counts proportional set size, so pages shared by several processes count once (Linux; 0 elsewhere).
    """

    def __init__(self, interval_s: float = 0.5):
        self.peak_bytes = 0
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_gb(self) -> float:
        return self.peak_bytes / 1e9

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.peak_bytes = max(self.peak_bytes, tree_memory_bytes(os.getpid()))


def tree_memory_bytes(root: int) -> int:
    """Proportional set size of process `root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # ended while we looked
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            continue
    return total


class StageRunner:
    """Runs verbs as `python -m robolearn VERB ...` and remembers what was typed and how long it took."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def run(self, name: str, arguments: Sequence[str], statuses: Sequence[int] = (0,)) -> int:
        """Run one verb to its end, its output shown, and return its exit status.

        Raises RobolearnError when that is none of `statuses`: the verb has failed.
        """
        command = self._announce(name, arguments)
        start = time.monotonic()
        process = python_child("robolearn", arguments)
        try:
            status = process.wait()
        except BaseException:
            stop_process(process, _SAVING_S)
            raise
        if status not in statuses:
            raise RobolearnError(f"The stage {name!r} ended ({end_in_words(status)}); its last lines above say why.")
        self.stages.append(Stage(name, command, time.monotonic() - start))
        return status

    @contextmanager
    def serving(self, arguments: Sequence[str], timeout_s: float = 60.0) -> Iterator[str]:
        """Run a policy server around a block; gives its address once it listens."""
        command = self._announce("serve", arguments)
        start = time.monotonic()
        process = python_child("robolearn", arguments, stdout=subprocess.PIPE, text=True)
        try:
            yield _address(process, timeout_s)
        except RobolearnError as error:
            if process.poll() is None:
                raise
            words = f"The policy server ended ({end_in_words(process.returncode)}); its lines above say why."
            raise RobolearnError(words) from error
        finally:
            stop_process(process)
            self.stages.append(Stage("serve", command, time.monotonic() - start))

    def _announce(self, name: str, arguments: Sequence[str]) -> str:
        command = shlex.join(["robolearn", *arguments])
        print(f"\n== {name}: {command}", flush=True)
        return command


def _address(process: subprocess.Popen, timeout_s: float) -> str:
    """The address in the server's line "listening on ws://..."; its other lines are passed on."""
    found: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if "listening on " in line and not found:
                found.append(line.split("listening on ", 1)[1].split()[0])
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    if not ready.wait(timeout_s):
        raise RobolearnError(f"The policy server did not listen within {timeout_s:.0f} s; the machine may be too busy.")
    if not found:
        process.wait()
        raise RobolearnError("The policy server ended before it listened.")
    return found[0]
