"""Data files of a package, and MuJoCo Menagerie from a checkout, its cache or not at all."""

import sys

import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.sources import Menagerie, PackageData


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a robot, whose import would be seen."""
    folder = tmp_path / "lab_robots" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('this package was imported')")
    (folder / "arm.xml").write_text("<mujoco/>")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_files_of_a_package_are_found_without_importing_it(package):
    assert PackageData("lab_robots", "models").folder(("arm.xml",)) == package
    assert RobotModel("arm", "lab-1", (PackageData("lab_robots", "models"),), ("arm.xml",)).folder() == package
    assert "lab_robots" not in sys.modules


@pytest.mark.parametrize("place", [PackageData("no_such_robots"), PackageData("lab_robots", "no_such_folder")])
def test_a_package_that_is_not_installed_is_named(package, place):
    with pytest.raises(MissingDependencyError, match=f"pip install {place.package}"):
        place.folder(())


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    root = tmp_path / "menagerie"
    (root / "franka_emika_panda").mkdir(parents=True)
    (root / "franka_emika_panda" / "panda.xml").write_text("<mujoco/>")
    monkeypatch.setenv("MENAGERIE_ROOT", str(root))
    return root


def test_a_checkout_of_menagerie_needs_no_package(checkout, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    assert Menagerie("franka_emika_panda").folder(()) == checkout / "franka_emika_panda"


def test_a_model_that_the_checkout_lacks_is_named_with_those_it_has(checkout):
    with pytest.raises(ConfigError, match="Did you mean 'franka_emika_panda'.*Unset MENAGERIE_ROOT"):
        Menagerie("franka_panda").folder(())


def test_a_checkout_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path / "gone"))
    with pytest.raises(MissingDependencyError, match="gone is not a folder"):
        Menagerie("franka_emika_panda").folder(())


def test_without_package_and_checkout_both_are_named(monkeypatch):
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[sim\]'.*MENAGERIE_ROOT"):
        Menagerie("franka_emika_panda").folder(())


@pytest.fixture
def library(tmp_path, monkeypatch):
    """DeepMind's package with an empty cache, and a file as its archive of one model in place of its release page."""
    library = pytest.importorskip("mujoco_menagerie", reason="mujoco-menagerie is not installed")
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "release").mkdir()
    monkeypatch.setenv("MENAGERIE_BASE_URL", (tmp_path / "release").as_uri())
    return library


def test_what_is_in_the_librarys_cache_is_taken_from_there(library):
    robot = library.get("universal_robots_ur5e")
    folder = library.Cache().model_path(robot)
    folder.mkdir(parents=True)
    (folder / ".complete").write_text("{}")
    assert Menagerie("universal_robots_ur5e").folder(()) == folder


def test_what_cannot_be_downloaded_says_what_to_type(library, tmp_path):
    with pytest.raises(MissingDependencyError) as refused:
        Menagerie("universal_robots_ur5e").folder(())
    told = str(refused.value)
    assert f"'universal_robots_ur5e' is not in {tmp_path / 'cache'} and could not be downloaded" in told
    assert "type: mujoco-menagerie prefetch universal_robots_ur5e; or set MENAGERIE_ROOT" in told
    assert "\n" not in told


def test_a_name_that_menagerie_does_not_have_is_met_with_the_closest(library):
    with pytest.raises(ConfigError, match="Did you mean 'universal_robots_ur5e'"):
        Menagerie("universal_robots_ur5").folder(())
