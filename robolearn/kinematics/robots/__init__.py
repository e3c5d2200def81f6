"""Robots by name: one file each, and one line here."""

from __future__ import annotations

from robolearn.core.registry import Registry
from robolearn.kinematics.robot import Robot

ROBOTS = Registry(
    "robot",
    {
        "panda": "robolearn.kinematics.robots.panda:PANDA",
        "fr3": "robolearn.kinematics.robots.fr3:FR3",
        "ur5e": "robolearn.kinematics.robots.ur5e:UR5E",
        "xarm7": "robolearn.kinematics.robots.xarm7:XARM7",
        "vx300s": "robolearn.kinematics.robots.vx300s:VX300S",
        "wx250s": "robolearn.kinematics.robots.wx250s:WX250S",
        "google_robot": "robolearn.kinematics.robots.google_robot:GOOGLE_ROBOT",
        "so100": "robolearn.kinematics.robots.so100:SO100",
        "so101": "robolearn.kinematics.robots.so101:SO101",
    },
    group="robolearn.robot_models",
)


def robot(name: str) -> Robot:
    """Raises ConfigError for an unknown name, with the closest match, and for an entry that is no `Robot`."""
    found = ROBOTS.resolve(name)
    if not isinstance(found, Robot):  # asking one for all it has would read its files
        ROBOTS.require(name, found, Robot)
    return found
