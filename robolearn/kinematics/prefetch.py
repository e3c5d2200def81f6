"""Takes the models of all robots of our own scenes now, instead of when a scene is first made.

python -m robolearn.kinematics.prefetch
"""

from __future__ import annotations

import sys
from pathlib import Path

from robolearn.core.errors import RobolearnError
from robolearn.kinematics.robots import ROBOTS


def prefetch() -> dict[str, Path]:
    """Robot -> folder of its model. Raises like `RobotModel.folder`."""
    return {name: robot.folder() for name, robot in ROBOTS.items()}


def main() -> int:
    try:
        for name, folder in prefetch().items():
            print(f"{name}: {ROBOTS[name].version}, {folder}")
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
