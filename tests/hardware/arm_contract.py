"""What every arm driver must do. A driver's test file gives a fixture and takes the tests over:

from arm_contract import *  # noqa: F403


@pytest.fixture
def arm(): ...  # not connected yet; disconnected by the fixture afterwards
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from robolearn.core.errors import DeviceError
from robolearn.core.rotation import angle_between, axis_angle_to_matrix
from robolearn.execution.command import Command
from robolearn.hardware.arms.protocol import Arm

STATE = "observation.state"


def pose(arm: Arm) -> Command:
    return Command.from_action(arm.read().values[STATE])


def stream(arm: Arm, command: Command, duration_s: float) -> None:
    """Send a command at 100 Hz, as a loop would."""
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        arm.command(command)
        time.sleep(0.01)


def moved(command: Command, offset_m: tuple[float, float, float], gripper: float | None = None) -> Command:
    return Command(
        command.position_m + np.array(offset_m), command.rotation, command.gripper if gripper is None else gripper
    )


def test_an_arm_that_is_not_connected_says_so(arm: Arm) -> None:
    with pytest.raises(DeviceError, match="connect"):
        arm.read()


def test_capabilities_are_usable_numbers(arm: Arm) -> None:
    arm.connect()
    found = arm.capabilities
    assert found.command_rate_hz >= 20
    assert all(low < high for low, high in zip(found.workspace_low_m, found.workspace_high_m, strict=True))
    assert min(found.max_speed_m_s, found.max_rotation_rad_s, found.command_timeout_s) > 0


def test_samples_have_the_declared_features(arm: Arm) -> None:
    arm.connect()
    assert arm.observation_features[STATE].shape == (10,)
    sample = arm.read()
    assert set(sample.values) == set(arm.observation_features)
    for name, feature in arm.observation_features.items():
        feature.check(sample.values[name])


def test_samples_are_fresh_and_in_order(arm: Arm) -> None:
    arm.connect()
    samples, read_at = [], []
    for _ in range(50):
        samples.append(arm.read())
        read_at.append(time.monotonic())
        time.sleep(0.01)
    host = np.array([s.host_time_s for s in samples])
    assert np.all(np.diff(host) >= 0)
    assert np.all(np.diff([s.device_time_s for s in samples]) >= 0)
    assert np.all(np.diff([s.sequence for s in samples]) >= 0)
    assert samples[-1].sequence > samples[0].sequence
    assert np.all(host <= np.array(read_at))
    assert np.median(np.array(read_at) - host) < 0.05


def test_a_command_is_followed(arm: Arm) -> None:
    arm.connect()
    start = pose(arm)
    target = Command(
        start.position_m + np.array([0.02, 0.02, -0.02]),
        axis_angle_to_matrix(np.array([0.0, 0.0, 0.1])) @ start.rotation,
        start.gripper,
    )
    stream(arm, target, 1.0)
    reached = pose(arm)
    np.testing.assert_allclose(reached.position_m, target.position_m, atol=0.005)
    assert angle_between(reached.rotation, target.rotation) < 0.03


def test_the_gripper_opens_and_closes(arm: Arm) -> None:
    arm.connect()
    if not arm.capabilities.has_gripper:
        pytest.skip("this arm has no gripper")
    start = pose(arm)
    for opening in (0.2, 0.9):
        stream(arm, moved(start, (0, 0, 0), opening), 1.0)
        assert pose(arm).gripper == pytest.approx(opening, abs=0.1)


def test_stop_ends_the_motion_and_commands_are_accepted_again(arm: Arm) -> None:
    arm.connect()
    start = pose(arm)
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < 0.4:  # 0.2 m/s
        arm.command(moved(start, (0.0, 0.2 * elapsed, 0.0)))
        time.sleep(0.01)
    before = pose(arm)
    arm.stop()
    time.sleep(0.6)
    stopped = pose(arm)
    time.sleep(0.2)
    np.testing.assert_allclose(pose(arm).position_m, stopped.position_m, atol=0.002)
    assert np.linalg.norm(stopped.position_m - before.position_m) < 0.04
    stream(arm, start, 1.0)
    np.testing.assert_allclose(pose(arm).position_m, start.position_m, atol=0.005)


def test_without_commands_the_arm_holds_by_itself(arm: Arm) -> None:
    arm.connect()
    arm.command(moved(pose(arm), (0.0, 0.02, 0.0)))
    time.sleep(arm.capabilities.command_timeout_s + 0.6)
    held = pose(arm)
    time.sleep(0.2)
    np.testing.assert_allclose(pose(arm).position_m, held.position_m, atol=0.002)


def test_a_command_that_is_not_finite_is_refused(arm: Arm) -> None:
    arm.connect()
    start = pose(arm)
    bad_rotation = Command(start.position_m, np.full((3, 3), np.inf), 1.0)
    bad_gripper = Command(start.position_m, start.rotation, np.nan)
    for bad in (moved(start, (np.nan, 0, 0)), bad_rotation, bad_gripper):
        with pytest.raises(DeviceError, match="not finite"):
            arm.command(bad)
    time.sleep(0.2)
    np.testing.assert_allclose(pose(arm).position_m, start.position_m, atol=0.005)


def test_it_can_be_disconnected_twice_and_connected_again(arm: Arm) -> None:
    arm.connect()
    arm.disconnect()
    arm.disconnect()
    with pytest.raises(DeviceError):
        arm.read()
    arm.connect()
    assert arm.read().values[STATE].shape == (10,)
