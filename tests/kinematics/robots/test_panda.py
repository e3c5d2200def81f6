"""The Panda of our scenes: one source, the same files whether its package is installed or not."""

import subprocess
import sys

import pytest

from robolearn.core.errors import MissingDependencyError
from robolearn.kinematics.models import checksum
from robolearn.kinematics.robots.panda import MODEL as PANDA
from robolearn.kinematics.sources import PackageData
from robolearn.kinematics.wheel import PinnedWheel


def test_its_files_are_pinned():
    assert PANDA.sha256 is not None and len(PANDA.sha256) == 64
    assert len(set(PANDA.files)) == len(PANDA.files)


@pytest.mark.parametrize("place", PANDA.places, ids=lambda place: type(place).__name__)
def test_robosuites_package_and_its_wheel_hold_the_same_panda(place):
    """The wheel is downloaded into the user's cache where it is missing, as in ordinary use."""
    try:
        folder = place.folder(PANDA.files)
    except MissingDependencyError as error:
        pytest.skip(f"cannot be had here: {error}")
    assert checksum(folder, PANDA.files) == PANDA.sha256


def test_another_version_of_robosuite_is_passed_over(tmp_path):
    """An installed package that has other files is not where the Panda comes from."""
    folder = tmp_path / "robosuite" / "models" / "assets"
    for file in PANDA.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("of another version")
    (tmp_path / "robosuite" / "__init__.py").write_text("")
    program = (
        "from robolearn.kinematics.robots.panda import MODEL as PANDA; p, w = PANDA.places;"
        "print(p.folder(PANDA.files)); print(PANDA.folder())"
    )
    (tmp_path / "cache").write_text("a file, so that the wheel cannot be had")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}", "ROBOLEARN_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.stdout == f"{folder}\n"
    assert "The wheel of robosuite 1.5.2, which robot models are taken from, cannot be kept in" in done.stderr


def test_it_says_where_a_wheel_comes_from():
    package, wheel = PANDA.places
    assert isinstance(package, PackageData) and isinstance(wheel, PinnedWheel)
    assert PANDA.version == f"{wheel.name}-{wheel.version}"
    assert wheel.file.startswith(f"{wheel.name}-{wheel.version}-")
    assert wheel.inside == f"{package.package}/{package.inside}"


def test_prefetch_says_where_each_robot_is():
    done = subprocess.run(
        [sys.executable, "-m", "robolearn.kinematics.prefetch"], capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: The ")
        pytest.skip(done.stderr)
    assert done.stdout == f"panda: robosuite-1.5.2, {PANDA.folder()}\n"
