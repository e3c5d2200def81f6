"""Arms of five joints: which rotation they cannot follow, and what is done about the others."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.ik import SEARCH

FREE = ("so100", "so101")
_ARMS: dict[str, ArmKinematics] = {}
_PLAY = 5e-3  # the files' links are turned by as much: their angles are rounded


@pytest.fixture(params=FREE)
def five(request, present) -> ArmKinematics:
    """Made once for all examples: `solve` keeps nothing from one call to the next."""
    return _ARMS.setdefault(request.param, ArmKinematics(present(request.param)))


def plane(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward and sideways, both horizontal, of the vertical plane through the base's z axis and a point."""
    outward = np.array([position[0], position[1], 0.0]) / np.hypot(position[0], position[1])
    return outward, np.cross([0.0, 0.0, 1.0], outward)


def test_the_approach_axis_stays_in_the_plane_that_the_first_joint_turns(five):
    low, high = five.limits_rad.T
    for q in np.random.default_rng(0).uniform(low, high, size=(50, 5)):
        position, rotation = five.forward(q)
        if np.hypot(position[0], position[1]) < 0.1:
            continue  # above the first joint every plane is as good
        _, sideways = plane(position)
        assert abs(rotation[:, 2] @ sideways) < _PLAY


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(-0.6, 0.6), st.floats(-1.0, 1.0), st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=5))
def test_a_tool_tilted_sideways_is_met_upright_with_its_turn_about_the_approach_axis(five, tilt, pan, offsets):
    """A pose that another arm could reach: the tool is there, points as far down and is turned about its axis as
    asked, and only its sideways tilt is missing."""
    q = np.clip(five.home_rad + np.array([pan, *offsets[1:]]), *(five.limits_rad.T * 0.99))
    position, upright = five.forward(q)
    _, sideways = plane(position)
    approach = upright[:, 2] - (upright[:, 2] @ sideways) * sideways
    tilted = axis_angle_to_matrix(tilt * np.cross(sideways, approach / np.linalg.norm(approach))) @ upright
    solved = five.solve(q + 0.05, position, tilted)
    assert solved.reached
    found, rotation = five.forward(solved.joints)
    assert np.linalg.norm(found - position) < 1e-6
    left = matrix_to_axis_angle(tilted @ rotation.T)
    assert abs(left @ sideways) < 1e-6 and abs(left @ tilted[:, 2]) < 1e-6
    assert np.linalg.norm(left) == pytest.approx(abs(tilt), abs=2 * _PLAY)


def test_what_its_joints_cannot_do_at_all_is_said(five):
    """The tool pointing down 40 cm in front of it."""
    down = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    solved = five.solve(five.home_rad, np.array([0.5, 0.0, 0.05]), down, SEARCH)
    assert not solved.reached
    assert solved.position_error_m > 0.05
