"""A wheel as a container of files: taken once, with pip, whole, and only if it is the very file."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from robolearn.core.errors import MissingDependencyError
from robolearn.kinematics import wheel as module
from robolearn.kinematics.wheel import PinnedWheel

ARM, MESH = "arm.xml", "meshes/link.stl"
NAME = "tiny_robot-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: tiny-robot\nVersion: 1.0\n"
TAG = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes packages from instead of the network, with one wheel in it; and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        for name, content in (
            ("tiny_robot/assets/arm.xml", "<mujoco/>"), ("tiny_robot/assets/meshes/link.stl", "solid"),
            ("tiny_robot/assets/large.obj", "v 0 0 0"), ("tiny_robot/__init__.py", "raise SystemExit('imported')"),
            ("tiny_robot-1.0.dist-info/METADATA", METADATA), ("tiny_robot-1.0.dist-info/WHEEL", TAG),
            ("tiny_robot-1.0.dist-info/RECORD", ""),
        ):  # fmt: skip
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("ROBOLEARN_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def pinned(index):
    sha256 = hashlib.sha256((index / NAME).read_bytes()).hexdigest()
    return PinnedWheel("tiny-robot", "1.0", NAME, sha256, 1, "tiny_robot/assets")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def kept(pinned, index, cache, monkeypatch):
    """The wheel, put into the cache by hand; pip cannot be called."""
    (cache / "wheels").mkdir(parents=True)
    (index / NAME).rename(cache / "wheels" / NAME)
    monkeypatch.setattr(module.subprocess, "run", None)
    return pinned


def contents(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.slow
def test_the_wheel_is_downloaded_once(pinned, cache, capsys, monkeypatch):
    left = cache / "wheels" / f"{module._PART}abc"
    left.mkdir(parents=True)
    (left / NAME).write_bytes(b"half of it, from a process that was killed")
    folder = pinned.folder((ARM,))
    assert contents(folder) == {ARM: "<mujoco/>"}
    assert sorted(os.listdir(cache / "wheels")) == [NAME, f"{NAME}.lock"]
    told = capsys.readouterr()
    assert told.out == "" and told.err == (
        f"Downloading {NAME} (1 MB) into {cache / 'wheels'}: once, for its robot models.\n"
    )
    monkeypatch.setattr(module.subprocess, "run", None)
    assert contents(pinned.folder((ARM, MESH))) == {ARM: "<mujoco/>", MESH: "solid"}


def test_what_is_asked_for_is_extracted_and_nothing_else(kept):
    assert contents(kept.folder((ARM, MESH))) == {ARM: "<mujoco/>", MESH: "solid"}


def test_what_was_extracted_needs_no_wheel(kept, cache):
    first = kept.folder((ARM,))
    (cache / "wheels" / NAME).unlink()
    assert kept.folder((ARM,)) == first


@pytest.mark.slow
def test_another_file_from_the_index_is_refused_and_not_kept(pinned, cache):
    with pytest.raises(MissingDependencyError, match=r"gave another file for tiny-robot 1\.0.*expected 00000000000"):
        replace(pinned, sha256="0" * 64).folder((ARM,))
    assert not list(cache.rglob("*.whl")) and not list(cache.rglob("*.xml"))


def test_a_changed_wheel_in_the_cache_is_refused_before_anything_is_read(kept, cache):
    with (cache / "wheels" / NAME).open("ab") as file:
        file.write(b"more")
    with pytest.raises(MissingDependencyError, match=r"not the published file.*remove it and type: pip download"):
        kept.folder((ARM,))
    assert not list(cache.rglob("*.xml"))


@pytest.mark.slow
def test_without_an_index_one_line_says_what_to_do(pinned, index, cache):
    (index / NAME).unlink()
    with pytest.raises(MissingDependencyError) as refused:
        pinned.folder((ARM,))
    told = str(refused.value)
    assert "(pip: ERROR: No matching distribution found for tiny-robot==1.0)" in told
    assert told.endswith(f"type: pip download --no-deps tiny-robot==1.0, and copy the file into {cache / 'wheels'}")
    assert "\n" not in told


def test_a_python_without_pip_is_told_the_same(pinned, monkeypatch, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no site-packages, hence no pip
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(MissingDependencyError, match=r"No module named pip\)\. Try again"):
        pinned.folder((ARM,))


@pytest.mark.parametrize("blocked", ["wheels", "models"])
def test_a_cache_that_cannot_be_written_is_named(kept, cache, blocked):
    shutil.rmtree(cache / blocked, ignore_errors=True)
    (cache / blocked).write_text("a file where a folder should be")
    with pytest.raises(MissingDependencyError, match=r"cannot be kept in .*set ROBOLEARN_CACHE"):
        kept.folder((ARM,))


def test_a_cache_of_an_impossible_name_is_named(kept, monkeypatch):
    monkeypatch.setenv("ROBOLEARN_CACHE", "x" * 300)
    with pytest.raises(MissingDependencyError, match=r"cannot be kept in .*File name too long.*set ROBOLEARN_CACHE"):
        kept.folder((ARM,))


def test_what_a_killed_extraction_left_is_removed_by_the_next(kept, cache):
    folder = kept.folder((ARM,))
    left = folder / ".download-killed"
    left.write_bytes(b"<muj")
    kept.folder((ARM, MESH))
    assert not left.exists() and contents(folder) == {ARM: "<mujoco/>", MESH: "solid"}


def test_a_file_that_the_wheel_lacks_is_left_to_whoever_asked(kept):
    assert contents(kept.folder((ARM, "no_such.xml"))) == {ARM: "<mujoco/>"}


@pytest.mark.slow
def test_processes_that_ask_at_once_download_once(pinned, index, cache):
    program = f"from robolearn.kinematics.wheel import PinnedWheel; print({pinned!r}.folder(({ARM!r}, {MESH!r})))"
    asking = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [process.communicate(timeout=120) for process in asking]
    assert [process.returncode for process in asking] == [0, 0, 0], told
    assert len({out for out, _ in told}) == 1
    assert sum("Downloading" in err for _, err in told) == 1
    assert contents(Path(told[0][0].strip())) == {ARM: "<mujoco/>", MESH: "solid"}
