"""The target pose follows closed forms: constant twist, workspace box, leash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.rotation import angle_between, axis_angle_to_matrix
from robolearn.execution.command import Command
from robolearn.hardware.input.protocol import Motion
from robolearn.teleop.integrator import Leash, TargetIntegrator

LOW, HIGH = np.array([0.0, -1.0, 0.0]), np.array([1.0, 1.0, 1.0])
START = Command(np.array([0.5, 0.0, 0.5]), np.eye(3), 1.0)
numbers = st.floats(-3.0, 3.0)


def integrator(leash: Leash | None = None, start: Command = START) -> TargetIntegrator:
    made = TargetIntegrator(LOW, HIGH, leash or Leash(distance_m=10.0, angle_rad=np.pi))
    made.start(start)
    return made


def moving(*twist: float, gripper: float | None = None) -> Motion:
    return Motion(np.array(twist), gripper)


def test_constant_velocity_moves_in_a_straight_line():
    integrated = integrator()
    for _ in range(20):
        target = integrated.step(moving(0.1, -0.2, 0.05, 0, 0, 0), START, 0.05)
    assert target.position_m == pytest.approx([0.6, -0.2, 0.55])
    assert np.array_equal(target.rotation, np.eye(3))


def test_constant_angular_velocity_is_the_exponential_map():
    integrated = integrator()
    w = np.array([0.3, -0.4, 0.2])
    for _ in range(20):
        target = integrated.step(moving(0, 0, 0, *w), START, 0.05)
    assert target.rotation == pytest.approx(axis_angle_to_matrix(w), abs=1e-9)


def test_rotation_turns_about_the_axes_of_the_base_frame():
    start = Command(START.position_m, axis_angle_to_matrix(np.array([np.pi, 0, 0])), 1.0)
    target = integrator(start=start).step(moving(0, 0, 0, 0, 0, 1.0), start, 0.1)
    assert target.rotation == pytest.approx(axis_angle_to_matrix(np.array([0, 0, 0.1])) @ start.rotation)


def test_gripper_stays_until_told_and_is_clipped():
    integrated = integrator()
    assert integrated.step(moving(*[0] * 6), START, 0.05).gripper == 1.0
    assert integrated.step(moving(*[0] * 6, gripper=0.25), START, 0.05).gripper == 0.25
    assert integrated.step(moving(*[0] * 6, gripper=-3.0), START, 0.05).gripper == 0.0
    assert integrated.step(moving(*[0] * 6), START, 0.05).gripper == 0.0


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=20))
def test_target_never_leaves_the_workspace(velocities):
    integrated = integrator()
    for velocity in velocities:
        target = integrated.step(moving(*velocity, 0, 0, 0), START, 0.1)
        assert (target.position_m >= LOW).all() and (target.position_m <= HIGH).all()


def test_a_start_outside_the_workspace_can_only_move_inwards():
    outside = Command(np.array([1.2, 0.0, 0.5]), np.eye(3), 1.0)
    integrated = integrator(start=outside)
    assert integrated.step(moving(0.5, 0, 0, 0, 0, 0), outside, 0.1).position_m[0] == pytest.approx(1.2)
    assert integrated.step(moving(-0.5, 0, 0, 0, 0, 0), outside, 0.1).position_m[0] == pytest.approx(1.15)
    assert integrated.step(moving(0.2, 0, 0, 0, 0, 0), outside, 0.1).position_m[0] == pytest.approx(1.15)


@given(st.lists(st.tuples(*[numbers] * 6), max_size=20))
def test_target_stays_on_the_leash(twists):
    integrated = integrator(Leash(distance_m=0.08, angle_rad=0.5))
    for twist in twists:
        target = integrated.step(moving(*twist), START, 0.1)
        assert np.linalg.norm(target.position_m - START.position_m) <= 0.08 + 1e-9
        assert angle_between(target.rotation, START.rotation) <= 0.5 + 1e-6


def test_reversing_on_the_leash_acts_at_once():
    integrated = integrator(Leash(distance_m=0.08, angle_rad=0.5))
    for _ in range(50):
        integrated.step(moving(0.2, 0, 0, 0, 0, 0), START, 0.05)
    assert integrated.step(moving(-0.2, 0, 0, 0, 0, 0), START, 0.05).position_m[0] == pytest.approx(0.5 + 0.08 - 0.01)
