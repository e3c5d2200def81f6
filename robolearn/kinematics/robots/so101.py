"""SO-101 (SO-ARM101), MuJoCo Menagerie's `robotstudio_so101`: five joints and a jaw that swings.

It cannot tilt its tool out of the vertical plane that its first joint turns: that rotation is free. The TCP is on the
axis of the last joint, 8 mm from the fixed jaw. Its servos are those of the SO-100, so are its limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.robots.so100 import ACCELERATION, SPEED, TORQUE
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
_PADS = (tuple(f"fixed_jaw_box{i}" for i in (4, 5, 6, 7)), ("moving_jaw_box2", "moving_jaw_box3"))
_MESHES = tuple(
    f"{part}_gripper_part{i}_v1"
    for part, i in (("wrist_roll_follower_so101", 0), ("moving_jaw_so101", 0), ("moving_jaw_so101", 1))
)
_DRAWN = ("base_motor_holder_so101_v1", "base_so101_v2", "motor_holder_so101_base_v1", "rotation_pitch_so101_v1")


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(robot.model.folder() / "so101.xml")
    specs.keep_collision_geoms(spec, but=_DRAWN)
    specs.dress(spec, specs.WHITE, robot.gripper)
    for joint in spec.joints:
        specs.set_passive(joint, damping=0.5, armature=0.03)
    spec.body("base").pos = (-0.0388353, 0.0, 0.0)
    jaw = spec.body("gripper")
    specs.add_tcp(jaw, (0.0, 0.0, -0.092), (0.0, 1.0, 0.0, 0.0))
    specs.add_wrist_camera(jaw, (0.0, 0.075, -0.06), (1.0, 0.0, 0.0, 0.0, 0.940, -0.342))
    return spec


SO101 = Robot(
    name="so101",
    title="TheRobotStudio SO-101",
    model=RobotModel(
        name="so101",
        version="menagerie",
        places=(Menagerie("robotstudio_so101"),),
        files=("so101.xml", *(f"assets/{mesh}.stl" for mesh in (*_MESHES, *_DRAWN))),
    ),
    joints=_JOINTS,
    home=(0.0, 0.0, 0.0, 1.57, 1.6187),  # tool pointing down at (0.19, 0, 0.08) m
    velocity=(SPEED,) * 5,
    acceleration=(ACCELERATION,) * 5,
    effort=(TORQUE,) * 5,
    build=_build,
    gripper=GripperModel(("gripper",), (-0.174533,), (1.7453292,), opening_m=0.099, gap_m=(0.007, 0.143), pads=_PADS),
    servos={
        **dict.fromkeys(_JOINTS, Servo(100.0, 8.0, TORQUE)),
        "gripper": Servo(20.0, 1.0, TORQUE),
    },
    free="sideways",
)
