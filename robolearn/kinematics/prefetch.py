"""Takes models of robots now, instead of when a scene is first made.

python -m robolearn.kinematics.prefetch            the Panda of put_on_plate
python -m robolearn.kinematics.prefetch ur5e xarm7 the robots named; "all" for all
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from robolearn.core.errors import RobolearnError
from robolearn.kinematics.robots import ROBOTS, robot


def prefetch(names: Sequence[str] = ("panda",)) -> Iterator[tuple[str, str, Path]]:
    """Robot, version and folder of each model. Raises like `robot` and `RobotModel.folder`."""
    for name in ROBOTS if list(names) == ["all"] else names:
        for model in robot(name).models:
            folder = model.folder()
            yield name, model.measured_version(), folder


def main(names: Sequence[str]) -> int:
    try:
        for name, version, folder in prefetch(names or ("panda",)):
            print(f"{name}: {version}, {folder}")
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
