"""`robolearn doctor` on machines and environments made up in the test."""

import json
import os
import sys
from pathlib import Path

import pytest

from robolearn.cli import checks as doctor_checks
from robolearn.cli import doctor
from robolearn.cli.checks import Check
from robolearn.core import shared_segment
from robolearn.core.errors import ConfigError
from robolearn.hardware.discovery import FoundDevice
from robolearn.sim import rendering
from robolearn.sim.rendering import RenderingChoice

FINE = Check("Machine", "python", "ok", "3.11")
WARNED = Check("Packages", "opencv", "warn", "twice", "pip uninstall one")
BROKEN = Check("Packages", "mujoco", "bad", "3.12, but robolearn needs <3.10", "pip install 'mujoco<3.10'")


@pytest.fixture
def installed(monkeypatch):
    """An environment with these packages: name -> (version, requirements)."""

    def install(packages: dict[str, tuple[str, list[str]]], extras: tuple[str, ...] = ("sim", "all", "dev")):
        def lookup(name):
            if name not in packages:
                raise doctor_checks.metadata.PackageNotFoundError(name)
            return packages[name]

        monkeypatch.setattr(doctor_checks.metadata, "version", lambda name: lookup(name)[0])
        monkeypatch.setattr(doctor_checks.metadata, "requires", lambda name: lookup(name)[1])
        monkeypatch.setattr(doctor_checks, "_extras", lambda name: list(extras))
        monkeypatch.setattr(doctor_checks, "_pins", lambda group, constraints: [])

    return install


def by_name(found) -> dict[str, Check]:
    return {check.name: check for check in found}


@pytest.mark.parametrize(("found", "status"), [([FINE], 0), ([FINE, WARNED], 0), ([FINE, WARNED, BROKEN], 1)])
def test_only_what_is_broken_makes_the_status_1(monkeypatch, capsys, found, status):
    monkeypatch.setattr(doctor, "all_checks", lambda: found)
    assert doctor.main([]) == status
    printed = capsys.readouterr().out
    assert all(check.found in printed and check.advice in printed for check in found)


def test_json_holds_every_finding(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "all_checks", lambda: [FINE, BROKEN])
    assert doctor.main(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [Check(**check) for check in report["checks"]] == [FINE, BROKEN]


def test_findings_are_aligned(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "all_checks", lambda: [FINE, WARNED, BROKEN])
    doctor.main([])
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index(c.found) for c in (FINE, WARNED, BROKEN) for line in lines if c.found in line}) == 1


def test_a_version_out_of_bounds_is_broken_and_says_what_to_type(installed):
    installed({"robolearn": ("0.1.0", ["mujoco<3.10,>=3.3; extra == 'sim'"]), "mujoco": ("3.12.0", [])})
    assert by_name(doctor_checks.package_checks())["mujoco"] == Check(
        "Packages", "mujoco", "bad", "3.12.0, but robolearn needs <3.10,>=3.3", "pip install 'mujoco<3.10,>=3.3'"
    )


def test_a_missing_core_package_is_broken_and_a_missing_extra_is_not(installed):
    installed({"robolearn": ("0.1.0", ["numpy>=1.26", "mujoco>=3.3; extra == 'sim'"])})
    found = by_name(doctor_checks.package_checks())
    assert found["numpy"].status == "bad"
    assert found["mujoco"].status == "info"
    assert ".[sim]" in found["mujoco"].advice


@pytest.mark.parametrize(("robosuite", "status"), [({}, "ok"), ({"robosuite": ("1.5.2", [])}, "bad")])
def test_the_bounds_of_an_extra_hold_where_it_is_installed(installed, robosuite, status):
    asked = ["mujoco>=3.3; extra == 'sim'", "mujoco>=3.3; extra == 'robosuite'", "mujoco<3.10; extra == 'robosuite'",
             "robosuite==1.5.2; extra == 'robosuite'"]  # fmt: skip
    packages = {"robolearn": ("0.1.0", asked), "mujoco": ("4.0.0", []), **robosuite}
    installed(packages, extras=("sim", "robosuite", "all", "dev"))
    found = by_name(doctor_checks.package_checks())["mujoco"]
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
    clashes = [check for check in doctor_checks.package_checks() if check.status == "bad"]
    assert clashes == [
        Check("Packages", "numpy", "bad", "2.1.0, but mink 0.0.5 needs <2.0.0", "pip install 'numpy<2.0.0'")
    ]


def test_two_opencv_wheels_are_warned_of(installed):
    wheels = {"opencv-python": ("4.11.0", []), "opencv-python-headless": ("4.12.0", [])}
    installed({"robolearn": ("0.1.0", ["opencv-python>=4.9"]), **wheels})
    [warning] = [check for check in doctor_checks.package_checks() if check.status == "warn"]
    assert "overwrite one another" in warning.found
    assert warning.advice.startswith("pip uninstall -y opencv-python opencv-python-headless && pip install")


def test_running_without_being_installed_is_explained(installed):
    installed({})
    assert [check.advice for check in doctor_checks.package_checks()] == ["pip install -e ."]


def test_versions_other_than_the_pinned_ones_are_listed(monkeypatch, tmp_path):
    versions = {"numpy": "2.1.0", "torch": "2.13.0+cpu", "zarr": "3.1.5"}
    monkeypatch.setattr(doctor_checks, "_version", versions.get)
    pins = tmp_path / "constraints.txt"
    pins.write_text("# which versions\nnumpy==1.26.4\ntorch==2.13.0\nzarr==3.1.5\nabsent==1.0\n")
    [check] = doctor_checks._pins("Packages", pins)
    assert (check.status, check.found) == ("warn", "other versions than tested: numpy 2.1.0 (pinned 1.26.4)")
    assert list(doctor_checks._pins("Packages", tmp_path / "none.txt")) == []


def test_no_back_end_gives_the_line_that_installs_one(monkeypatch):
    monkeypatch.setattr(doctor_checks, "_version", lambda name: "1.0")
    monkeypatch.setattr(rendering, "choose_backend", lambda: RenderingChoice(None, "no GPU was found"))
    [check] = doctor_checks.rendering_checks()
    assert check.status == "bad"
    assert check.advice.startswith("apt-get install -y libosmesa6")


def test_a_misspelt_back_end_is_reported_and_not_raised(monkeypatch):
    def refuse():
        raise ConfigError("MUJOCO_GL is 'osmessa'; expected egl, osmesa or glfw, or leave it unset.")

    monkeypatch.setattr(doctor_checks, "_version", lambda name: "1.0")
    monkeypatch.setattr(rendering, "choose_backend", refuse)
    [check] = doctor_checks.rendering_checks()
    assert (check.status, check.advice) == ("bad", "unset MUJOCO_GL")


@pytest.mark.parametrize(("program", "status"), [("pass", "ok"), ("raise SystemError('no display')", "bad")])
def test_the_test_picture_is_tried_in_another_process(monkeypatch, program, status):
    monkeypatch.setattr(rendering, "choose_backend", lambda: RenderingChoice("osmesa", "asked for"))
    monkeypatch.setattr(doctor_checks, "_RENDER", program)
    picture = by_name(doctor_checks.rendering_checks())["test picture"]
    assert picture.status == status
    assert status == "ok" or picture.found == "SystemError: no display"


def test_devices_are_listed_by_kind_and_closed_ones_are_warned_of(monkeypatch):
    found = [
        FoundDevice("video", "/dev/video0", "Webcam"),
        FoundDevice("serial", "/dev/serial/by-id/usb-U2D2", "ttyUSB0", accessible=False),
    ]
    monkeypatch.setattr(doctor_checks, "find_devices", lambda: found)
    seen = by_name(doctor_checks.device_checks())
    assert (seen["video devices"].status, seen["video devices"].found) == ("ok", "/dev/video0 Webcam")
    assert (seen["input devices"].status, seen["input devices"].found) == ("info", "none")
    assert seen["serial ports"].status == "warn"
    assert "usermod -aG dialout" in seen["serial ports"].advice


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's scheduler")
def test_asking_for_real_time_priority_leaves_the_priority_as_it_was():
    before = os.sched_getscheduler(0)
    assert by_name(doctor_checks.machine_checks())["real-time priority"].status in ("ok", "info")
    assert os.sched_getscheduler(0) == before


def test_shared_memory_that_cannot_be_had_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr(shared_segment, "_MEMORY", Path("/proc/sys"))  # a folder in which nothing can be made
    found = by_name(doctor_checks.machine_checks())["shared memory"]
    assert (found.status, found.advice) == ("bad", "mount a tmpfs at /dev/shm, of 256 MiB or more")
    assert "could not be had: " in found.found and "(/proc/sys)" in found.found


def test_this_machine_is_examined_without_raising():
    found = list(doctor_checks.all_checks())
    assert {check.group for check in found} == {"Machine", "Packages", "Rendering", "Learning", "Devices"}
    assert all(check.advice for check in found if check.status in ("warn", "bad"))
