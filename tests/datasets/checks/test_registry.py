"""Checks of other packages beside ours, and what becomes of those that are wrong or fail."""

import json

import pytest

from robolearn.cli.main import main
from robolearn.core.errors import ConfigError
from robolearn.datasets.checks import Finding, validate
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.registry import CHECKS, make_check

CODE = """
import numpy as np

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding


class Long(Check):
    name = "long"

    def episode(self, view):
        yield Finding(severity="info", check=self.name, message="long", episode=np.int64(view.index), step=np.uint8(3))


class Fails(Check):
    name = "fails"
    looked_at = []

    def episode(self, view):
        self.looked_at.append(view.index)
        yield Finding(severity="info", check=self.name, message="begun", episode=view.index)
        view.record["no such key"]


class Silent(Check):
    def episode(self, view):
        pass


class Shouts(Check):
    def finish(self, survey):
        return ["too long"]


class Leaves(Check):
    def start(self, survey):
        raise SystemExit(0)


class Exaggerates(Check):
    def start(self, survey):
        yield Finding(severity="catastrophe", check="exaggerates", message="!")


class Demanding(Check):
    def __init__(self, limit):
        pass


class Alone:
    pass
"""


@pytest.fixture
def with_checks(install):
    """Installs a package `a-lab` with these checks: name -> class of `CODE`."""

    def write(**checks):
        return install("a-lab", {"robolearn.checks": {n: f"a_lab:{kind}" for n, kind in checks.items()}}, CODE)

    return write


def told_by(findings, name):
    return [finding for finding in findings if finding.check == name]


def test_every_check_of_ours_is_called_by_the_name_of_its_findings():
    made = {name: make_check(name) for name in CHECKS}
    assert [check.name for check in made.values()] == list(made)
    assert len(made) == 16 and all(isinstance(check, Check) for check in made.values())


def test_checks_of_a_package_come_after_ours_by_name(with_checks):
    ours = list(CHECKS)
    with_checks(zebra="Long", ant="Long")
    assert list(CHECKS) == [*ours, "ant", "zebra"]


def test_what_a_check_of_a_package_finds_is_told_with_ours(with_checks, make_dataset):
    path = make_dataset(3, 4)
    before = validate(path)
    with_checks(long="Long", silent="Silent")
    found = validate(path)
    assert [f for f in found if f.check != "long"] == before
    assert [(f.episode, f.step) for f in told_by(found, "long")] == [(0, 3), (1, 3)]
    json.dumps([finding.to_dict() for finding in found])  # whatever kind of numbers the check has


def test_a_check_that_fails_is_told_once_with_its_package_and_line_and_the_others_go_on(
    with_checks, make_dataset, capsys
):
    path = make_dataset(3, 4, 5)
    before = validate(path)
    site = with_checks(fails="Fails", long="Long")
    found = validate(path)
    assert [f for f in found if f.check not in ("fails", "long")] == before
    assert len(told_by(found, "long")) == 3
    failed, begun = told_by(found, "fails")
    assert (failed.severity, failed.episode, begun.message) == ("error", 0, "begun")
    line = 1 + CODE.splitlines().index('        view.record["no such key"]')
    where = f"{site / 'a_lab.py'}, line {line}, in episode"
    assert failed.message.startswith(
        f"the check of the package 'a-lab' could not be run: KeyError: 'no such key' at {where}"
    )
    assert CHECKS.resolve("fails").looked_at == [0], "after that it is left alone"
    assert main(["dataset", "validate", str(path)]) == 1
    assert "error    fails       episode 0: the check of the package 'a-lab' could not" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Shouts", "it gave a str; expected a Finding"),
        ("Leaves", "SystemExit: 0 at"),
        ("Exaggerates", "Unknown severity 'catastrophe'. Known: error, info, warning."),
        ("Demanding", "cannot be made: Demanding.__init__() missing 1 required positional argument: 'limit'"),
        ("Alone", "(a_lab:Alone) is a Alone; expected a subclass of robolearn.datasets.checks.check.Check"),
        ("Absent", "is a_lab:Absent, but that module has no 'Absent'"),
    ],
)
def test_what_is_no_check_is_told_and_the_others_go_on(with_checks, make_dataset, kind, said):
    path = make_dataset(1)
    before = validate(path)
    with_checks(wrong=kind)
    found = validate(path)
    assert [f for f in found if f.check != "wrong"] == before
    (told,) = told_by(found, "wrong")
    assert said in told.message and told.severity == "error"
    assert told.message.startswith("the check of the package 'a-lab' could not be run: ")


def test_a_check_that_two_packages_declare_is_told_and_the_others_go_on(install, make_dataset):
    path = make_dataset(1)
    before = validate(path)
    install("a-lab", {"robolearn.checks": {"long": "a_lab:Long"}}, CODE)
    install("b-lab", {"robolearn.checks": {"long": "b_lab:Long"}}, CODE)
    found = validate(path)
    assert [f for f in found if f.check != "long"] == before
    (told,) = told_by(found, "long")
    assert "declared twice, as a_lab:Long by the package 'a-lab' and as b_lab:Long by 'b-lab'" in told.message


def test_a_severity_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"Unknown severity 'errors'\. Did you mean 'error'\?"):
        Finding(severity="errors", check="x", message="y")
