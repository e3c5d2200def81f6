"""What is found of packages, in environments made up in the test."""

from pathlib import Path

import pytest

from robolearn.core import packages, pins
from robolearn.core.health import HealthCheck
from robolearn.core.packages import package_checks


@pytest.fixture
def installed(monkeypatch):
    """An environment with these packages: name -> (version, requirements)."""

    def install(made_up: dict[str, tuple[str, list[str]]], extras: tuple[str, ...] = ("sim", "all", "dev")):
        def lookup(name):
            if name not in made_up:
                raise packages.metadata.PackageNotFoundError(name)
            return made_up[name]

        monkeypatch.setattr(packages.metadata, "version", lambda name: lookup(name)[0])
        monkeypatch.setattr(packages.metadata, "requires", lambda name: lookup(name)[1])
        monkeypatch.setattr(packages, "_extras", lambda name: list(extras))
        monkeypatch.setattr(pins, "CHECKOUT", Path("/nowhere"))

    return install


def by_name(found):
    return {check.name: check for check in found}


def test_a_version_out_of_bounds_is_broken_and_says_what_to_type(installed):
    installed({"robolearn": ("0.1.0", ["mujoco<3.10,>=3.3; extra == 'sim'"]), "mujoco": ("3.12.0", [])})
    assert by_name(package_checks())["mujoco"] == HealthCheck(
        "Packages", "mujoco", "bad", "3.12.0, but robolearn needs <3.10,>=3.3", "pip install 'mujoco<3.10,>=3.3'"
    )


def test_a_missing_core_package_is_broken_and_a_missing_extra_is_not(installed):
    installed({"robolearn": ("0.1.0", ["numpy>=1.26", "mujoco>=3.3; extra == 'sim'"])})
    found = by_name(package_checks())
    assert found["numpy"].status == "bad"
    assert found["mujoco"].status == "info"
    assert ".[sim]" in found["mujoco"].advice


@pytest.mark.parametrize(("robosuite", "status"), [({}, "ok"), ({"robosuite": ("1.5.2", [])}, "bad")])
def test_the_bounds_of_an_extra_hold_where_it_is_installed(installed, robosuite, status):
    asked = ["mujoco>=3.3; extra == 'sim'", "mujoco>=3.3; extra == 'robosuite'", "mujoco<3.10; extra == 'robosuite'",
             "robosuite==1.5.2; extra == 'robosuite'"]  # fmt: skip
    packages = {"robolearn": ("0.1.0", asked), "mujoco": ("4.0.0", []), **robosuite}
    installed(packages, extras=("sim", "robosuite", "all", "dev"))
    found = by_name(package_checks())["mujoco"]
    assert found.status == status
    if status == "bad":
        assert found.found == "4.0.0, but robolearn needs <3.10,>=3.3"
        assert found.advice == "pip install 'mujoco<3.10,>=3.3'"


def test_clashes_among_the_packages_that_ours_pull_are_found(installed):
    installed(
        {
            "robolearn": ("0.1.0", ["numpy>=1.26", "robosuite==1.5.2; extra == 'sim'"]),
            "numpy": ("2.1.0", []),
            "robosuite": ("1.5.2", ["mink==0.0.5"]),
            "mink": ("0.0.5", ["numpy<2.0.0", "no-such-package>3", "numpy>9; python_version < '3'"]),
        }
    )
    clashes = [check for check in package_checks() if check.status == "bad"]
    assert clashes == [
        HealthCheck("Packages", "numpy", "bad", "2.1.0, but mink 0.0.5 needs <2.0.0", "pip install 'numpy<2.0.0'")
    ]


def test_two_opencv_wheels_are_warned_of(installed):
    wheels = {"opencv-python": ("4.11.0", []), "opencv-python-headless": ("4.12.0", [])}
    installed({"robolearn": ("0.1.0", ["opencv-python>=4.9"]), **wheels})
    [warning] = [check for check in package_checks() if check.status == "warn"]
    assert "overwrite one another" in warning.found
    assert warning.advice.startswith("pip uninstall -y opencv-python opencv-python-headless && pip install")


def test_running_without_being_installed_is_explained(installed):
    installed({})
    assert [check.advice for check in package_checks()] == ["pip install -e ."]


FIRST = """# one set
#   pip install -c constraints.txt -e '.[all,robosuite,dev]'
numpy==1.26.4
torch==2.13.0
zarr==3.1.5
absent==1.0
"""
NEWEST = """#   pip install -c constraints-newest.txt -e '.[all,dev]'
numpy==2.4.6
torch==2.13.0
zarr==3.1.6
"""


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """A checkout with two sets of pins, and these versions of numpy and zarr installed."""

    def make(numpy: str, zarr: str) -> None:
        monkeypatch.setattr(pins, "version_of", {"numpy": numpy, "torch": "2.13.0+cpu", "zarr": zarr}.get)
        monkeypatch.setattr(pins, "CHECKOUT", tmp_path)
        (tmp_path / "constraints.txt").write_text(FIRST)
        (tmp_path / "constraints-newest.txt").write_text(NEWEST)

    return make


@pytest.mark.parametrize(
    ("numpy", "zarr", "status", "found", "advice"),
    [
        ("1.26.4", "3.1.5", "ok", "every installed package has its version of constraints.txt", ""),
        ("2.4.6", "3.1.6", "ok", "every installed package has its version of constraints-newest.txt", ""),
        (
            "1.26.4", "3.0.0", "warn", "other versions than tested with constraints.txt: zarr 3.0.0 (pinned 3.1.5)",
            "pip install -c constraints.txt -e '.[all,robosuite,dev]'",
        ),
        (
            "2.4.5", "3.1.6", "warn",
            "other versions than tested with constraints-newest.txt: numpy 2.4.5 (pinned 2.4.6)",
            "pip install -c constraints-newest.txt -e '.[all,dev]'",
        ),
    ],
)  # fmt: skip
def test_the_tested_versions_that_are_followed_are_named_with_what_differs(pinned, numpy, zarr, status, found, advice):
    pinned(numpy, zarr)
    assert list(packages._pins("Packages")) == [HealthCheck("Packages", "pins", status, found, advice)]


def test_an_extra_is_installed_with_the_versions_that_are_followed(pinned, monkeypatch):
    pinned("1.26.4", "3.1.5")
    assert pins.install_line("sim") == "pip install '.[sim]' -c constraints.txt"
    pinned("2.4.6", "3.1.6")
    assert pins.install_line("sim") == "pip install '.[sim]' -c constraints-newest.txt"
    assert pins.install_line("robosuite") == "pip install '.[robosuite]' -c constraints.txt"
    monkeypatch.setattr(pins, "CHECKOUT", Path("/nowhere"))
    assert pins.install_line("sim") == "pip install '.[sim]' -c constraints.txt"
    assert list(packages._pins("Packages")) == []
