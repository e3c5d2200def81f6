"""`Arm`: where one robot is found in a simulation."""

import mujoco
import pytest

from robolearn.core.errors import ConfigError
from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robot import Robot, Servo
from robolearn.kinematics.specs import add_tcp
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.robots.attach import attach

XML = """<mujoco><worldbody><body name="base">
  <geom size="0.02" mass="1"/>
  <body name="first"><joint name="first" axis="0 0 1" limited="true" range="-1 1"/><geom size="0.02" mass="1"/>
    <body name="spring"><joint name="spring" axis="0 1 0"/><geom size="0.02" mass="1"/></body>
    <body name="second" pos="0 0 0.3"><joint name="second" axis="0 1 0" limited="true" range="-1 1"/>
      <geom size="0.02" mass="1"/></body>
  </body>
</body></worldbody></mujoco>"""


def build(robot: Robot) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_string(XML)
    add_tcp(spec.body("second"), (0.0, 0.0, 0.2))
    return spec


def test_a_model_with_another_joint_between_those_of_the_arm_is_refused_by_its_name():
    joints = ("first", "second")
    servos = dict.fromkeys(joints, Servo(100.0, 10.0, 10.0))
    robot = Robot("sprung", "", RobotModel("sprung", "1", (), ()), joints, *[(1.0, 1.0)] * 4, build, servos=servos)
    scene, arms = mujoco.MjSpec(), [MountedRobot(robot)]
    attach(scene, arms[0])
    with pytest.raises(ConfigError) as refused:
        Simulation(scene.compile(), arms)
    assert str(refused.value) == (
        "The model of the robot 'sprung' has other joints between ['first', 'second']; put them behind those in its "
        "file: what moves beside the arm comes after what the arm moves."
    )
