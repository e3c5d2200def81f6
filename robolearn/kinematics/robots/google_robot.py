"""Google's mobile manipulator (Everyday Robots), the arm of RT-1 and of SIMPLER: Menagerie's `google_robot`.

The base does not drive. The base frame has its origin on the floor under the first joint. Two fingers swing in the
tool's y-z plane and close past each other; "closed" is where they touch.

There is no public data sheet: velocities and accelerations are moderate values of ours, torques are Menagerie's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

_JOINTS = tuple(f"joint_{part}" for part in ("torso", "shoulder", "bicep", "elbow", "forearm", "wrist", "gripper"))
_FINGERS = ("joint_finger_right", "joint_finger_left")
_PADS = (tuple(f"right_tip_{i}" for i in range(6)), tuple(f"left_tip_{i}" for i in range(6)))
_EFFORT = (150.0, 150.0, 30.0, 30.0, 30.0, 30.0, 30.0)
_MESHES = (
    "link_base_0_00", "link_base_0_01", *(f"link_base_1_{i:02d}" for i in range(20)), "link_torso_00", "link_torso_01",
    "link_shoulder", "link_bicep", "link_elbow", "link_forearm", "link_wrist", "link_gripper", "link_head_pan",
    "link_head_tilt", "link_finger_base", "link_finger_tip",
)  # fmt: skip


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(robot.model.folder() / "robot.xml")
    specs.keep_collision_geoms(spec)
    for side in ("right", "left"):
        for index, geom in enumerate(spec.body(f"link_finger_tip_{side}").geoms):
            geom.name = f"{side}_tip_{index}"
    specs.dress(spec, specs.WHITE, robot.gripper)
    for joint in spec.joints:
        specs.set_passive(joint, damping=1.0, armature=0.1)
    hand = spec.body("link_gripper")
    specs.add_tcp(hand, (0.0, 0.0, 0.14), (0.70710678118654757, 0.0, 0.0, 0.70710678118654757))
    return spec


GOOGLE_ROBOT = Robot(
    name="google_robot",
    title="Google robot (Everyday Robots)",
    model=RobotModel(
        name="google_robot",
        version="menagerie",
        places=(Menagerie("google_robot"),),
        files=(
            "robot.xml",
            *(f"assets/{mesh}.stl" for mesh in _MESHES),
            "assets/link_finger_base_v.obj",
            "assets/link_finger_tip_v.obj",
        ),
    ),
    joints=_JOINTS,
    home=(0.3861, 0.2429, 0.3718, 1.7522, -0.0953, 1.1642, 0.7858),  # hand pointing down at (0.50, 0, 0.75) m
    velocity=(1.5,) * 7,
    acceleration=(5.0,) * 7,
    effort=_EFFORT,
    build=_build,
    gripper=GripperModel(_FINGERS, (0.96, 0.96), (0.01, 0.01), opening_m=0.125, pads=_PADS),
    servos={
        **{name: Servo(stiffness, stiffness / 10, force) for name, stiffness, force in zip(
            _JOINTS, (4000.0, 4000.0, 2000.0, 2000.0, 1000.0, 1000.0, 500.0), _EFFORT, strict=True
        )},
        **dict.fromkeys(_FINGERS, Servo(60.0, 4.0, 10.0)),
    },
)  # fmt: skip
