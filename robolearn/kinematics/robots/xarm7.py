"""UFACTORY xArm7 with its gripper, MuJoCo Menagerie's `ufactory_xarm7`.

The fingers are parallel linkages: their passive joints are coupled to the driven one, which is the same motion as
Menagerie's closed loops for fewer constraints.

Velocity and acceleration: xArm user manual (180 degrees/s and 1145 degrees/s^2 each). Torque: the ranges of Menagerie's
actuators; the maker states none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

_SIDES = ("left", "right")
_DRIVERS = ("left_driver_joint", "right_driver_joint")
_PADS = (("left_finger_pad_1", "left_finger_pad_2"), ("right_finger_pad_1", "right_finger_pad_2"))
_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
_EFFORT = (50.0, 50.0, 30.0, 30.0, 30.0, 20.0, 20.0)


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(robot.model.folder() / "xarm7.xml")
    specs.keep_collision_geoms(spec, but=("left_finger", "right_finger"))
    specs.dress(spec, specs.WHITE, robot.gripper)
    specs.drop_linkage(spec)
    for side in _SIDES:
        specs.couple(spec, f"{side}_finger_joint", f"{side}_driver_joint", 1.0)
        specs.couple(spec, f"{side}_inner_knuckle_joint", f"{side}_driver_joint", 1.0)
    specs.couple(spec, "right_driver_joint", "left_driver_joint", 1.0)
    for joint in spec.joints:
        arm = joint.name in robot.joints
        specs.set_passive(joint, damping=1.0 if arm else 0.1, armature=0.1 if arm else 0.005)
    spec.body("link_base").pos = (0.0, 0.0, 0.0)
    hand = spec.body("xarm_gripper_base_link")
    specs.add_tcp(hand, (0.0, 0.0, 0.155), (0.70710678, 0.0, 0.0, 0.70710678))
    specs.add_wrist_camera(hand, (-0.075, 0.0, 0.03), (0.0, -1.0, 0.0, -0.940, 0.0, 0.342))
    return spec


XARM7 = Robot(
    name="xarm7",
    title="UFACTORY xArm7 with xArm Gripper",
    model=RobotModel(
        name="xarm7",
        version="menagerie",
        places=(Menagerie("ufactory_xarm7"),),
        files=(
            "xarm7.xml",
            "assets/link_base.stl",
            *(f"assets/link{i}.stl" for i in range(1, 8)),
            "assets/end_tool.stl",
            "assets/base_link.stl",
            *(f"assets/{side}_{part}.stl" for side in _SIDES for part in ("outer_knuckle", "finger", "inner_knuckle")),
        ),
    ),
    joints=_JOINTS,
    home=(0.0, -0.0957, 0.0, 1.1623, 0.0, 1.2579, 0.0),  # hand pointing down at (0.45, 0, 0.28) m
    velocity=(3.14,) * 7,
    acceleration=(20.0,) * 7,
    effort=_EFFORT,
    build=_build,
    gripper=GripperModel(_DRIVERS, (0.85, 0.85), (0.0, 0.0), opening_m=0.089, pads=_PADS),
    servos={
        **{
            name: Servo(stiffness, stiffness / 10, force)
            for name, stiffness, force in zip(
                _JOINTS, (3000.0, 3000.0, 2000.0, 2000.0, 1200.0, 1200.0, 800.0), _EFFORT, strict=True
            )
        },
        **dict.fromkeys(_DRIVERS, Servo(30.0, 1.0, 2.5)),
    },
)
