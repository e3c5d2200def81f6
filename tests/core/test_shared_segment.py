"""Real processes that own shared memory and die: what they leave goes, what others use stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn.core.errors import DeviceError
from robolearn.core.shared_segment import SharedSegment, _folder, remove_left_over

OWNER = """
import sys, time
from robolearn.core.shared_segment import SharedSegment
segment = SharedSegment.create(sys.argv[1], 8)
segment.buffer[:8] = b"12345678"
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def name(request):
    return f"robolearn_test_{os.getpid()}_{abs(hash(request.node.name)) % 10**8}"


@pytest.fixture
def owner(name):
    """A process that owns the segment `name`."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, name], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()
    remove_left_over()


def test_what_one_side_writes_the_other_reads(name):
    ours = SharedSegment.create(name, 8)
    theirs = SharedSegment.open(name)
    assert bytes(theirs.buffer) == bytes(8)
    ours.buffer[:] = b"abcdefgh"
    assert bytes(theirs.buffer) == b"abcdefgh"
    theirs.close()
    ours.close()
    ours.close()
    with pytest.raises(FileNotFoundError):
        SharedSegment.open(name)


def test_the_segment_of_a_killed_process_is_removed_when_the_next_is_made(name, owner):
    path = _folder() / name
    assert path.exists()
    owner.kill()
    owner.wait()
    SharedSegment.create(f"{name}_next", 8).close()
    assert not path.exists()


def test_a_neighbour_that_lives_keeps_its_segment_even_while_it_stands_still(name, owner):
    owner.send_signal(signal.SIGSTOP)
    assert name not in remove_left_over()
    segment = SharedSegment.open(name)
    assert bytes(segment.buffer) == b"12345678"
    assert segment.owner_alive
    segment.close()
    with pytest.raises(DeviceError, match="in use by a running process"):
        SharedSegment.create(name, 8)
    owner.kill()
    owner.wait()
    again = SharedSegment.create(name, 8)  # the name is free again
    assert bytes(again.buffer) == bytes(8)
    again.close()


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_segment(name):
    """A child is started with a segment open: it inherits neither the segment nor its lock."""
    program = OWNER.replace("time.sleep(60)", "subprocess.Popen(['sleep', '5'])\nimport os; os._exit(1)")
    owner = subprocess.Popen(
        [sys.executable, "-c", "import subprocess\n" + program, name],
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    owner.wait()
    remove_left_over()  # or that of a program that starts just now
    assert not SharedSegment.exists(name)
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()


def test_files_of_others_in_the_same_folder_are_left_alone(name):
    foreign, empty = _folder() / f"{name}_foreign", _folder() / f"{name}_empty"
    folder, link = _folder() / f"{name}_folder", _folder() / f"{name}_link"
    foreign.write_text("somebody's data")
    empty.touch()  # left by a process that was killed while it made a segment
    folder.mkdir()
    link.symlink_to(foreign)
    try:
        remove_left_over()
        assert not empty.exists()
        assert foreign.read_text() == "somebody's data"
        assert folder.is_dir() and link.is_symlink()
        with pytest.raises(FileNotFoundError):
            SharedSegment.open(foreign.name)
        with pytest.raises(DeviceError, match="in use"):
            SharedSegment.create(foreign.name, 8)
    finally:
        foreign.unlink()
        link.unlink()
        folder.rmdir()


def test_a_fork_of_the_owner_does_not_remove_the_segment(name):
    segment = SharedSegment.create(name, 8)
    child = os.fork()
    if child == 0:
        segment.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert name not in remove_left_over()
    SharedSegment.open(name).close()
    segment.close()


def test_memory_that_cannot_be_had_is_one_line_and_leaves_nothing(name):
    with pytest.raises(DeviceError, match=f"Shared memory for '{name}' could not be had: ") as caught:
        SharedSegment.create(name, 1 << 50)
    assert "\n" not in str(caught.value)
    assert not (_folder() / name).exists()


def test_a_name_that_is_not_ours_is_refused():
    with pytest.raises(DeviceError, match="begins with 'robolearn_', found 'x'"):
        SharedSegment.create("x", 8)
    assert not Path("/dev/shm/x").exists()
