"""The robots of our own scenes and what their models are made of."""

from __future__ import annotations

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.sources import PackageData
from robolearn.kinematics.wheel import PinnedWheel

_ROBOSUITE = (
    PackageData("robosuite", "models/assets"),
    PinnedWheel(
        "robosuite", "1.5.2", "robosuite-1.5.2-py3-none-any.whl",
        "b9e02df55de8949739de6ba1d196d2ba59cf33c51a76efcfbe5c2f73cdcf99ce", 157, "robosuite/models/assets",
    ),
)  # fmt: skip

PANDA = RobotModel(
    name="panda",
    version="robosuite-1.5.2",
    places=_ROBOSUITE,
    files=(  # what collides: the visual meshes are 50 times as many bytes
        "robots/panda/robot.xml",
        *(f"robots/panda/meshes/link{i}.stl" for i in range(8)),
        "grippers/panda_gripper.xml",
        "grippers/meshes/panda_gripper/hand.stl",
        "grippers/meshes/panda_gripper/finger.stl",
    ),
    sha256="42ebc817fe8e946cbd9086142d83bf0fd4ec833d26fc59096d1b86ffdaf85e99",
)
"""Franka's Panda with its hand, as robosuite models them."""

ROBOTS = {robot.name: robot for robot in (PANDA,)}
