"""Real processes: a child ends with its parent, whatever the parent dies of."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from robolearn.core.process import LastLine, end_in_words, python_child, stop_process

CHILD = """
import time
from robolearn.core.process import adopt_parent_from_environment
adopt_parent_from_environment()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child_module(tmp_path):
    (tmp_path / "patient_child.py").write_text(CHILD)
    return tmp_path


def python_path(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(pid: int, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel feature is Linux's")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_dies_with_its_parent(child_module, end):
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import subprocess, time
                from robolearn.core.process import python_child
                child = python_child("patient_child", [], stdout=subprocess.PIPE, text=True)
                assert child.stdout.readline() == "ready\\n"
                print(child.pid, flush=True)
                time.sleep(60)
                """
            ),
        ],
        env={**os.environ, **python_path(child_module)},
        stdout=subprocess.PIPE,
        text=True,
    )
    child_pid = int(parent.stdout.readline())
    assert is_running(child_pid)
    parent.send_signal(end)
    parent.wait()
    parent.stdout.close()
    assert wait_until_gone(child_pid)


def test_a_child_whose_parent_is_gone_already_does_not_start(child_module):
    result = subprocess.run(
        [sys.executable, "-m", "patient_child"],
        env={**os.environ, **python_path(child_module), "ROBOLEARN_PARENT": "1"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert result.stderr == "The parent process ended before this child had started.\n"


def test_a_child_is_in_a_process_group_of_its_own_so_that_ctrl_c_spares_it(child_module):
    child = python_child("patient_child", [], env=python_path(child_module), stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    assert os.getpgid(child.pid) != os.getpgid(0)
    assert stop_process(child) == -signal.SIGTERM
    child.stdout.close()


def test_stopping_a_process_that_ignores_requests_kills_it():
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    child.stdout.readline()
    assert stop_process(child, timeout_s=0.2) == -signal.SIGKILL
    child.stdout.close()


def test_stopping_a_process_that_has_ended_gives_its_status():
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait()
    assert stop_process(child) == 3


def says(program: str) -> subprocess.Popen:
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("raise ValueError('no such plate')", "ValueError: no such plate"),
        ("import sys; sys.stderr.write('a\\nerror: the last\\n\\n'); sys.exit(3)", "the last"),
        ("import sys; sys.stderr.buffer.write(b'\\xff unfinished')", "\ufffd unfinished"),
        ("", ""),
    ],
)
def test_the_last_line_of_a_child_is_kept(program, line):
    child = says(program)
    said = LastLine(child.stderr)
    child.wait()
    assert said.text(wait_s=10.0) == line


def test_a_child_that_talks_a_lot_is_not_held_up_and_costs_no_memory():
    child = says("import sys; sys.stderr.write('x' * 3_000_000 + 'end')")
    said = LastLine(child.stderr)
    assert child.wait(timeout=20) == 0
    line = said.text(wait_s=10.0)
    assert line.endswith("end") and len(line) <= 4096


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63"),
     (None, "still running")],
)  # fmt: skip
def test_how_a_process_ended_is_said_in_words(status, words):
    assert end_in_words(status) == words
