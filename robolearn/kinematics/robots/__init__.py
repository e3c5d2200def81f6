"""Robots by name: one file each, and one line here."""

from __future__ import annotations

from robolearn.core.registry import Registry
from robolearn.kinematics.robot import Robot

ROBOTS = Registry(
    "robot",
    {
        "panda": "robolearn.kinematics.robots.panda:PANDA",
        "vx300s": "robolearn.kinematics.robots.vx300s:VX300S",
    },
    group="robolearn.robot_models",
)


def robot(name: str) -> Robot:
    """Raises ConfigError for an unknown name, with the closest match, and for an entry that is no `Robot`."""
    found = ROBOTS.resolve(name)
    if not isinstance(found, Robot):  # asking one for all it has would read its files
        ROBOTS.require(name, found, Robot)
    return found
