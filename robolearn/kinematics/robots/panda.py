"""Franka Panda with its hand, as robosuite models them.

What changes against robosuite's model: there are no motors, gravity is compensated on every link, as the real arm's
controller does, and the dense visual meshes are left out: the collision-grade meshes are drawn instead (about 20 times
fewer triangles; pictures lose panel lines and logos, not shape). Links do not collide with each other.

Limits of velocity, acceleration and torque: Franka's FCI documentation, "Robot limits for the Franka Research Robot".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import TCP_SITE, WRIST_CAMERA, GripperModel, Robot, Servo
from robolearn.kinematics.sources import PackageData
from robolearn.kinematics.wheel import PinnedWheel

if TYPE_CHECKING:
    import mujoco

MODEL = RobotModel(
    name="panda",
    version="robosuite-1.5.2",
    places=(
        PackageData("robosuite", "models/assets"),
        PinnedWheel(
            "robosuite", "1.5.2", "robosuite-1.5.2-py3-none-any.whl",
            "b9e02df55de8949739de6ba1d196d2ba59cf33c51a76efcfbe5c2f73cdcf99ce", 157, "robosuite/models/assets",
        ),
    ),
    files=(  # what collides: the visual meshes are 50 times as many bytes
        "robots/panda/robot.xml",
        *(f"robots/panda/meshes/link{i}.stl" for i in range(8)),
        "grippers/panda_gripper.xml",
        "grippers/meshes/panda_gripper/hand.stl",
        "grippers/meshes/panda_gripper/finger.stl",
    ),
    sha256="42ebc817fe8e946cbd9086142d83bf0fd4ec833d26fc59096d1b86ffdaf85e99",
)  # fmt: skip
"""Pinned: scenes with it have published figures."""

_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
_FINGERS = ("finger_joint1", "finger_joint2")
_PADS = (("finger1_pad_collision",), ("finger2_pad_collision",))
# gains of a stiff joint impedance controller
_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # N m / rad
_DAMPING = (450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 200.0)  # N m s / rad
_TORQUE_LIMIT = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # N m


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    files = robot.model.folder()
    arm = _arm_spec(files / "robots" / "panda")
    hand = _hand_spec(robot, files / "grippers")
    mount = arm.body("right_hand").add_frame()
    with specs.no_prefix():
        mount.attach_body(hand.body("right_gripper"), "", "")
    return arm


def _arm_spec(files: Path) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(files / "robot.xml")
    specs.keep_collision_geoms(spec)
    specs.dress(spec, specs.WHITE)
    spec.geoms[-1].rgba = specs.GREY
    for joint in spec.joints:
        specs.set_passive(joint, damping=1.0, armature=0.1)
    return spec


def _hand_spec(robot: Robot, files: Path) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(files / "panda_gripper.xml")
    specs.keep_collision_geoms(spec)
    for site in list(spec.sites):
        spec.delete(site)
    specs.dress(spec, specs.WHITE, robot.gripper)
    for joint in spec.joints:
        specs.set_passive(joint, damping=5.0, armature=0.2)
    spec.body("eef").add_site(name=TCP_SITE, group=4)
    # In front of the hand, looking down along the fingers and tilted back towards them by 20 degrees.
    spec.body("right_gripper").add_camera(
        name=WRIST_CAMERA, pos=[0.0, 0.075, 0.01], xyaxes=[-1, 0, 0, 0, 0.940, 0.342], fovy=75
    )
    return spec


PANDA = Robot(
    name="panda",
    title="Franka Panda with Franka Hand",
    model=MODEL,
    joints=_JOINTS,
    home=(0.0, 0.02, 0.0, -2.22, 0.0, 2.24, 0.785),  # elbow up, hand pointing down at about (0.53, 0, 0.27) m
    velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    effort=_TORQUE_LIMIT,
    build=_build,
    gripper=GripperModel(_FINGERS, closed=(0.0, 0.0), open=(0.04, -0.04), opening_m=0.08, pads=_PADS),
    servos={
        **{name: Servo(*numbers) for name, *numbers in zip(_JOINTS, _STIFFNESS, _DAMPING, _TORQUE_LIMIT, strict=True)},
        **dict.fromkeys(_FINGERS, Servo(600.0, 20.0, 40.0)),  # N/m, N s/m, N
    },
)
