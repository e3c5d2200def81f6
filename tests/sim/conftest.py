"""Robots' files are those of a checkout of MuJoCo Menagerie, see `tests/conftest.py`; nothing is downloaded."""

import pytest

from robolearn.core.errors import RobolearnError
from robolearn.kinematics.robots import robot


@pytest.fixture(scope="session")
def require_robot():
    """Skips the test, saying why, where the files of a robot are not to be had."""

    def require(name: str) -> None:
        try:
            robot(name).version  # noqa: B018
        except RobolearnError as error:
            pytest.skip(f"no files of {name} here: {error}")

    return require
