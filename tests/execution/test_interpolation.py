import numpy as np
import pytest

from robolearn.core.rotation import angle_between, axis_angle_to_matrix, matrix_to_rot6d
from robolearn.execution.interpolation import setpoint
from robolearn.execution.scheduler import ActionScheduler


def action(x: float, turn_rad: float = 0.0, gripper: float = 1.0) -> np.ndarray:
    rotation = axis_angle_to_matrix(np.array([0.0, 0.0, turn_rad]))
    return np.concatenate([[x, 0.0, 0.0], matrix_to_rot6d(rotation), [gripper]])


def scheduled(actions: list[np.ndarray], dt_s: float = 0.1) -> ActionScheduler:
    scheduler = ActionScheduler(dt_s)
    scheduler.place(np.stack(actions), t_obs_s=0.0, now_s=0.0)
    return scheduler


def test_setpoints_follow_the_table_in_the_docstring():
    scheduler = scheduled([action(0), action(1), action(2)])
    times = [0.00, 0.05, 0.10, 0.15, 0.20, 0.25, 0.29]
    found = [setpoint(scheduler.around(t), t, 0.1).position_m[0] for t in times]
    assert found == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0])


def test_the_line_has_no_delay_against_the_staircase():
    """For actions on a straight line the mean of (setpoint - staircase) over whole steps is zero."""
    scheduler = scheduled([action(i) for i in range(10)])
    times = np.arange(0.1, 0.9, 0.001) + 0.0005
    line = np.array([setpoint(scheduler.around(t), t, 0.1).position_m[0] for t in times])
    stairs = np.array([scheduler.action_at(t)[0] for t in times])
    assert np.mean(line - stairs) == pytest.approx(0.0, abs=1e-9)


def test_setpoints_are_continuous_in_time():
    rng = np.random.default_rng(0)
    scheduler = scheduled([action(x, turn) for x, turn in rng.normal(size=(8, 2))])
    times = np.arange(0.0, 0.8, 1e-3)
    positions = np.array([setpoint(scheduler.around(t), t, 0.1).position_m[0] for t in times])
    assert np.abs(np.diff(positions)).max() < 0.1


def test_rotation_turns_at_constant_speed():
    scheduler = scheduled([action(0, 0.0), action(0, 1.0)])
    start = axis_angle_to_matrix(np.zeros(3))
    turned = [angle_between(start, setpoint(scheduler.around(t), t, 0.1).rotation) for t in (0.05, 0.075, 0.10, 0.15)]
    assert turned == pytest.approx([0.0, 0.25, 0.5, 1.0], abs=1e-9)


def test_the_gripper_switches_when_its_action_is_due():
    scheduler = scheduled([action(0, gripper=1.0), action(0, gripper=0.0)])
    assert [setpoint(scheduler.around(t), t, 0.1).gripper for t in (0.0, 0.09, 0.11, 0.19)] == [1, 1, 0, 0]


def test_a_new_chunk_off_the_old_grid_stays_between_its_neighbours():
    scheduler = scheduled([action(i) for i in range(4)])
    scheduler.place(np.stack([action(10), action(11)]), t_obs_s=0.13, now_s=0.13)
    for t in np.arange(0.0, 0.33, 0.001):
        assert 0.0 <= setpoint(scheduler.around(t), t, 0.1).position_m[0] <= 11.0
