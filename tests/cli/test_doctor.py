"""`robolearn doctor`: what it prints of made-up findings, and that it runs here."""

import json

import pytest

from robolearn.cli import doctor
from robolearn.core.health import HealthCheck

FINE = HealthCheck("Machine", "python", "ok", "3.11")
WARNED = HealthCheck("Packages", "opencv", "warn", "twice", "pip uninstall one")
BROKEN = HealthCheck("Packages", "mujoco", "bad", "3.12, but robolearn needs <3.10", "pip install 'mujoco<3.10'")


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
    assert [HealthCheck(**check) for check in report["checks"]] == [FINE, BROKEN]


def test_findings_are_aligned(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "all_checks", lambda: [FINE, WARNED, BROKEN])
    doctor.main([])
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index(c.found) for c in (FINE, WARNED, BROKEN) for line in lines if c.found in line}) == 1


@pytest.mark.slow
def test_this_machine_is_examined_without_raising():
    found = list(doctor.all_checks())
    assert {check.group for check in found} == {"Machine", "Packages", "Rendering", "Robots", "Learning", "Devices"}
    assert all(check.advice for check in found if check.status in ("warn", "bad"))
