"""Franka Research 3 with its hand, MuJoCo Menagerie's `franka_fr3` and the hand of `franka_emika_panda`.

Limits of velocity, acceleration and torque: Franka's FCI documentation, "Robot limits for the Franka Research 3". Those
of velocity are the widest: near the ends of its joints the arm allows less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

FRANKA_HAND = RobotModel(
    name="franka_hand",
    version="menagerie",
    places=(Menagerie("franka_emika_panda"),),
    files=("hand.xml", "assets/hand.stl", "assets/finger_0.obj"),
)
_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
_FINGERS = ("finger_joint1", "finger_joint2")
_SIDES = ("left", "right")
_PADS = (tuple(f"left_pad_{i}" for i in range(5)), tuple(f"right_pad_{i}" for i in range(5)))
_EFFORT = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # a tenth as damping, as of the Panda


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    arm = specs.read(robot.model.folder() / "fr3.xml")
    specs.keep_collision_geoms(arm)
    specs.dress(arm, specs.WHITE)
    for joint in arm.joints:
        specs.set_passive(joint, damping=1.0, armature=0.1)
    hand = _hand_spec(robot)
    flange = arm.body("fr3_link7").add_frame(pos=(0.0, 0.0, 0.107), quat=(0.9238795, 0.0, 0.0, -0.3826834))
    with specs.no_prefix():
        flange.attach_body(hand.body("hand"), "", "")
    return arm


def _hand_spec(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(FRANKA_HAND.folder() / "hand.xml")
    specs.keep_collision_geoms(spec)
    for side in _SIDES:
        boxes = [geom for geom in spec.body(f"{side}_finger").geoms if not geom.meshname]
        for index, geom in enumerate(boxes):
            geom.name = f"{side}_pad_{index}"
    specs.dress(spec, specs.WHITE, robot.gripper)
    specs.drop_linkage(spec)
    specs.couple(spec, "finger_joint2", "finger_joint1", 1.0)
    for joint in spec.joints:
        specs.set_passive(joint, damping=5.0, armature=0.2)
    hand = spec.body("hand")
    specs.add_tcp(hand, (0.0, 0.0, 0.1034), (0.70710678118654757, 0.0, 0.0, 0.70710678118654757))
    specs.add_wrist_camera(hand, (-0.075, 0.0, 0.01), (0.0, -1.0, 0.0, -0.940, 0.0, 0.342))
    return spec


FR3 = Robot(
    name="fr3",
    title="Franka Research 3 with Franka Hand",
    model=RobotModel(
        name="fr3",
        version="menagerie",
        places=(Menagerie("franka_fr3"),),
        files=("fr3.xml", *(f"assets/link{i}.stl" for i in range(8))),
    ),
    joints=_JOINTS,
    home=(0.0, 0.02, 0.0, -2.22, 0.0, 2.24, 0.785),  # hand pointing down at about (0.53, 0, 0.27) m
    velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    acceleration=(10.0,) * 7,
    effort=_EFFORT,
    build=_build,
    gripper=GripperModel(_FINGERS, (0.0, 0.0), (0.04, 0.04), opening_m=0.08, pads=_PADS, model=FRANKA_HAND),
    servos={
        **{
            name: Servo(stiffness, stiffness / 10, force)
            for name, stiffness, force in zip(_JOINTS, _STIFFNESS, _EFFORT, strict=True)
        },
        **dict.fromkeys(_FINGERS, Servo(600.0, 20.0, 40.0)),
    },
)
