"""Rotations against closed forms and against scipy.spatial.transform, which knows nothing of our code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from robolearn.core import rotation as rot

finite = st.floats(-1.0, 1.0, allow_nan=False)
quaternions = arrays(np.float64, 4, elements=finite).filter(lambda q: np.linalg.norm(q) > 1e-3)
# up to just under a half turn, where a rotation vector is unique
axis_angles = arrays(np.float64, 3, elements=st.floats(-1.8, 1.8)).filter(lambda v: np.linalg.norm(v) < np.pi - 1e-3)


def scipy_of(quaternion_wxyz: np.ndarray) -> Rotation:
    return Rotation.from_quat(np.roll(quaternion_wxyz, -1))


@given(quaternions)
def test_quaternion_to_matrix_agrees_with_scipy(q):
    np.testing.assert_allclose(rot.quaternion_to_matrix(q), scipy_of(q).as_matrix(), atol=1e-12)


@given(quaternions)
def test_matrix_to_quaternion_inverts_with_w_not_negative(q):
    back = rot.matrix_to_quaternion(rot.quaternion_to_matrix(q))
    unit = q / np.linalg.norm(q)
    assert back[0] >= 0
    assert min(np.abs(back - unit).max(), np.abs(back + unit).max()) < 1e-9


@given(axis_angles)
def test_axis_angle_to_matrix_agrees_with_scipy(v):
    np.testing.assert_allclose(rot.axis_angle_to_matrix(v), Rotation.from_rotvec(v).as_matrix(), atol=1e-12)


@given(axis_angles)
def test_axis_angle_round_trip_through_the_matrix(v):
    np.testing.assert_allclose(rot.matrix_to_axis_angle(rot.axis_angle_to_matrix(v)), v, atol=1e-8)


rpys = st.tuples(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1)).map(np.array)


@given(rpys)
def test_roll_pitch_and_yaw_turn_about_the_fixed_axes_in_this_order(angles):
    about = np.eye(3)
    turns = [rot.axis_angle_to_matrix(angle * axis) for angle, axis in zip(angles, about, strict=True)]
    np.testing.assert_allclose(rot.rpy_to_matrix(angles), turns[2] @ turns[1] @ turns[0], atol=1e-12)


@given(rpys)
def test_roll_pitch_and_yaw_come_back_from_the_matrix(angles):
    np.testing.assert_allclose(rot.matrix_to_rpy(rot.rpy_to_matrix(angles)), angles, atol=1e-9)


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.sampled_from([-np.pi / 2, np.pi / 2]))
def test_straight_up_the_roll_is_nought_and_the_rotation_the_same(roll, yaw, pitch):
    matrix = rot.rpy_to_matrix(np.array([roll, pitch, yaw]))
    found = rot.matrix_to_rpy(matrix)
    assert found[0] == 0.0
    np.testing.assert_allclose(rot.rpy_to_matrix(found), matrix, atol=1e-9)


@given(quaternions)
def test_rot6d_round_trip_is_exact_on_rotations(q):
    matrix = rot.quaternion_to_matrix(q)
    np.testing.assert_allclose(rot.rot6d_to_matrix(rot.matrix_to_rot6d(matrix)), matrix, atol=1e-12)


@given(arrays(np.float64, 6, elements=st.floats(-5, 5)))
def test_any_two_independent_rows_become_a_rotation(rows):
    first, second = rows[:3], rows[3:]
    if np.linalg.norm(np.cross(first, second)) < 1e-3:
        return
    matrix = rot.rot6d_to_matrix(rows)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


@given(quaternions, quaternions)
def test_angle_between_agrees_with_scipy(p, q):
    expected = (scipy_of(p).inv() * scipy_of(q)).magnitude()
    measured = rot.angle_between(rot.quaternion_to_matrix(p), rot.quaternion_to_matrix(q))
    assert measured == pytest.approx(expected, abs=1e-7)


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_divides_the_angle_in_the_given_fraction(p, q, fraction):
    a, b = rot.quaternion_to_matrix(p), rot.quaternion_to_matrix(q)
    middle = rot.slerp(a, b, fraction)
    total = rot.angle_between(a, b)
    assert rot.angle_between(a, middle) == pytest.approx(fraction * total, abs=1e-6)
    assert rot.angle_between(middle, b) == pytest.approx((1 - fraction) * total, abs=1e-6)


def test_quarter_turns_about_each_axis_have_their_textbook_matrices():
    x = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    y = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    z = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(rot.axis_angle_to_matrix(np.eye(3) * np.pi / 2), [x, y, z], atol=1e-15)


def test_quaternions_are_w_first():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(rot.axis_angle_to_quaternion(np.array([0, 0, np.pi / 2])), [half, 0, 0, half])


def test_rot6d_is_the_first_two_rows():
    matrix = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(rot.matrix_to_rot6d(matrix), [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize("axis", np.eye(3))
def test_half_turns_survive_every_conversion(axis):
    matrix = rot.axis_angle_to_matrix(np.pi * axis)
    np.testing.assert_allclose(matrix, 2 * np.outer(axis, axis) - np.eye(3), atol=1e-15)
    np.testing.assert_allclose(np.abs(rot.matrix_to_axis_angle(matrix)), np.pi * axis, atol=1e-7)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-4])
def test_tiny_angles_keep_their_size(angle):
    v = np.array([0.0, angle, 0.0])
    np.testing.assert_allclose(rot.quaternion_to_axis_angle(rot.axis_angle_to_quaternion(v)), v, rtol=1e-9, atol=1e-20)


def test_leading_axes_are_kept_and_agree_with_one_at_a_time():
    q = np.random.default_rng(0).normal(size=(2, 5, 4))
    matrices = rot.quaternion_to_matrix(q)
    assert matrices.shape == (2, 5, 3, 3)
    assert rot.matrix_to_rot6d(matrices).shape == (2, 5, 6)
    assert rot.matrix_to_axis_angle(matrices).shape == (2, 5, 3)
    for index in np.ndindex(2, 5):
        np.testing.assert_allclose(rot.matrix_to_quaternion(matrices[index]), rot.matrix_to_quaternion(matrices)[index])


def test_a_zero_vector_normalises_to_zero():
    np.testing.assert_array_equal(rot.normalize(np.zeros(3)), np.zeros(3))
