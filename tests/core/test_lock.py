"""One process at a time, with flock and without: a claim beside the file stands for the lock there."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from robolearn.core import lock as locks
from robolearn.core.lock import FileLock, HeldError, holder_of

NO_FLOCK = "import errno, fcntl\ndef no(*a): raise OSError(errno.ENOLCK, 'No locks available')\nfcntl.flock = no\n"
HOLD = "import sys, time\nfrom pathlib import Path\nfrom robolearn.core.lock import FileLock\n"
HOLD += "lock = FileLock(Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(60)\n"


@pytest.fixture(params=["flock", "claims"])
def file_system(request, monkeypatch) -> str:
    """The program text that makes a child see the same kind of file system."""
    if request.param == "flock":
        return ""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_TRIES", 2)
    return NO_FLOCK


def holding_child(file_system: str, path: Path) -> subprocess.Popen:
    child = subprocess.Popen([sys.executable, "-c", file_system + HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    return child


def test_the_second_is_told_the_first_and_gets_the_lock_when_that_is_killed(file_system, tmp_path):
    path = tmp_path / ".lock"
    child = holding_child(file_system, path)
    with pytest.raises(HeldError) as refused:
        FileLock(path)
    assert str(refused.value.holder) == f"process {child.pid}"
    assert refused.value.holder.remedy == f"wait for it, or stop it with: kill -INT {child.pid}"
    assert str(holder_of(path)) == f"process {child.pid}"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert holder_of(path) is None
    FileLock(path).release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_free_after_its_release_and_a_second_release_takes_it_from_nobody(file_system, tmp_path):
    first = FileLock(tmp_path / ".lock")
    first.release()
    second = FileLock(tmp_path / ".lock")
    first.release()
    with pytest.raises(HeldError):
        FileLock(tmp_path / ".lock")
    second.release()
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_one_that_is_refused_leaves_nothing(file_system, tmp_path):
    held = FileLock(tmp_path / ".lock")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(HeldError):
        FileLock(tmp_path / ".lock")
    assert sorted(tmp_path.iterdir()) == before
    held.release()


def test_a_forked_child_lets_nobody_in(file_system, tmp_path):
    held = FileLock(tmp_path / ".lock")
    if (pid := os.fork()) == 0:
        held.release(remove=True)
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(HeldError):
        FileLock(tmp_path / ".lock")
    held.release()


def test_those_who_wait_get_it_one_after_the_other(file_system, tmp_path):
    """A counter that is read, and written with one more, as many times as threads have had their turn."""
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count():
        for _ in range(5):
            lock = FileLock(tmp_path / "journal", wait=True, sign=False)
            number = int(counter.read_text())
            counter.write_text("")
            counter.write_text(str(number + 1))
            lock.release()

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "15"


def test_a_file_that_was_removed_while_one_came_for_it_is_made_again(monkeypatch, tmp_path):
    path = tmp_path / ".lock"
    first = FileLock(path)
    taken = fcntl.flock
    calls = []

    def flock(descriptor, operation):
        if not calls:  # the second has opened the file; now the first removes it
            calls.append(operation)
            monkeypatch.setattr(fcntl, "flock", taken)
            first.release(remove=True)
        return taken(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = FileLock(path)
    assert path.exists()
    with pytest.raises(HeldError):
        FileLock(path)
    second.release()


def claim(path: Path, process: str, host: str | None = None, boot: str | None = None, space: str | None = None) -> Path:
    us = (process, host or locks._host(), locks._machine(), boot or locks._boot(), space or locks._namespace())
    file = path.with_name("@".join((path.name, *us)))
    file.touch()
    return file


@pytest.mark.parametrize(
    ("whose", "lives"),
    [
        ({"process": "1-1-aaaa"}, False),  # another process has that number now
        ({"process": f"{2**22 + 1}-7-aaaa"}, False),  # no process can have it
        ({"process": "1-1-aaaa", "host": "other-host"}, True),
        ({"process": "1-1-aaaa", "space": "another container"}, True),
    ],
)
def test_claims_go_with_their_process_as_far_as_that_can_be_known(tmp_path, whose, lives):
    file = claim(tmp_path / ".lock", **whose)
    (tmp_path / ".lock").touch()
    holder = holder_of(tmp_path / ".lock")
    assert file.exists() == lives == (holder is not None)
    if "host" in whose:
        assert str(holder) == "process 1 on other-host"
        assert holder.remedy == f"wait for it, or stop it there (if it no longer runs, remove {file})"


@pytest.mark.parametrize("machine", ["", "0123abcd"])
def test_a_claim_of_before_the_machine_was_started_anew_goes_where_the_machine_is_known(tmp_path, monkeypatch, machine):
    monkeypatch.setattr(locks, "_machine", lambda: machine)
    file = claim(tmp_path / ".lock", "1-1-aaaa", boot="before")
    (tmp_path / ".lock").touch()
    assert (holder_of(tmp_path / ".lock") is None) == (machine != "")
    assert file.exists() == (machine == "")


def test_a_claim_keeps_those_away_whose_file_system_has_flock(tmp_path):
    claim(tmp_path / ".lock", "1-1-aaaa", host="other-host")
    with pytest.raises(HeldError, match="process 1 on other-host"):
        FileLock(tmp_path / ".lock")
