"""Whole episodes in another layout, and how far the copy's targets are from the original's."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d, rpy_to_matrix
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.kinematics.episode import GoalErrors, compare_goals, convert_episode, observed_parts
from robolearn.kinematics.state import ArmState

sys.path.append(str(Path(__file__).parent))

from gantry import JOINTS, Gantry

ARM = SimpleNamespace(prefix="", robot_name="gantry", joint_names=JOINTS, has_gripper=True, free="")
STATE = Feature("observation.state", (10,), layout=Dialect.parse("pose").layout([ARM]))
FEATURES = features([STATE, Feature("observation.force", (3,), names=("x", "y", "z"))])


def plan(source: str, target: str):
    return conversion(*(Dialect.parse(w).layout([ARM]) for w in (source, target)), kinematics=lambda _: Gantry())


def path(steps: int) -> np.ndarray:
    t = np.arange(steps) * 0.05
    turns = matrix_to_rot6d(rpy_to_matrix(np.stack([0.1 * t, np.sin(t), t], -1)))
    return np.concatenate([np.stack([0.2 + 0.1 * t, 0.1 * np.cos(t), 0.3 + 0 * t], -1), turns, np.ones((steps, 1))], -1)


def test_only_what_says_where_an_arm_is_is_looked_at():
    assert observed_parts(FEATURES) == ["observation.state"]


@pytest.mark.parametrize("target", ["joints", "pose.current.tool.axis_angle", "pose.target.euler", "joints.target"])
def test_a_copy_that_is_stored_exactly_has_no_error(target):
    seen, asked = {"observation.state": path(9)}, path(10)[1:]
    made, errors = plan("pose", target), GoalErrors()
    told = convert_episode(ActionConverter(made, FEATURES), asked, seen)
    compare_goals(made, FEATURES, asked, told, seen, errors)
    assert errors.position_m < 1e-9 and errors.rotation_rad < 1e-7 and errors.opening == 0.0
    told[4, 0] += 0.01  # 1 cm, or a centimetre's slide, in one of them
    compare_goals(made, FEATURES, asked, told, seen, errors)
    assert errors.position_m == pytest.approx(0.01, rel=1e-6)
    assert errors.describe().startswith("10 mm and ")


def test_where_there_are_no_poses_joints_are_compared():
    joints = Feature("observation.joint_position", (6,), names=JOINTS, unit="rad")
    seen, asked = {"observation.joint_position": np.zeros((3, 6))}, np.full((3, 7), 0.5)
    made, errors = plan("joints", "joints.current"), GoalErrors()
    told = convert_episode(ActionConverter(made, features([joints])), asked, seen)
    told[2, 5] += 0.02
    compare_goals(made, features([joints]), asked, told, seen, errors)
    assert errors.joints == pytest.approx(0.02) and errors.position_m is None
    assert errors.describe() == "0.02 rad"


def test_a_tilt_that_the_arm_is_free_of_is_no_error():
    """Tool down, in front of the base: sideways it tilts about x, along and about itself it may not."""
    down = rpy_to_matrix(np.array([np.pi, 0, 0]))
    asked = ArmState(position_m=np.array([0.3, 0, 0.1]), rotation=down)
    for axis, counts in (((1, 0, 0), False), ((0, 1, 0), True), ((0, 0, 1), True)):
        errors = GoalErrors()
        turned = axis_angle_to_matrix(0.1 * np.array(axis, float)) @ down
        errors.add(asked, ArmState(position_m=asked.position_m, rotation=turned), "sideways")
        assert errors.rotation_rad == pytest.approx(0.1 if counts else 0.0, abs=1e-9)


def test_a_bad_number_is_said_with_its_step():
    asked = path(4)
    asked[2, 1] = np.nan
    with pytest.raises(LayoutError, match="step 2: An action holds nan at y"):
        convert_episode(ActionConverter(plan("pose", "joints"), FEATURES), asked, {"observation.state": path(4)})


def test_episodes_of_numbers_that_stay_keep_them_to_the_bit():
    asked = path(3).astype(np.float32)
    told = convert_episode(ActionConverter(plan("pose", "pose"), FEATURES), asked, {"observation.state": path(3)})
    np.testing.assert_array_equal(told.astype(np.float32), asked)
