"""Numbers that were averaged or clipped one by one are a rotation again before anything is computed from them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robolearn.core.action_dialect import Dialect
from robolearn.core.rotation import matrix_to_rot6d, rot6d_to_matrix, rpy_to_matrix
from robolearn.execution.command import Command
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.pose import Pose, numbers_of, pose_of
from robolearn.kinematics.state import ArmState

sys.path.append(str(Path(__file__).parent))

from gantry import JOINTS, Gantry

ARM = SimpleNamespace(prefix="", robot_name="gantry", joint_names=JOINTS, has_gripper=True, free="")
ROTATIONS = ("rot6d", "axis_angle", "rpy", "quaternion")
angles = arrays(np.float64, 3, elements=st.floats(-1.4, 1.4))
fractions = st.floats(0.0, 1.0)


def layout(words: str):
    return Dialect.parse(words).layout([ARM])


def is_rotation(matrix: np.ndarray) -> bool:
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-9) and np.linalg.det(matrix) > 0)


def between(words: str, first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    """Number by number: an action between two, with rotations by roll, pitch and yaw, then clipped."""
    part = layout(words).parts[0]
    here = Pose(np.zeros(3), np.eye(3))
    ends = [numbers_of(part, Pose(np.full(3, 0.1), rpy_to_matrix(rpy)), here) for rpy in (first, second)]
    return np.append(np.clip((1 - fraction) * ends[0] + fraction * ends[1], -0.8, 0.8), 1.0)


@pytest.mark.parametrize("rotation", ROTATIONS)
@settings(max_examples=30)
@given(angles, angles, fractions)
def test_whatever_a_pose_is_converted_to_is_made_of_a_rotation(rotation, first, second, fraction):
    somewhere = {"": ArmState(np.zeros(6), np.zeros(3), rpy_to_matrix(first))}
    for source in (f"pose.{rotation}", f"pose.current.tool.{rotation}", f"pose.target.base.{rotation}"):
        action = between(source, first, second, fraction)
        if np.linalg.norm(action[3:-1]) < 1e-3:
            return  # no direction is left to be one of
        for target in ("pose.current.base.rot6d", "pose.rot6d"):
            plan = conversion(layout(source), layout(target), kinematics=lambda _: Gantry())
            if plan.identity:
                continue  # whoever carries it out reads it: see below
            told, reached = plan.convert(action, somewhere, somewhere)
            assert is_rotation(np.stack([told[3:6], told[6:9], np.cross(told[3:6], told[6:9])]))
            assert is_rotation(reached[""].rotation)


@settings(max_examples=30)
@given(angles, angles, fractions)
def test_what_an_arm_is_told_is_read_as_a_rotation(first, second, fraction):
    action = between("pose.rot6d", first, second, fraction)
    assert is_rotation(Command.from_action(action).rotation)
    assert is_rotation(pose_of(layout("pose").parts[0], action[:9]).rotation)


@given(angles)
def test_a_rotation_is_not_changed_by_being_read(rpy):
    """So nothing is lost where nothing was averaged."""
    matrix = rpy_to_matrix(rpy)
    np.testing.assert_allclose(rot6d_to_matrix(matrix_to_rot6d(matrix)), matrix, atol=1e-12)
