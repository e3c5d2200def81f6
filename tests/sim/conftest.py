"""Robots' files: a checkout of MuJoCo Menagerie, where there is one; nothing is downloaded."""

import os
from pathlib import Path

import pytest

from robolearn.core.errors import RobolearnError
from robolearn.kinematics.robots import robot

MENAGERIE = Path(__file__).resolve().parents[3] / "shared" / "data" / "menagerie"


@pytest.fixture(autouse=True, scope="session")
def menagerie():
    with pytest.MonkeyPatch.context() as patch:
        if "MENAGERIE_ROOT" not in os.environ:
            patch.setenv("MENAGERIE_ROOT", str(MENAGERIE))
        yield


@pytest.fixture(scope="session")
def require_robot(menagerie):
    """Skips the test, saying why, where the files of a robot are not to be had."""

    def require(name: str) -> None:
        try:
            robot(name).version  # noqa: B018
        except RobolearnError as error:
            pytest.skip(f"no files of {name} here: {error}")

    return require
