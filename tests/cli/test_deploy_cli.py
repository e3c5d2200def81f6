import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mujoco", reason="the simulated cell needs MuJoCo")

from robolearn.cli.main import main
from robolearn.core.output import held_output

TINY_SERVER = Path(__file__).parents[1] / "serving" / "tiny_policy_server.py"


@pytest.fixture
def server_process(real_time):
    process = subprocess.Popen([sys.executable, str(TINY_SERVER)], stdout=subprocess.PIPE, text=True)
    yield process, process.stdout.readline().split()[-1]
    process.kill()
    process.communicate()


@pytest.fixture
def server(server_process):
    return server_process[1]


def user_sees(capfd, *arguments):
    status = main(["deploy", *map(str, arguments)])
    return status, capfd.readouterr().err.strip()


def cells_of(pid: int) -> list[int]:
    """Process ids of the simulated cells that process `pid` started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(f"robolearn_{pid}_".encode()) for word in words):
            found.append(int(entry.parent.name))
    return found


def wait_until(condition, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def start(server: str, output: Path) -> subprocess.Popen:
    options = ["--server", server, "--robot", "sim", "--env", "put_on_plate", "--output", str(output)]
    command = [sys.executable, "-m", "robolearn", "deploy", *options, "--num-episodes", "50", "--time-limit-s", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_deploy_prints_episodes_and_the_latency_table(server, tmp_path, capfd):
    arguments = ["--server", server, "--env", "put_on_plate", "--num-episodes", "1", "--time-limit-s", "0.5"]
    assert main(["deploy", *arguments, "--output", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "start state   0  failure " in out
    assert "success 0/1" in out
    head, *rows = out[out.index("ms  ") :].splitlines()[:6]
    assert rows[0].startswith("lateness at 200 Hz (") and {len(row) for row in rows} == {len(head)}
    assert f"Saved: {tmp_path}/results.json" in out
    again = tmp_path / "again"
    assert main(["deploy", "--config", str(tmp_path / "config.yaml"), "--output", str(again)]) == 0
    assert (again / "config.yaml").read_text() == (tmp_path / "config.yaml").read_text().replace(
        str(tmp_path), str(again)
    )


def test_a_server_that_goes_away_is_in_the_summary_and_in_the_exit_status(server_process, tmp_path):
    process, url = server_process
    options = ["--server", url, "--env", "put_on_plate", "--output", str(tmp_path), "--connect-wait-s", "0.2"]
    command = [sys.executable, "-m", "robolearn", "deploy", *options, "--num-episodes", "5", "--time-limit-s", "0.5"]
    deployed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert deployed.stdout.readline().startswith("start state   0  failure ")
    process.kill()
    out, errors = deployed.communicate(timeout=60)
    assert deployed.returncode == 3
    assert "(95 % Wilson), " in out and " aborted (server gone)\n" in out
    assert errors.splitlines()[-1].startswith("Not run: start state ")


def test_json_is_the_results_and_nothing_else(server, tmp_path, capfd):
    arguments = ["--server", server, "--robot", "sim:put_on_plate", "--num-episodes", "1", "--time-limit-s", "0.3"]
    assert main(["deploy", *arguments, "--output", str(tmp_path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads((tmp_path / "results.json").read_text())


def test_ctrl_c_ends_everything_and_keeps_finished_episodes(server, tmp_path):
    process = start(server, tmp_path)
    assert process.stdout.readline().startswith("start state   0")
    time.sleep(0.3)
    assert len(cells_of(process.pid)) == 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert (process.returncode, errors.strip()) == (130, "Interrupted.")
    assert cells_of(process.pid) == []
    assert not list(Path("/dev/shm").glob(f"robolearn_{process.pid}_*"))
    episodes = json.loads((tmp_path / "results.json").read_text())["episodes"]
    assert episodes[0]["init_state"] == 0
    assert all(e["outcome"] == "failure" and e["duration_s"] >= 1.0 for e in episodes)  # no half ones


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_and_a_closed_terminal_end_everything(server, tmp_path, number, status):
    process = start(server, tmp_path)
    assert process.stdout.readline().startswith("start state   0")
    process.send_signal(number)
    process.send_signal(number)
    _, errors = process.communicate(timeout=15)
    assert (process.returncode, errors) == (status, "")
    assert cells_of(process.pid) == []
    assert not list(Path("/dev/shm").glob(f"robolearn_{process.pid}_*"))
    episodes = json.loads((tmp_path / "results.json").read_text())["episodes"]
    assert episodes[0]["init_state"] == 0
    assert all(e["outcome"] == "failure" and e["duration_s"] >= 1.0 for e in episodes)  # no half ones


def test_a_killed_deploy_takes_its_cell_along(server, tmp_path):
    process = start(server, tmp_path)
    assert process.stdout.readline().startswith("start state   0")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not cells_of(process.pid))
    wait_until(lambda: not list(Path("/dev/shm").glob(f"robolearn_{process.pid}_*")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--env", "put_on_plate", "--server", "ws://127.0.0.1:9", "--connect-wait-s", "0"],
            "No policy server answers",
        ),
        (["--robot", "ur5e"], "Unknown robot 'ur5e'. Known: sim."),
        (["--robot", "sim"], "needs an environment; write --robot sim:put_on_plate or add --env"),
        (["--env", "put_on_plate", "--num-episodes", "0"], "--num-episodes must be at least 1, found 0"),
        (["--env", "put_on_plate", "--server", "localhost:8000"], "not of the form ws://HOST:PORT"),
        (["--rate", "7"], "--rate"),
    ],
)
def test_mistakes_are_one_line(capfd, tmp_path, arguments, message):
    status, error = user_sees(capfd, "--output", tmp_path, *arguments)
    assert status == 2
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.realtime
def test_what_cannot_begin_leaves_nothing(tmp_path, capfd):
    output = tmp_path / "lab" / "today"
    status, error = user_sees(capfd, "--robot", "sim:put_on_plat", "--output", output)
    assert status == 2 and "Did you mean 'put_on_plate'?" in error
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_found_before_the_robot_is_connected(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("robolearn.hardware.robot.Robot.connect", lambda *_: pytest.fail("the robot is connected"))
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    status, error = user_sees(capfd, "--env", "put_on_plate", "--output", tmp_path / "out")
    assert (status, f"out is a link to {tmp_path}/disk, which does not exist" in error) == (2, True)
    with held_output(tmp_path / "held"):
        status, error = user_sees(capfd, "--env", "put_on_plate", "--output", tmp_path / "held")
    assert (status, f"held is being written by process {os.getpid()}; wait for it" in error) == (2, True)
