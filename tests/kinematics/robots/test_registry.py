import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.kinematics.robots import robot


def test_a_robot_is_looked_up_without_its_files(monkeypatch, tmp_path):
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    found = robot("vx300s")
    assert found.joints[0] == "waist"
    with pytest.raises((MissingDependencyError, ConfigError), match="trossen_vx300s"):
        found.spec()


def test_an_unknown_robot_is_answered_with_the_closest_one():
    with pytest.raises(ConfigError, match="Did you mean 'vx300s'"):
        robot("vx300")
