"""Conversions between poses and joints of every robot that is there."""

import pickle

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import ConfigError, LayoutError
from robolearn.core.rotation import angle_between, matrix_to_rot6d, rot6d_to_matrix
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.state import ArmState


def plan(arm, source: str, target: str):
    return conversion(*(Dialect.parse(words).layout([MountedRobot(arm)]) for words in (source, target)), dt_s=0.05)


@pytest.mark.parametrize("through", ["joints", "joints.target", "velocity"])
def test_a_path_of_poses_comes_back_through_joints(arm, kinematics, through):
    """Within 0.1 mm and 0.1 degree, which a dataset's targets may be off by; solved to a thousandth of that."""
    rng = np.random.default_rng(0)
    path = kinematics.home_rad + np.cumsum(rng.uniform(-0.02, 0.02, (20, len(arm.joints))), axis=0)
    gripper = [0.3] * (arm.gripper is not None)
    there, back, counts = plan(arm, "pose", through), plan(arm, through, "pose"), Counts()
    position, rotation = kinematics.forward(kinematics.home_rad)
    start = {"": ArmState(kinematics.home_rad, position, rotation, 0.3)}
    target = again = start
    for joints in path:
        position, rotation = kinematics.forward(joints)
        pose = np.concatenate([position, matrix_to_rot6d(rotation), gripper])
        told, target = there.convert(pose, start, target, counts)
        came, again = back.convert(told, start, again, counts)
        assert np.linalg.norm(came[:3] - position) < 1e-6
        assert angle_between(rot6d_to_matrix(came[3:9]), rotation) < 1e-5 or arm.free
    assert counts.exact and counts.steps == 40


def test_beyond_the_reach_the_nearest_pose_is_held_and_said(arm, kinematics):
    position, rotation = kinematics.forward(kinematics.home_rad)
    start = {"": ArmState(kinematics.home_rad, position, rotation, 1.0)}
    far = np.concatenate([[5.0, 0.0, position[2]], matrix_to_rot6d(rotation), [1.0] * (arm.gripper is not None)])
    counts = Counts()
    told, target = plan(arm, "pose", "joints").convert(far, start, start, counts)
    held, _ = kinematics.forward(told[: len(arm.joints)])
    assert counts.out_of_reach == 1 and counts.farthest_m == pytest.approx(5.0 - held[0], rel=0.2)
    np.testing.assert_allclose(target[""].position_m, held, atol=1e-9)
    low, high = kinematics.limits_rad.T
    assert (told[: len(arm.joints)] >= low).all() and (told[: len(arm.joints)] <= high).all()


def test_the_last_target_of_poses_is_known_from_the_joints_that_were_measured(arm, kinematics):
    position, _ = kinematics.forward(kinematics.home_rad)
    measured = {"": ArmState(joints=kinematics.home_rad)}
    step = np.concatenate([[0.01, 0, 0], matrix_to_rot6d(np.eye(3)), [1.0] * (arm.gripper is not None)])
    told, _ = plan(arm, "pose.target", "pose").convert(step, measured, measured)
    np.testing.assert_allclose(told[:3], position + [0.01, 0, 0], atol=1e-9)


def test_a_robot_that_nobody_knows_is_named_with_the_closest_one():
    pose = ActionLayout((Part("pose"),), (("", "pandda"),))
    joints = ActionLayout((Part("joints", ("a",)),), (("", "pandda"),))
    with pytest.raises(ConfigError, match="Unknown robot 'pandda'. Did you mean 'panda'"):
        conversion(pose, joints)


def test_joints_of_other_names_are_refused():
    names = ("shoulder", "elbow")
    with pytest.raises(LayoutError, match=r"the joints are \['shoulder', 'elbow'\], those of panda are \["):
        conversion(ActionLayout((Part("pose"),), (("", "panda"),)), ActionLayout((Part("joints", names),)))


def test_joints_of_a_robot_that_has_another_number_of_them_are_refused():
    names = tuple("abcdefg")
    layouts = [ActionLayout((Part("joints", names, reference=to),), (("", "ur5e"),)) for to in ("absolute", "current")]
    with pytest.raises(LayoutError, match=r"the joints are \['a', .*, 'g'\], those of ur5e are \['shoulder_pan'"):
        conversion(*layouts)


@pytest.mark.parametrize("source", ["pose", "pose.current"])
def test_joints_that_are_measured_of_another_robot_are_told_apart_from_the_arm_s(present, source):
    arm = present("ur5e")
    said = "Of the arm 7 joints are known, and the robot ur5e has 6: one of the two is another robot."
    step, measured = np.concatenate([np.full(3, 0.3), matrix_to_rot6d(np.eye(3)), [1]]), {"": ArmState(np.zeros(7))}
    made = plan(arm, source, "joints")
    with pytest.raises(LayoutError, match=said):
        made.convert(step, measured, measured)


def test_a_conversion_can_be_sent_to_another_process(present):
    """Evaluation's workers get theirs so, after it was used."""
    arm = present("panda")
    made, at = plan(arm, "pose", "joints"), ArmKinematics(arm).forward(arm.home_rad)
    pose = np.concatenate([at[0], matrix_to_rot6d(at[1]), [1.0]])
    start = {"": ArmState(arm.home_rad, *at, 1.0)}
    first, _ = made.convert(pose, start, start)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).convert(pose, start, start)[0], first)


def test_a_first_pose_in_reach_is_reached_wherever_it_is(arm, kinematics):
    """Of poses alone it is not known how the arm stood; from home many poses of other postures are not found."""
    rng, counts = np.random.default_rng(0), Counts()
    told = plan(arm, "pose", "joints")
    low, high = kinematics.limits_rad.T
    gripper = [0.3] * (arm.gripper is not None)
    for joints in rng.uniform(low, high, (10, len(arm.joints))):
        position, rotation = kinematics.forward(joints)
        pose = np.concatenate([position, matrix_to_rot6d(rotation), gripper])
        told.convert(pose, {"": ArmState()}, {"": ArmState()}, counts)
    assert counts.steps == 10 and counts.out_of_reach == 0
