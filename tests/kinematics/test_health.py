"""What `robolearn doctor` says of robots' models."""

from dataclasses import replace

import pytest

from robolearn.core.errors import ConfigError
from robolearn.kinematics.health import robot_checks
from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robots import ROBOTS, robot
from robolearn.kinematics.sources import PackageData


def of(name):
    return next(check for check in robot_checks() if check.name == name)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and empty caches."""
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", "http://127.0.0.1:9")


def test_every_robot_is_told(monkeypatch, offline):
    assert [check.name for check in robot_checks()] == list(ROBOTS)
    assert {check.group for check in robot_checks()} == {"Robots"}


def test_files_that_are_there_are_named(monkeypatch, tmp_path):
    for file in robot("vx300s").model.files:
        (tmp_path / "trossen_vx300s" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "trossen_vx300s" / file).write_text("<mujoco/>")
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    found = of("vx300s")
    if robot("vx300s").model.sha256 is None:
        assert (found.status, found.found) == ("ok", f"Trossen ViperX 300 6DOF: {tmp_path}/trossen_vx300s")
    else:
        assert found.status == "info" and "not in MENAGERIE_ROOT" in found.found


def test_files_that_are_not_are_said_with_what_to_type_and_nothing_is_downloaded(offline):
    found = of("vx300s")
    assert found.status == "info" and "not on this machine: downloaded when first used" in found.found
    assert found.advice == "now: python -m robolearn.kinematics.prefetch vx300s"


def test_a_checkout_without_the_model_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    found = of("vx300s")
    assert found.status == "info" and f"not in MENAGERIE_ROOT={tmp_path}" in found.found
    assert found.advice.startswith("unset MENAGERIE_ROOT, or check out that model there")


def test_files_that_a_package_should_have_brought_are_missed_there(monkeypatch, offline):
    model = RobotModel("arm", "1", (PackageData("robolearn", "kinematics"),), ("arm.xml",))
    ours = replace(robot("vx300s"), model=model)
    monkeypatch.setattr("robolearn.kinematics.health.robot", lambda name: ours if name == "vx300s" else robot(name))
    found = of("vx300s")
    assert found.status == "warn" and found.found.endswith(": files of arm not in the package robolearn")
    assert found.advice == "install the package again: pip install --force-reinstall --no-deps robolearn"


def test_a_robot_is_looked_up_without_its_files(offline):
    assert robot("vx300s").joints[0] == "waist"
    assert not robot("vx300s").is_present


def test_an_entry_that_is_no_robot_is_refused(monkeypatch):
    monkeypatch.setitem(ROBOTS._entries, "odd", "robolearn.kinematics.robots:ROBOTS")
    with pytest.raises(
        ConfigError, match=r"The robot 'odd' \(robolearn.kinematics.robots:ROBOTS\) lacks name, title, "
    ):
        robot("odd")
    assert of("odd").status == "warn"
