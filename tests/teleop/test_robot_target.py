"""A robot under teleoperation: the simulated cell, in real time."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated cell needs MuJoCo")

from robolearn.core.clock import MonotonicClock
from robolearn.core.errors import ConfigError, DeviceError
from robolearn.hardware.robot import make_robot
from robolearn.teleop.robot_target import RobotTarget, _Follower
from robolearn.teleop.station import StationConfig, open_station


@pytest.fixture
def target(real_time):
    robot = make_robot("sim:put_on_plate")
    robot.connect()
    made = RobotTarget(robot, 20.0)
    yield made
    made.end_episode()
    robot.disconnect()


def height_m(target: RobotTarget) -> float:
    return float(target.observe()["observation.state"][2])


def drive_down(target: RobotTarget, ticks: int) -> np.ndarray:
    action = target.observe()["observation.state"].astype(np.float32)
    for _ in range(ticks):
        action[2] -= 0.005
        target.apply(action)
        time.sleep(0.05)
    return action


def test_targets_are_followed_and_the_arm_rests_when_the_episode_ends(target):
    target.start_episode(0)
    began_m = height_m(target)
    action = drive_down(target, 12)
    target.end_episode()
    assert height_m(target) < began_m - 0.04
    assert abs(height_m(target) - float(action[2])) < 0.02
    time.sleep(0.3)  # the arm itself follows its commands with some delay
    rested_m = height_m(target)
    time.sleep(0.3)
    assert abs(height_m(target) - rested_m) < 1e-3


def test_a_session_that_hangs_stops_the_arm(target):
    target.start_episode(0)
    drive_down(target, 8)
    time.sleep(0.6)  # nothing is applied: stale after 0.1 s, then braking
    before_m = height_m(target)
    time.sleep(0.3)
    assert abs(height_m(target) - before_m) < 1e-3
    drive_down(target, 6)  # and it goes on when the session does
    assert height_m(target) < before_m - 0.005


def test_a_target_outside_the_workspace_is_not_followed_there(target):
    target.start_episode(0)
    action = target.observe()["observation.state"].astype(np.float32)
    action[0] += 5.0
    for _ in range(40):
        target.apply(action)
        time.sleep(0.05)
    assert target.observe()["observation.state"][0] <= target.workspace_m[1][0] + 0.01


def test_a_cell_that_dies_is_reported_by_the_next_observation(target):
    target.start_episode(0)
    target.robot.scene.process.kill()
    target.robot.scene.process.wait()
    with pytest.raises(DeviceError, match="has ended"):
        target.observe()
    with pytest.raises(DeviceError, match="has ended"):  # nor does anybody know whether it has stopped
        target.end_episode()


def test_a_bug_in_a_driver_stops_the_arm_and_is_reported():
    stopped = []

    def broken(*args):
        raise KeyError("gripper")

    robot = SimpleNamespace(read=lambda: SimpleNamespace(values={}), stop=lambda: stopped.append(True))
    commander = SimpleNamespace(start=lambda *args: None, tick=broken)
    follower = _Follower(robot, commander, MonotonicClock(), 20.0, 200.0)
    follower._thread.join(5.0)
    with pytest.raises(KeyError, match="gripper"):
        follower.check()
    assert stopped == [True]


def test_an_action_outside_an_episode_is_refused(target):
    with pytest.raises(DeviceError, match="not in an episode"):
        target.apply(np.zeros(10, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ("front",)}, "cameras are part of it"),
        ({"speed": "max"}, "runs in real time"),
        ({"fps": 0.0}, "must be 1 to 200"),
        ({"fps": 1000.0}, "must be 1 to 200"),
    ],
)
def test_what_a_robot_cannot_do_is_said_before_it_is_touched(options, message, monkeypatch):
    monkeypatch.setattr("robolearn.teleop.station.make_robot", lambda name: pytest.fail("the robot was opened"))
    config = StationConfig(None, "scripted", "sim:put_on_plate", **options)
    with pytest.raises(ConfigError, match=message), open_station(config):
        pass
