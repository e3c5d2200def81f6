"""Trossen WidowX 250 6DOF (WidowX 250s), MuJoCo Menagerie's `trossen_wx250s`.

Velocity and torque: no-load speed and stall torque at 12 V of its DYNAMIXEL servos (ROBOTIS e-Manual): XM430-W350
46 rev/min, 4.1 N m (in pairs in shoulder and elbow), XL430-W250 in the last joint 61 rev/min, 1.5 N m. The maker states
no acceleration; what is here reaches full speed in 0.2 s, Interbotix' default profile in 0.3 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

_FORWARD = (0.5, 0.5, 0.5, 0.5)  # of the gripper's link x points to the front and y from finger to finger
_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
_FINGERS = ("left_finger", "right_finger")
_PADS = (("left_finger",), ("right_finger",))


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(robot.model.folder() / "wx250s.xml")
    specs.keep_collision_geoms(spec)
    for geom in list(spec.geoms):
        if not geom.meshname:
            spec.delete(geom)  # of half a millimetre, at the tips
    for side in ("left", "right"):
        [finger] = spec.body(f"wx250s/{side}_finger_link").geoms
        finger.name = f"{side}_finger"
    specs.dress(spec, specs.BLACK, robot.gripper)
    specs.drop_linkage(spec)
    specs.couple(spec, "right_finger", "left_finger", -1.0)
    for joint in spec.joints:
        specs.set_passive(joint, damping=1.0, armature=0.1)
    hand = spec.body("wx250s/gripper_link")
    specs.add_tcp(hand, (0.097, 0.0, 0.0), _FORWARD)
    specs.add_wrist_camera(hand, (0.0, 0.0, 0.08), (0.0, -1.0, 0.0, 0.342, 0.0, 0.940))
    return spec


WX250S = Robot(
    name="wx250s",
    title="Trossen WidowX 250 6DOF",
    model=RobotModel(
        name="wx250s",
        version="menagerie",
        places=(Menagerie("trossen_wx250s"),),
        files=(
            "wx250s.xml",
            *(
                f"assets/wx250s_{part}.stl"
                for part in (
                    "1_base", "2_shoulder", "3_upper_arm", "4_upper_forearm", "5_lower_forearm", "6_wrist", "7_gripper",
                    "9_gripper_bar", "10_gripper_finger",
                )
            ),
        ),
    ),
    joints=_JOINTS,
    home=(0.0, -0.184, 0.34, 0.0, 1.4148, 0.0),  # hand pointing down at (0.25, 0, 0.16) m
    velocity=(4.81, 4.81, 4.81, 4.81, 4.81, 6.38),
    acceleration=(24.0,) * 6,
    effort=(4.1, 8.2, 8.2, 4.1, 4.1, 1.5),
    build=_build,
    gripper=GripperModel(_FINGERS, (0.015, -0.015), (0.037, -0.037), opening_m=0.052, pads=_PADS),
    servos={
        **{
            name: Servo(stiffness, stiffness / 10, force)
            for name, stiffness, force in zip(
                _JOINTS, (400.0, 800.0, 800.0, 200.0, 200.0, 100.0), (4.1, 8.2, 8.2, 4.1, 4.1, 1.5), strict=True
            )
        },
        **dict.fromkeys(_FINGERS, Servo(600.0, 20.0, 20.0)),
    },
)  # fmt: skip
