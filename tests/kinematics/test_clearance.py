"""Distances of arms, against shapes whose distances everybody can write down."""

import math

import mujoco
import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.clearance import Clearance, geom_distance
from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.pairs import ALOHA_APART_M, aloha, facing, side_by_side
from robolearn.kinematics.robot import Robot, Servo
from robolearn.kinematics.robots import robot


def pillar(shape: str = 'type="sphere" size=".05"') -> Robot:
    """A post that three hinges about y bend, each 0.5 m above the last; on its top a thing of the given shape."""
    joint = 'type="hinge" axis="0 1 0" limited="true" range="-3.1 3.1"'
    post = '<geom type="sphere" size=".02"/>'
    text = f"""
    <mujoco><compiler angle="radian"/><worldbody><body name="foot">{post}
    <body name="low" pos="0 0 0.5"><joint name="a" {joint}/>{post}
    <body name="middle" pos="0 0 0.5"><joint name="b" {joint}/>{post}
    <body name="top" pos="0 0 0.5"><joint name="c" {joint}/><geom {shape}/><site name="tcp"/></body>
    </body></body></body></worldbody></mujoco>"""
    servos = dict.fromkeys("abc", Servo(1.0, 1.0, 1.0))
    one = (1.0,) * 3
    return Robot(
        "pillar", "", RobotModel("pillar", "1", (), ()), ("a", "b", "c"), (0.0,) * 3, one, one, one,
        lambda _: mujoco.MjSpec.from_string(text), servos=servos,
    )  # fmt: skip


def test_an_arm_that_bends_back_comes_near_to_its_own_foot():
    """Folded at the second hinge by 180 degrees the top is where the low hinge is; at 170 degrees a chord away."""
    bent = math.radians(170.0)
    found = ArmKinematics(pillar()).distances(np.array([0.0, bent, 0.0]), within_m=2.0)
    # top at 1.0 + 0.5 (sin, cos) of the bend; "low" at 0.5: their spheres have 0.05 and 0.02 m
    chord = math.hypot(0.5 * math.sin(bent), 0.5 + 0.5 * math.cos(bent))
    assert found.own.distance_m == pytest.approx(chord - 0.07, abs=1e-6)
    assert {found.own.first, found.own.second} == {"low", "top"}


def test_parts_next_to_each_other_do_not_count():
    found = ArmKinematics(pillar('type="sphere" size=".6"')).distances(np.zeros(3), within_m=2.0)
    assert found.own.distance_m == pytest.approx(1.0 - 0.6 - 0.02)  # to the low hinge, not to the middle one
    assert math.isinf(ArmKinematics(pillar()).distances(np.zeros(3), within_m=0.5).own.distance_m)


@pytest.mark.parametrize(
    ("shape", "below"),
    [
        ('type="sphere" size=".05"', 0.05),
        ('type="capsule" size=".02 .1"', 0.02 + 0.1 * math.cos(0.3)),
        ('type="cylinder" size=".02 .1"', 0.02 * math.sin(0.3) + 0.1 * math.cos(0.3)),
        ('type="box" size=".02 .03 .1"', 0.02 * math.sin(0.3) + 0.1 * math.cos(0.3)),
        ('type="ellipsoid" size=".02 .03 .1"', math.hypot(0.02 * math.sin(0.3), 0.1 * math.cos(0.3))),
    ],
)
def test_over_the_plane_the_lowest_point_of_each_shape_counts(shape, below):
    """Bent over by 2.5 rad in the middle the top hangs at 1 + 0.5 cos(2.5) m, turned by 2.5 + c = pi + 0.3 rad."""
    found = ArmKinematics(pillar(shape)).distances(np.array([0.0, 2.5, math.pi - 2.5 + 0.3]), within_m=2.0)
    assert found.plane.distance_m == pytest.approx(1 + 0.5 * math.cos(2.5) - below, abs=1e-9)
    assert found.plane.first == "top"


def test_two_arms_that_lean_towards_each_other():
    clearance = Clearance(facing(pillar(), pillar(), apart_m=1.2))
    lean = 0.4
    found = clearance.at({"left": np.array([0.0, lean, 0.0]), "right": np.array([0.0, lean, 0.0])}, within_m=2.0)
    assert found.between.distance_m == pytest.approx(1.2 - 2 * 0.5 * math.sin(lean) - 0.1, abs=1e-6)
    assert (found.between.first, found.between.second) == ("left_top", "right_top")
    assert found.smallest == found.between
    assert math.isinf(clearance.at({"left": np.zeros(3), "right": np.zeros(3)}, within_m=0.5).between.distance_m)


def test_arms_that_overlap_have_a_negative_distance():
    clearance = Clearance(side_by_side(pillar(), pillar(), apart_m=0.06))
    assert clearance.at({"left": np.zeros(3), "right": np.zeros(3)}).between.distance_m == pytest.approx(-0.04)


def test_two_arms_with_one_prefix_are_refused():
    with pytest.raises(ConfigError, match="Two arms have the prefix 'left'"):
        Clearance((MountedRobot(pillar(), "left"), MountedRobot(pillar(), "left")))


def test_a_robot_at_home_is_clear_of_itself_and_of_the_plane(kinematics):
    found = kinematics.distances(kinematics.home_rad)
    assert found.own.distance_m > 0.003
    assert found.plane.distance_m > 0.01


def test_faces_that_are_parallel_have_their_distance():
    """Two boxes side by side, one lower than the other: MuJoCo's own answer may be 0 though they are apart."""
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><geom type="box" size=".02 .02 .001" pos="0 0 0"/>'
        '<geom type="box" size=".02 .02 .001" pos=".01 .03 .087" euler="0 0 30"/></worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert geom_distance(model, data, 0, 1, 1.0) == pytest.approx(0.085, abs=1e-6)


def test_aloha_stands_with_its_arms_facing_each_other():
    left, right = aloha()
    assert (left.robot, right.robot) == (robot("vx300s"),) * 2
    assert right.position_m[0] - left.position_m[0] == pytest.approx(ALOHA_APART_M)
    # half a metre in front of the right base is towards the left one
    position, _ = right.to_world(np.array([0.5, 0.1, 0.2]), np.eye(3))
    np.testing.assert_allclose(position, [ALOHA_APART_M / 2 - 0.5, -0.1, 0.2], atol=1e-12)
