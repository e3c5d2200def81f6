"""`robolearn record` as a user runs it: whole sessions, real processes, real terminals, signals at any moment."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.journal import find_journals
from robolearn.datasets.write.writer import DatasetWriter

START_S = 60.0


def arguments(path: Path, number: int, *more: str, operator: str = "scripted") -> list[str]:
    return ["record", "--dataset", str(path), "--operator", operator, "--num-episodes", str(number), *more]


class Session:
    """A `robolearn record` process in a session of its own, with its standard error read line by line."""

    def __init__(self, argv: list[str], terminal: int | None = None, environment: dict[str, str] | None = None):
        def take_terminal() -> None:
            if terminal is not None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C typed there is sent to this process

        if environment is None:
            environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robolearn", *argv],
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=take_terminal, env=environment,
        )  # fmt: skip
        self.lines: list[str] = []

    def wait_for(self, pattern: str) -> str:
        for line in self.process.stderr:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern!r} never came in: {''.join(self.lines)}")

    def finish(self) -> tuple[int, str, str]:
        """Exit status, standard output and error; no process of the session may be left."""
        watchdog = threading.Timer(START_S, self.process.kill)
        watchdog.start()
        # not communicate(): it would pass over what wait_for has left in the buffer
        err = "".join(self.lines) + self.process.stderr.read()
        out = self.process.stdout.read()
        status = self.process.wait()
        watchdog.cancel()
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return status, out, err


def check_whole(path: Path) -> Dataset:
    """The dataset opens and every episode is what was recorded, bit by bit."""
    dataset = Dataset(path)
    for episode in range(dataset.num_episodes):
        dataset.verify_episode(episode)
        times = dataset.timestamps[dataset.episode_slice(episode)]
        assert (np.diff(times) > 0).all()
        assert dataset.episodes[episode]["success"] is True
    return dataset


@pytest.mark.slow
def test_scripted_episodes_are_recorded_and_recording_goes_on_with_resume(tmp_path, capsys):
    path = tmp_path / "bar.zarr"
    assert main(arguments(path, 2, "--task", "put the bar on the plate", "--seed", "3", "--json")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["recorded"], summary["total_episodes"], summary["late_ticks"]) == (2, 2, 0)

    assert main(arguments(path, 1)) == 2
    error = capsys.readouterr().err
    assert f"robolearn {' '.join(arguments(path, 1))} --resume" in error
    assert error.count("\n") == 1

    assert main(arguments(path, 1, "--resume")) == 0
    dataset = check_whole(path)
    assert dataset.num_episodes == 3
    states = [record["init_state"] for record in dataset.episodes]
    assert states[0] >= 10_000 and states == sorted(set(states))
    assert dataset.episodes[0]["task"] == "put the bar on the plate"
    assert (dataset.fps, dataset.sim_env["name"]) == (20.0, "put_on_plate")
    assert "<mujoco" in dataset.sim_model(0)
    assert dataset.sim_states(0).shape[0] == dataset.episode_slice(0).stop


def test_recorded_actions_lead_to_the_recorded_states(tmp_path):
    from robolearn.sim import make_env

    path = tmp_path / "bar.zarr"
    assert main(arguments(path, 1)) == 0
    dataset = Dataset(path)
    states, actions = dataset.array("observation.state"), dataset.array("action")
    env = make_env("put_on_plate")
    observation, _ = env.reset(options={"init_state": dataset.episodes[0]["init_state"]})
    for state, action in zip(states, actions, strict=True):
        assert np.array_equal(observation["observation.state"], state)
        observation, _, _, _, info = env.step(action)
    env.close()
    assert info["success"]


def test_the_same_seed_records_the_same_data(tmp_path):
    for name in ("a.zarr", "b.zarr"):
        assert main(arguments(tmp_path / name, 1, "--seed", "11")) == 0
    assert Dataset(tmp_path / "a.zarr").checksum() == Dataset(tmp_path / "b.zarr").checksum()


@pytest.mark.slow
def test_pictures_of_each_camera_are_recorded(tmp_path, capsys):
    path = tmp_path / "bar.zarr"
    assert main(arguments(path, 1, "--camera", "front", "--camera", "wrist", "--image-size", "64")) == 0
    dataset = check_whole(path)
    for camera in ("front", "wrist"):
        first, last = (dataset.image(f"observation.images.{camera}", step) for step in (0, dataset.num_steps - 1))
        assert first.shape == (64, 64, 3)
        assert first.std() > 10 and np.abs(first.astype(int) - last).mean() > 1
    capsys.readouterr()
    assert main(arguments(path, 1, "--resume", "--camera", "front")) == 2
    assert "add --camera wrist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--env", "put_on_plat"], "Did you mean 'put_on_plate'"),
        (["--operator", "scriptd"], "Did you mean 'scripted'"),
        (["--operator", "keyboard"], "standard input is not one"),
        (["--num-episodes", "0"], "at least 1"),
        (["--fps", "33"], "33"),
        (["--fps", "0"], "does not divide"),
        (["--seed", "-1"], "at least 0"),
        (["--camera", "frnt"], "Did you mean 'front'"),
        (["--speed", "fast"], "fast"),
        (["--env", "pusht"], "--env put_on_plate"),
        (["--resume"], "leave out --resume"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing_behind(tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    path = tmp_path / "bar.zarr"
    assert main(arguments(path, 1, *options)) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and error.startswith("error: ")
    assert not path.exists()


@pytest.mark.realtime
@pytest.mark.parametrize(("number", "moment_s"), [(signal.SIGINT, 0.0), (signal.SIGHUP, 0.37), (signal.SIGTERM, 0.61)])
def test_a_signal_in_mid_episode_keeps_what_was_saved(tmp_path, number, moment_s):
    path = tmp_path / "bar.zarr"
    session = Session(arguments(path, 500, "--json"))
    saved = 1 + round(moment_s * 3)
    session.wait_for(f"episode {saved}/500 saved")
    time.sleep(moment_s)
    os.killpg(session.process.pid, number)
    status, out, err = session.finish()
    assert status == 128 + number
    assert "Traceback" not in err
    dataset = check_whole(path)
    assert dataset.num_episodes >= saved
    assert find_journals(path / "pending") == []
    summary = json.loads(out)
    assert (summary["total_episodes"], summary["stopped"]) == (dataset.num_episodes, "signal")
    left = 500 - dataset.num_episodes
    assert re.search(
        rf"{dataset.num_episodes} episodes? (is|are) saved in {path}; continue with: robolearn record", err
    )
    assert re.search(rf"--num-episodes {left} --resume\n", err)


@pytest.mark.realtime
@pytest.mark.parametrize("delay_s", [0.3, 0.6])
def test_a_signal_while_starting_up_leaves_nothing_half_done(tmp_path, delay_s):
    path = tmp_path / "bar.zarr"
    session = Session(arguments(path, 1000))
    time.sleep(delay_s)
    session.process.send_signal(signal.SIGINT)
    status, _, _ = session.finish()
    assert status != 0
    assert not path.exists() or check_whole(path)


@pytest.mark.realtime
def test_after_a_kill_the_dataset_opens_and_recording_goes_on(tmp_path, capsys):
    path = tmp_path / "bar.zarr"
    session = Session(arguments(path, 500))
    session.wait_for("episode 2/500 saved")
    time.sleep(0.3)
    session.process.kill()
    session.finish()
    before = check_whole(path).num_episodes
    assert before >= 2
    assert main(arguments(path, 1, "--resume")) == 0
    assert check_whole(path).num_episodes == before + 1


class TypedSession(Session):
    """A session at a pseudo-terminal; `type` presses keys."""

    def __init__(self, argv: list[str], environment: dict[str, str] | None = None):
        self.keyboard, self.terminal = pty.openpty()
        self.mode = termios.tcgetattr(self.terminal)
        super().__init__(argv, self.terminal, environment)

    def type(self, keys: bytes, wait_s: float = 0.0) -> None:
        os.write(self.keyboard, keys)
        time.sleep(wait_s)

    def finish(self) -> tuple[int, str, str]:
        result = super().finish()
        assert termios.tcgetattr(self.terminal) == self.mode
        os.close(self.keyboard)
        os.close(self.terminal)
        return result


@pytest.mark.realtime
def test_a_person_at_a_terminal_records_redoes_and_stops(tmp_path):
    path = tmp_path / "hand.zarr"
    session = TypedSession(arguments(path, 5, operator="keyboard"))
    session.wait_for("Operator: keyboard of this terminal")
    session.wait_for("right or n  save")
    session.wait_for("No viewer")
    session.wait_for("episode 1/5 is ready")
    session.type(b"o", 0.4)  # down
    session.type(b"cs", 0.2)  # close, success
    session.type(b"\x1b[C")  # right arrow: save
    assert "success" in session.wait_for("episode 1/5 saved")
    session.wait_for("episode 2/5 is ready")
    session.type(b"i", 0.4)
    session.type(b"r")
    session.wait_for("episode 2/5 discarded; doing it again")
    session.wait_for("episode 2/5 is ready")
    session.type(b"j", 0.4)
    session.type(b"fn")
    assert "failure" in session.wait_for("episode 2/5 saved")
    session.wait_for("episode 3/5 is ready")
    session.type(b"i", 0.4)
    session.type(b"q")
    status, _, err = session.finish()
    assert status == 0
    assert "2 episodes are saved" in err and "--num-episodes 3 --resume" in err
    dataset = Dataset(path)
    assert [record["success"] for record in dataset.episodes] == [True, False]
    assert [record["operator"] for record in dataset.episodes] == ["keyboard"] * 2
    first = dataset.episode_slice(0)
    height, opening = dataset.array("action")[first, 2], dataset.array("action")[first, 9]
    assert 0.004 < height[0] - height[-1] < 0.022  # one tap is 0.15 s at 0.1 m/s; ticks may be late here
    assert (opening[0], opening[-1]) == (1.0, 0.0)
    record = dataset.episodes[0]
    assert record["clock"] == "host monotonic"
    assert record["rate_hz"] == pytest.approx(20.0, rel=0.15)


@pytest.mark.realtime
def test_ctrl_c_typed_at_the_terminal_gives_it_back(tmp_path):
    path = tmp_path / "hand.zarr"
    session = TypedSession(arguments(path, 5, operator="keyboard"))
    session.wait_for("episode 1/5 is ready")
    session.type(b"i", 0.4)
    session.type(b"\x03")
    status, _, err = session.finish()
    assert status == 130
    assert "Traceback" not in err and "Nothing was saved, and no dataset is left; start again with: robolearn" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.realtime
def test_a_closed_terminal_ends_the_session_and_keeps_what_was_saved(tmp_path):
    path = tmp_path / "hand.zarr"
    session = TypedSession(arguments(path, 5, operator="keyboard"))
    session.wait_for("episode 1/5 is ready")
    session.type(b"i", 0.4)
    session.type(b"n")
    session.wait_for("episode 1/5 saved")
    os.close(session.terminal)
    os.close(session.keyboard)  # the connection is cut: SIGHUP
    status, _, _ = Session.finish(session)
    assert status in (0, 128 + signal.SIGHUP)
    assert Dataset(path).num_episodes == 1


@pytest.mark.slow
def test_a_session_that_talks_to_the_terminal_that_is_closed_still_ends_in_order(tmp_path):
    path = tmp_path / "bar.zarr"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "robolearn", *arguments(path, 500)], stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"episode 2/500 saved" not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(timeout=START_S) == 128 + signal.SIGHUP
    assert check_whole(path).num_episodes >= 2
    assert find_journals(path / "pending") == []


def test_a_person_sees_the_scene_while_pictures_are_recorded(tmp_path, display):
    path = tmp_path / "seen.zarr"
    session = TypedSession(arguments(path, 1, "--camera", "front", operator="keyboard"), display[0])
    session.wait_for("MuJoCo's viewer shows the scene")
    session.wait_for("episode 1/1 is ready")
    session.type(b"i", 1.0)
    session.type(b"n")
    status, _, err = session.finish()
    assert status == 0, err
    assert Dataset(path).image("observation.images.front", 0).std() > 10


@pytest.mark.realtime
def test_a_robot_is_recorded_in_real_time_at_the_rates_of_its_devices(tmp_path, capfd):
    path = tmp_path / "robot.zarr"
    argv = ["record", "--robot", "sim:put_on_plate", "--dataset", str(path), "--operator", "scripted"]
    assert main([*argv, "--num-episodes", "1"]) == 0
    assert re.search(r"observation\.state (\d+)/\1, 0 dropped", capfd.readouterr().err)
    dataset = Dataset(path)
    record = dataset.episodes[0]
    assert (record["success"], record["task"]) == (True, "put on plate")
    assert (record["clock"], dataset.attributes["recorded"]) == ("host monotonic", "streams")
    state = dataset.stream("observation.state")
    # far more often than there are steps; a busy machine takes some of the 250 Hz
    assert 125 < len(state.timestamp) / record["duration_s"] < 275
    assert dataset.num_steps / record["duration_s"] == pytest.approx(20, rel=0.1)
    assert np.array_equal(dataset.array("observation.state"), state.values[state.at_step])
    assert main(["record", "--dataset", str(path), "--operator", "scripted", "--resume", "--num-episodes", "1"]) == 2
    assert "was recorded from a robot in real time, by --robot" in capfd.readouterr().err


def test_a_url_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments(Path("http://host/bar.zarr"), 1)) == 2
    assert "http://host/bar.zarr is a URL; recording needs a local folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_scene_and_a_robot_at_once_are_refused(tmp_path, capfd):
    argv = ["record", "--dataset", str(tmp_path / "d.zarr"), "--env", "put_on_plate", "--robot", "sim:put_on_plate"]
    assert main(argv) == 2
    assert "either --env" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--robot", "sim:put_on_plat"], "Unknown environment 'put_on_plat'. Did you mean 'put_on_plate'?"),
        (["--robot", "sin:put_on_plate"], "Unknown robot 'sin'. Did you mean 'sim'?"),
        (["--env", "put_on_plate/ur5"], " 'ur5'. Did you mean 'ur5e'? Known: "),
        (["--action", "joint"], "Unknown word 'joint' in the action layout 'joint'. Did you mean 'joints'? Known: "),
        (["--action", "umi"], "its pose is relative to the newest observation, of which an environment knows nothing"),
        (["--env", "avoiding", "--action", "joints"], "What moves in a plane takes poses of x and y, not 'joints'."),
        (
            ["--robot", "sim:put_on_plate", "--action", "joints"],
            "--action is for --env; an arm is told absolute poses, found both --robot and --action.",
        ),
        (["--image-size", "0"], "--image-size must be at least 1, found 0."),
    ],
)
def test_a_recording_that_cannot_begin_leaves_nothing(tmp_path, capfd, more, told):
    assert main(arguments(tmp_path / "lab" / "today" / "x.zarr", 1, *more)) == 2
    assert told in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_no_dataset_can_be_made_is_found_before_anything_moves(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("robolearn.cli.record.open_station", lambda *_: pytest.fail("the robot is connected"))
    (tmp_path / "link.zarr").symlink_to(tmp_path / "disk" / "x.zarr")
    (tmp_path / "notes").touch()
    for place, told in (
        ("link.zarr", f"is a link to {tmp_path}/disk/x.zarr, which does not exist"),
        ("notes/x.zarr", "notes is a file, expected a folder; choose another --dataset."),
    ):
        assert main(arguments(tmp_path / place, 1)) == 2
        assert told in capfd.readouterr().err


def test_a_dataset_that_is_being_recorded_is_refused_before_anything_moves(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("robolearn.cli.record.open_station", lambda *_: pytest.fail("the robot is connected"))
    with DatasetWriter.create(tmp_path / "x.zarr", features([Feature("action", (1,), kind="action")]), 10.0):
        assert main(arguments(tmp_path / "x.zarr", 1, "--resume")) == 2
    assert f"is being written by process {os.getpid()}; wait for it" in capfd.readouterr().err


def test_actions_are_recorded_in_the_layout_asked_for_and_the_dataset_says_so(tmp_path, capfd):
    path = tmp_path / "joints.zarr"
    assert main(arguments(path, 1, "--action", "joints")) == 0
    dataset = Dataset(path)
    layout = dataset.features["action"].layout
    assert [part.kind for part in layout.parts] == ["joints", "gripper"] and layout.robots == (("", "panda"),)
    # what the servos are told is a little ahead of what is measured
    measured, told = dataset.array("observation.joint_position"), dataset.array("action")[:, :7]
    assert 1e-3 < np.abs(told - measured).max() < 0.2
    assert dataset.episodes[0]["success"] is True
    assert main(arguments(path, 1, "--resume")) == 2
    assert (
        "holds 'action' as joints, this session has pose (rot6d); use --action joints, a new --dataset, or bring a "
        f"copy of it into this layout with: robolearn dataset relabel {path}"
    ) in capfd.readouterr().err
