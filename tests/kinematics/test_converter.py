"""A conversion along an episode."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import POSE_NAMES, matrix_to_rot6d, rpy_to_matrix
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.kinematics.pose import Pose
from robolearn.kinematics.state import ArmState

sys.path.append(str(Path(__file__).parent))

from gantry import JOINTS, Gantry

FEATURES = features(
    [
        Feature("observation.state", (10,), names=(*POSE_NAMES, "gripper"), frame="base"),
        Feature("observation.joint_position", (6,), names=JOINTS, unit="rad"),
    ]
)


class GantryArm:
    prefix, robot_name, joint_names, has_gripper, free = "", "gantry", JOINTS, True, ""


def observation(x: float, yaw: float = 0.0, opening: float = 1.0) -> dict[str, np.ndarray]:
    return {
        "observation.state": np.array([x, 0, 0, *matrix_to_rot6d(rpy_to_matrix(np.array([0, 0, yaw]))), opening]),
        "observation.joint_position": np.array([x, 0, 0, 0, 0, yaw]),
    }


def converter(source: str, target: str) -> ActionConverter:
    layouts = [Dialect.parse(text).layout([GantryArm()]) for text in (source, target)]
    return ActionConverter(conversion(*layouts, dt_s=0.1, kinematics=lambda name: Gantry()), FEATURES)


def test_relative_to_the_last_target_adds_up_wherever_the_arm_is():
    made = converter("pose.target", "pose")
    made.start(observation(0.5))
    step = np.array([0.01, 0, 0, 1, 0, 0, 0, 1, 0, 1.0])
    positions = [made.convert(step, observation(0.0))[0] for _ in range(3)]
    np.testing.assert_allclose(positions, [0.51, 0.52, 0.53])


class Fenced:
    """Knows exactly where its arm is and what it was told, which stays within half a metre."""

    def __init__(self):
        self.measured = self.told = ArmState(position_m=np.array([0.4, 0, 0]), rotation=np.eye(3), opening=1.0)

    def arm_state(self):
        return {"": self.measured}

    def arm_targets(self):
        return {"": self.told}

    def follow(self, action):
        self.told = self.told.at(Pose(np.minimum(action[:3], 0.5), np.eye(3)))


def test_steps_are_added_to_what_the_arm_was_really_told_and_not_to_what_it_was_asked():
    arm, layouts = Fenced(), [Dialect.parse(text).layout([GantryArm()]) for text in ("pose.target", "pose")]
    made = ActionConverter(conversion(*layouts), FEATURES, arm)
    made.start(observation(0.1))
    told = []
    for move in (0.08, 0.08, 0.08, -0.05):  # out of the fence, and back
        arm.follow(made.convert(np.array([move, 0, 0, 1, 0, 0, 0, 1, 0, 1.0]), observation(0.1)))
        told.append(arm.told.position_m[0])
    np.testing.assert_allclose(told, [0.48, 0.5, 0.5, 0.45])


def test_what_is_measured_is_taken_from_who_knows_it_exactly():
    arm, layouts = Fenced(), [Dialect.parse(text).layout([GantryArm()]) for text in ("pose.current", "pose")]
    made = ActionConverter(conversion(*layouts), features([]), arm)
    made.start({})
    assert made.convert(np.array([0.03, 0, 0, 1, 0, 0, 0, 1, 0, 1.0]), {})[0] == pytest.approx(0.43)


def test_of_an_arm_that_nobody_knows_exactly_it_must_be_observed():
    class Silent(Fenced):
        def arm_state(self):
            return {}

    layouts = [Dialect.parse(text).layout([GantryArm()]) for text in ("pose.current", "pose")]
    made = ActionConverter(conversion(*layouts), features([]), Silent())
    with pytest.raises(LayoutError, match="no observation says where the arm is; there is nothing"):
        made.start({})


def test_relative_to_what_is_measured_follows_the_arm():
    made = converter("pose.current", "pose")
    made.start(observation(0.5))
    step = np.array([0.01, 0, 0, 1, 0, 0, 0, 1, 0, 1.0])
    positions = [made.convert(step, observation(x))[0] for x in (0.5, 0.503, 0.2)]
    np.testing.assert_allclose(positions, [0.51, 0.513, 0.21])


def test_a_new_episode_forgets_the_last_target():
    made = converter("pose.target", "pose")
    step = np.array([0.01, 0, 0, 1, 0, 0, 0, 1, 0, 1.0])
    for x in (0.5, 0.1):
        made.start(observation(x))
        assert made.convert(step, observation(x))[0] == pytest.approx(x + 0.01)


def test_an_arm_that_is_out_of_reach_is_counted_over_episodes_and_comes_back():
    made = converter("pose", "joints")
    for _ in range(2):
        made.start(observation(0.9))
        xs = [made.convert(np.array([x, 0, 0, 1, 0, 0, 0, 1, 0, 1.0]), observation(0.9))[0] for x in (0.95, 1.2, 0.95)]
        np.testing.assert_allclose(xs, [0.95, 1.0, 0.95])
    assert (made.counts.out_of_reach, made.counts.steps) == (2, 6)


@pytest.mark.parametrize(("words", "jumped"), [("pose", 2), ("pose.current", 2), ("pose.target", 1)])
@pytest.mark.parametrize("opening", ["as it is", "scaled"])
def test_jumps_are_counted_where_numbers_stay_as_they_are(words, jumped, opening):
    """At 10 Hz a tool moves up to 30 cm in a step: one goes farther, there and, unless steps add up, back."""
    source = target = Dialect.parse(words).layout([GantryArm()])
    if opening == "scaled":
        target = replace(target, parts=(target.parts[0], replace(target.parts[1], scale=(0.5,), offset=(0.5,))))
    made = ActionConverter(conversion(source, target, dt_s=0.1, kinematics=lambda name: Gantry()), FEATURES)
    made.start(observation(0.0))
    for x in (0.1, 0.5, 0.1):
        action = np.array([x, 0, 0, 1, 0, 0, 0, 1, 0, 1.0], np.float32)
        told = made.convert(action, observation(0.0))
        np.testing.assert_array_equal(told[:9], action[:9])
    assert made.counts.jumps == jumped and made.counts.steps == 3


def test_joints_that_stay_as_they_are_jump_by_the_speeds_of_the_robot():
    made = converter("joints", "joints")
    made.start(observation(0.0))
    for x in (0.1, 0.4, 0.5):  # of 1 m/s at 10 Hz, and as much again for lagging behind
        made.convert(np.array([x, 0, 0, 0, 0, 0, 1.0]), observation(0.0))
    assert made.counts.jumps == 1


def test_nothing_is_converted_before_an_episode_begins():
    with pytest.raises(LayoutError, match="none has begun: call `start` first"):
        converter("pose", "joints").convert(np.zeros(10), observation(0.0))


def test_what_actions_are_relative_to_must_be_observed():
    layouts = [Dialect.parse(text).layout([GantryArm()]) for text in ("pose.current.tool", "pose")]
    words = (
        "Actions are pose relative to the current one (tool axes, rot6d), and no observation says where the arm is; "
    )
    with pytest.raises(LayoutError, match=re.escape(words)):
        ActionConverter(conversion(*layouts), features([Feature("observation.force", (3,))]))
    in_world = replace(layouts[1], parts=(replace(layouts[1].parts[0], frame="world"), layouts[1].parts[1]))
    state = Feature("observation.state", (10,), layout=in_world)
    with pytest.raises(
        LayoutError, match=r"is in the frame 'base', and the pose of the arm is observed in world; where"
    ):
        ActionConverter(conversion(*layouts), features([state]))


def test_states_that_are_given_in_the_world_are_brought_into_the_base_of_the_arm():
    class Standing(GantryArm):
        position_m, quaternion = (1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)  # half a turn

    layouts = [Dialect.parse(text).layout([Standing()]) for text in ("pose.current", "pose")]
    in_world = replace(layouts[1], parts=(replace(layouts[1].parts[0], frame="world"), layouts[1].parts[1]))
    plan = conversion(*layouts, mounted=[Standing()])
    made = ActionConverter(plan, features([Feature("observation.state", (10,), layout=in_world)]))
    seen = {"observation.state": observation(0.25)["observation.state"]}
    made.start(seen)
    step = np.array([0.01, 0, 0, 1, 0, 0, 0, 1, 0, 1.0])
    np.testing.assert_allclose(made.convert(step, seen)[:3], [0.76, 0, 0], atol=1e-12)
