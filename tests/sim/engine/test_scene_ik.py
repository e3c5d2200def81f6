import mujoco
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.rotation import angle_between
from robolearn.kinematics.robot import TCP_SITE
from robolearn.kinematics.robots import robot
from robolearn.sim.engine.scene_ik import PoseIK

PLANAR = """
<mujoco><worldbody><body><joint name="a" type="hinge" axis="0 0 1" range="-3.1 3.1" limited="true"/>
<geom size=".01"/><body pos="0.4 0 0"><joint name="b" type="hinge" axis="0 0 1" range="-3.1 3.1" limited="true"/>
<geom size=".01"/><site name="tip" pos="0.3 0 0"/></body></body></worldbody></mujoco>
"""


PANDA = robot("panda")
MODEL = PANDA.spec().compile()
IK = PoseIK(MODEL, TCP_SITE, PANDA.joints, PANDA.home_rad, max_iterations=30)


def test_forward_kinematics_of_a_planar_arm_in_closed_form():
    ik = PoseIK(mujoco.MjModel.from_xml_string(PLANAR), "tip", ("a", "b"), np.zeros(2))
    position, rotation = ik.forward(np.array([0.3, 0.5]))
    expected = [0.4 * np.cos(0.3) + 0.3 * np.cos(0.8), 0.4 * np.sin(0.3) + 0.3 * np.sin(0.8), 0.0]
    assert np.allclose(position, expected, atol=1e-9)
    assert np.allclose(rotation[0, 0], np.cos(0.8))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.25, 0.25), min_size=7, max_size=7))
def test_the_pose_of_a_reachable_posture_is_found_again(offsets):
    position, rotation = IK.forward(PANDA.home_rad + np.array(offsets))
    solved = IK.solve(PANDA.home_rad, position, rotation)
    found_position, found_rotation = IK.forward(solved)
    assert np.linalg.norm(found_position - position) < 1e-3
    assert angle_between(found_rotation, rotation) < 5e-3


def test_an_unreachable_pose_gives_finite_joints_within_limits():
    joints = IK.solve(PANDA.home_rad, np.array([3.0, 0.0, 0.0]), np.eye(3))
    low, high = np.array([MODEL.joint(name).range for name in PANDA.joints]).T
    assert ((low <= joints) & (joints <= high)).all()
    assert (high - low < 6.0).all(), "the model must have limits"
