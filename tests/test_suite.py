"""The suite itself: its parts (tools/test.sh), and that nothing depends on real time unseen."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PARTS = """
    import time
    import pytest

    @pytest.fixture
    def wall_clock(real_time): ...

    def test_plain(): ...

    def test_by_its_fixture(wall_clock): time.sleep(0.001)

    @pytest.mark.realtime
    def test_by_its_mark(): time.sleep(0.001)

    @pytest.mark.slow
    def test_slow(): ...
"""
UNSEEN = """
    import time
    import pytest
    from robolearn.hardware.simulated_cell import SimulatedCell

    def test_that_sleeps():
        for _ in range(2):
            time.sleep(0.001)

    def test_that_waits():
        tries = 0
        while tries < 2:
            time.sleep(0.001)
            tries += 1

    def test_with_a_cell():
        SimulatedCell("put_on_plate").start()

    @pytest.mark.parametrize("cell", [1])
    def test_without_a_cell(cell): ...
"""


@pytest.fixture
def run(tmp_path):
    """Runs pytest on the text of a test file beside a copy of our settings; gives outcomes by test, and the output."""

    def run(text: str, *options: str, more_settings: str = "") -> tuple[dict[str, str], str]:
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        (tmp_path / "tests").mkdir(exist_ok=True)
        (tmp_path / "tests" / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text() + more_settings)
        (tmp_path / "tests" / "test_it.py").write_text(text.replace("\n    ", "\n"))
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they are many
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        return dict(re.findall(r"test_it\.py::(\w+)\S* (PASSED|FAILED)", done.stdout)), done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    ("part", "tests"),
    [
        ("parallel", {"test_plain", "test_slow"}),
        ("alone", {"test_by_its_fixture", "test_by_its_mark"}),
        ("fast", {"test_plain"}),
    ],
)
def test_each_part_runs_its_tests(run, part, tests):
    outcomes, output = run(PARTS, "--part", part)
    assert outcomes == dict.fromkeys(tests, "PASSED"), output
    assert ("left out: 2 tests in real time and 1 slow ones; `make test` runs them" in output) == (part == "fast")


@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
@pytest.mark.slow
def test_what_was_left_out_is_told_by_several_processes_too(run):
    _, output = run(PARTS, "--part", "fast", "-p", "xdist", "-n", "2")
    assert "left out: 2 tests in real time and 1 slow ones" in output


def test_a_file_that_does_not_show_that_it_needs_real_time_is_refused(run):
    """It would not be imported by the part that runs what needs it."""
    screen = "\n\n@pytest.fixture\ndef screen(real_time): ...\n"
    outcomes, output = run("def test_it(screen): ...", "--part", "parallel", more_settings=screen)
    assert outcomes == {}
    assert "test_it.py::test_it uses a fixture in real time: mark it `realtime`, so that this shows" in output


def test_a_test_that_depends_on_real_time_and_is_not_marked_fails(run):
    outcomes, output = run(UNSEEN)
    assert outcomes == {"test_that_waits": "PASSED", "test_with_a_cell": "FAILED", "test_without_a_cell": "PASSED"}
    assert "test_that_sleeps sleeps for a fixed time, so it depends on real time: mark it `realtime`" in output
    assert "test_with_a_cell starts a simulated cell, which runs in real time: mark it `realtime`" in output


PYTHON = """#!/bin/sh
echo "$*" >>calls
case "$*" in *"--part alone"*) exit $ALONE ;; *) exit $OTHERS ;; esac
"""


@pytest.mark.parametrize(
    ("others", "alone", "status"),
    [
        (0, 0, 0),
        (1, 0, 1),
        (0, 1, 1),
        (1, 5, 1),
        (5, 1, 1),
        (0, 5, 0),  # a selection without tests in real time
        (5, 0, 0),
        (5, 5, 5),  # a selection without tests
        (0, 2, 2),
        (-9, 0, 137),
    ],
)
def test_both_halves_decide(tmp_path, others, alone, status):
    assert halves(tmp_path, others, alone) == (status, ["parallel", "alone"])


@pytest.mark.parametrize("status", [2, 3, 4])
def test_an_interrupt_or_a_wrong_option_ends_both_halves(tmp_path, status):
    assert halves(tmp_path, status, 0) == (status, ["parallel"])


def test_arguments_reach_both_halves_as_they_were_written(tmp_path):
    halves(tmp_path, 0, 0, "tests/core", "-k", "clock or lock")
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert first == "-m pytest -n 3 --dist worksteal --part parallel tests/core -k clock or lock"
    assert second == "-m pytest --part alone tests/core -k clock or lock"


def test_by_default_all_cores_work(tmp_path):
    halves(tmp_path, 0, 0, jobs="")
    assert "-m pytest -n auto --maxprocesses 8 --dist worksteal" in (tmp_path / "calls").read_text()


def test_fast_is_one_run_with_its_own_status(tmp_path):
    assert halves(tmp_path, 1, 0, part="fast") == (1, ["fast"])


def halves(
    folder: Path, others: int, alone: int, *arguments: str, part: str = "all", jobs: str = "3"
) -> tuple[int, list[str]]:
    """The exit status of tools/test.sh, and the parts that were run, when pytest ends with these."""
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "test.sh", folder / "tools")
    script = PYTHON.replace("exit $OTHERS", "kill -9 $$") if others == -9 else PYTHON
    (folder / "python").write_text(script)
    (folder / "python").chmod(0o755)
    environment = {**os.environ, "OTHERS": str(others), "ALONE": str(alone), "JOBS": jobs}
    command = ["bash", folder / "tools" / "test.sh", "./python", part, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    parts = re.findall(r"--part (\w+)", (folder / "calls").read_text())
    if parts == ["parallel", "alone"]:
        assert ("FAILED" in done.stdout) == (done.returncode not in (0, 5))
    return done.returncode, parts
