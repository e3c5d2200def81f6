"""Where a command writes: refused before the work, held by one, and nothing left of what failed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from robolearn.core.errors import ConfigError
from robolearn.core.files import write_text
from robolearn.core.output import check_output, held_output, new_folders, refuse_held

HOLD = """
import sys, time
from pathlib import Path
from robolearn.core.output import held_output
with held_output(Path(sys.argv[1]), is_file=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_link_to_nowhere_is_found_at_once(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "runs")
    for output in (tmp_path / "out", tmp_path / "out" / "a" / "b"):
        with pytest.raises(ConfigError, match=rf"out is a link to {tmp_path}/disk/runs, which does not exist; make"):
            check_output(output)


def test_a_full_disk_leaves_nothing_and_is_told_with_the_place(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no file may grow
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match="run/.lock"), held_output(tmp_path / "a" / "run"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(ConfigError, match="notes is a file, expected a folder; choose another --output"):
        check_output(tmp_path / "notes")
    with pytest.raises(ConfigError, match="b cannot be made: .*/notes is a file, expected a folder"):
        check_output(tmp_path / "notes" / "a" / "b", "--dataset")
    check_output(tmp_path / "notes", is_file=True)
    with pytest.raises(ConfigError, match="is a folder, expected the name of a file"):
        check_output(tmp_path, is_file=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write everywhere
    with pytest.raises(ConfigError, match=rf"b cannot be written: {tmp_path} is read-only, or not yours"):
        check_output(tmp_path / "a" / "b")


def test_a_link_to_a_folder_is_a_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with held_output(tmp_path / "out" / "run"):
        assert (tmp_path / "disk" / "run").is_dir()


def test_folders_of_what_failed_go_and_others_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ZeroDivisionError), new_folders(tmp_path / "mine" / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]
    with pytest.raises(FileNotFoundError), new_folders(tmp_path / "mine" / "a" / "b"):
        (tmp_path / "mine" / "a" / "b").rename(tmp_path / "mine" / "a" / "results").joinpath("none").read_text()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "mine", "results"]


@pytest.mark.parametrize("is_file", [False, True])
def test_two_do_not_write_into_one_place_and_a_killed_one_is_not_in_the_way(tmp_path, is_file):
    output = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(output), *(["file"] if is_file else [])], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    told = (
        rf"out is being written by process {child.pid}; wait for it, or stop it with: kill -INT {child.pid}, or choose"
    )
    with pytest.raises(ConfigError, match=told), held_output(output, is_file=is_file):
        pass
    if not is_file:
        with pytest.raises(ConfigError, match=told):
            refuse_held(output)
    child.kill()
    child.wait()
    refuse_held(output)
    with held_output(output, is_file=is_file):
        pass
    assert list(tmp_path.rglob("*")) == ([] if is_file else [output])


def test_what_failed_leaves_neither_folder_nor_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), held_output(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_whole_stays_what_it_was(tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    write_text(file, "old")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (full.write("x" * 10**5), full.flush()))
        with pytest.raises(OSError, match="No space left on device") as error:
            write_text(file, "new")
    assert error.value.filename == str(file)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
