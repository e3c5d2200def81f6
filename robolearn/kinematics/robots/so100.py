"""SO-100 (SO-ARM100), MuJoCo Menagerie's `trs_so_arm100`: five joints and a jaw that swings.

It cannot tilt its tool out of the vertical plane that its first joint turns: that rotation is free. The TCP is on the
axis of the last joint, 9 mm from the fixed jaw, between the two where they hold something as thick as a finger.

Velocity and torque: Feetech STS3215 at 7.4 V (45 rev/min without load, 19.5 kg cm at standstill; 30 kg cm at 12 V).
Acceleration: the highest that its register takes (254 x 100 steps of 1/4096 turn / s^2), as LeRobot sets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

_JOINTS = ("Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll")
_PADS = (tuple(f"fixed_jaw_pad_{i}" for i in range(1, 5)), tuple(f"moving_jaw_pad_{i}" for i in range(1, 5)))
_MESHES = (
    "Base", "Rotation_Pitch", "Upper_Arm", "Lower_Arm", "Wrist_Pitch_Roll", "Fixed_Jaw_Collision_1",
    "Fixed_Jaw_Collision_2", "Moving_Jaw_Collision_1", "Moving_Jaw_Collision_2", "Moving_Jaw_Collision_3",
)  # fmt: skip
TORQUE, SPEED, ACCELERATION = 1.9, 4.7, 39.0


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(robot.model.folder() / "so_arm100.xml")
    specs.keep_collision_geoms(spec)
    specs.dress(spec, specs.WHITE, robot.gripper)
    for joint in spec.joints:
        specs.set_passive(joint, damping=0.5, armature=0.03)
    # the model looks along -y and its first joint is 45 mm in front of its origin
    base = spec.body("Base")
    base.pos, base.quat = (-0.0452, 0.0, 0.0), (0.70710678118654757, 0.0, 0.0, 0.70710678118654757)
    jaw = spec.body("Fixed_Jaw")
    specs.add_tcp(jaw, (0.0, -0.095, 0.0), (0.70710678118654757, 0.70710678118654757, 0.0, 0.0))
    specs.add_wrist_camera(jaw, (0.0, -0.02, 0.07), (-1.0, 0.0, 0.0, 0.0, -0.342, 0.940))
    return spec


SO100 = Robot(
    name="so100",
    title="TheRobotStudio SO-100",
    model=RobotModel(
        name="so100",
        version="menagerie",
        places=(Menagerie("trs_so_arm100"),),
        files=("so_arm100.xml", *(f"assets/{mesh}.stl" for mesh in _MESHES)),
    ),
    joints=_JOINTS,
    home=(0.0, -1.57, 1.57, 1.57, -1.57),  # tool pointing down at (0.19, 0, 0.08) m
    velocity=(SPEED,) * 5,
    acceleration=(ACCELERATION,) * 5,
    effort=(TORQUE,) * 5,
    build=_build,
    gripper=GripperModel(("Jaw",), (-0.174,), (1.75,), opening_m=0.063, gap_m=(0.003, 0.144), pads=_PADS),
    servos={
        **dict.fromkeys(_JOINTS, Servo(100.0, 8.0, TORQUE)),
        "Jaw": Servo(20.0, 1.0, TORQUE),
    },
    free="sideways",
)
