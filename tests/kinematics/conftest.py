"""Robots whose files are at hand: the others' tests skip, saying why."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from robolearn.core.errors import RobolearnError
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.robot import Robot
from robolearn.kinematics.robots import ROBOTS, robot

MENAGERIE = Path(__file__).resolve().parents[3] / "shared" / "data" / "menagerie"


@pytest.fixture(autouse=True)
def menagerie(monkeypatch):
    """A checkout of MuJoCo Menagerie, where there is one; nothing is downloaded."""
    if "MENAGERIE_ROOT" not in os.environ:
        monkeypatch.setenv("MENAGERIE_ROOT", str(MENAGERIE))


@pytest.fixture
def present(menagerie) -> Callable[[str], Robot]:
    """A robot of the registry; the test skips where its files are not to be had."""

    def find(name: str) -> Robot:
        found = robot(name)
        try:
            found.version  # noqa: B018
        except RobolearnError as error:
            reason, _, _ = str(error).partition(". ")
            pytest.skip(f"no files of {name} here: {reason}")
        return found

    return find


@pytest.fixture(params=tuple(ROBOTS))
def arm(request, present) -> Robot:
    """Each robot of the registry."""
    return present(request.param)


@pytest.fixture
def kinematics(arm) -> ArmKinematics:
    return ArmKinematics(arm)
