"""Trossen ViperX 300 6DOF (ViperX 300s), MuJoCo Menagerie's `trossen_vx300s`.

Velocity and torque: no-load speed and stall torque at 12 V of its DYNAMIXEL servos (ROBOTIS e-Manual): XM540-W270
30 rev/min, 10.6 N m (in pairs in shoulder and elbow), XM430-W350 in the last joint 46 rev/min, 4.1 N m. The maker
states no acceleration; what is here reaches full speed in 0.2 s, Interbotix' default profile in 0.3 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

_PADS = (tuple(f"left_finger_pad_{i}" for i in range(9)), tuple(f"right_finger_pad_{i}" for i in range(9)))
_FINGERS = ("left_finger", "right_finger")
_FORWARD = (0.5, 0.5, 0.5, 0.5)  # of the gripper's link x points to the front and y from finger to finger


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(robot.model.folder() / "vx300s.xml")
    specs.keep_collision_geoms(spec, but=("vx300s_10_gripper_finger",))
    specs.dress(spec, specs.BLACK, robot.gripper)
    specs.drop_linkage(spec)
    specs.couple(spec, "right_finger", "left_finger", -1.0)
    for joint in spec.joints:
        specs.set_passive(joint, damping=1.0, armature=0.1)
    hand = spec.body("gripper_link")
    specs.add_tcp(hand, (0.1165, 0.0, 0.0), _FORWARD)
    specs.add_wrist_camera(hand, (0.0, 0.0, 0.08), (0.0, -1.0, 0.0, 0.342, 0.0, 0.940))
    return spec


VX300S = Robot(
    name="vx300s",
    title="Trossen ViperX 300 6DOF",
    model=RobotModel(
        name="vx300s",
        version="menagerie",
        places=(Menagerie("trossen_vx300s"),),
        files=(
            "vx300s.xml",
            *(
                f"assets/vx300s_{part}.stl"
                for part in (
                    "1_base", "2_shoulder", "3_upper_arm", "4_upper_forearm", "5_lower_forearm", "6_wrist", "7_gripper",
                    "8_gripper_prop", "9_gripper_bar", "10_gripper_finger",
                )
            ),
        ),
    ),
    joints=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
    home=(0.0, -0.184, 0.34, 0.0, 1.4148, 0.0),  # hand pointing down at about (0.30, 0, 0.20) m
    velocity=(3.14, 3.14, 3.14, 3.14, 3.14, 4.81),
    acceleration=(15.7, 15.7, 15.7, 15.7, 15.7, 24.0),
    effort=(10.6, 21.2, 21.2, 10.6, 10.6, 4.1),
    build=_build,
    gripper=GripperModel(_FINGERS, (0.021, -0.021), (0.057, -0.057), opening_m=0.087, gap_m=(0.015, 0.087), pads=_PADS),
    servos={
        "waist": Servo(800.0, 80.0, 10.6),
        "shoulder": Servo(1600.0, 160.0, 21.2),
        "elbow": Servo(800.0, 80.0, 21.2),
        "forearm_roll": Servo(200.0, 20.0, 10.6),
        "wrist_angle": Servo(400.0, 40.0, 10.6),
        "wrist_rotate": Servo(200.0, 20.0, 4.1),
        **dict.fromkeys(_FINGERS, Servo(600.0, 20.0, 40.0)),
    },
)  # fmt: skip
