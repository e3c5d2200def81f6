"""What observations say of arms."""

from types import SimpleNamespace

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import Dialect
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import POSE_NAMES, matrix_to_rot6d, rpy_to_matrix
from robolearn.kinematics.pose import Pose
from robolearn.kinematics.state import state_of

TURN = rpy_to_matrix(np.array([0.3, -0.2, 1.0]))


def test_a_state_written_before_layouts_is_read_by_its_names():
    found = features(
        [
            Feature("observation.state", (10,), names=(*POSE_NAMES, "gripper"), frame="base"),
            Feature("observation.joint_position", (2,), names=("a", "b"), unit="rad"),
            Feature("observation.environment_state", (10,), names=tuple("abcdefghij")),
        ]
    )
    observation = {
        "observation.state": np.array([0.1, 0.2, 0.3, *matrix_to_rot6d(TURN), 0.4], np.float32),
        "observation.joint_position": np.array([1.0, 2.0], np.float32),
        "observation.environment_state": np.zeros(10),
    }
    (arm,) = state_of(observation, found).values()
    np.testing.assert_allclose(arm.position_m, [0.1, 0.2, 0.3], rtol=1e-7)
    np.testing.assert_allclose(arm.rotation, TURN, atol=1e-7)
    np.testing.assert_array_equal(arm.joints, [1.0, 2.0])
    assert arm.opening == np.float32(0.4)


def test_what_is_not_observed_is_not_known():
    found = features([Feature("observation.joint_position", (2,), names=("a", "b"), unit="rad")])
    arm = state_of({"observation.joint_position": np.zeros(2)}, found)[""]
    assert arm.pose is None and arm.opening is None
    assert state_of({}, found) == {}


def test_two_arms_have_their_prefixes_and_their_own_base_frames():
    arms = [SimpleNamespace(prefix=p, robot_name="r", joint_names=(), has_gripper=True, free="") for p in ("l", "r")]
    layout = Dialect.parse("pose.quaternion").layout(arms)
    in_world = ActionLayout(tuple(Part("pose", arm=p, rotation="quaternion", frame="world") for p in ("l", "r")))
    numbers = [0.5, 0.0, 0.2, 1, 0, 0, 0]
    mounts = {"r": Pose(np.array([1.0, 0.0, 0.0]), rpy_to_matrix(np.array([0, 0, np.pi])))}
    own = state_of({"s": np.array([*numbers, 1.0] * 2)}, {"s": Feature("s", (16,), layout=layout)}, mounts)
    world = state_of({"s": np.array(numbers * 2)}, {"s": Feature("s", (14,), layout=in_world)}, mounts)
    np.testing.assert_array_equal(own["r"].position_m, [0.5, 0.0, 0.2])
    np.testing.assert_allclose(world["r"].position_m, [0.5, 0.0, 0.2], atol=1e-12)  # half a turn, a metre away
    np.testing.assert_allclose(world["r"].rotation, np.diag([-1.0, -1.0, 1.0]), atol=1e-12)
    np.testing.assert_array_equal(world["l"].position_m, [0.5, 0.0, 0.2])


def test_numbers_that_move_something_are_no_state():
    layout = ActionLayout((Part("pose", reference="target", rotation="none"),))
    assert state_of({"s": np.zeros(3)}, {"s": Feature("s", (3,), layout=layout)}) == {}
