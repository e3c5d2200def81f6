"""The two sets of pins: they hold every package that the extras they name ask for, in a version that fits."""

import functools
import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SETS = ("constraints.txt", "constraints-newest.txt")
CUDA = ("nvidia-", "cuda-", "triton")


@functools.cache
def pins(file: str) -> dict[str, str]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


@functools.cache
def requirements(file: str) -> tuple[Requirement, ...]:
    """What setup.py asks for with the extras that the set's own line installs."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    asked = setup.call_args.kwargs
    [extras] = re.findall(rf"pip install -c {re.escape(file)} -e '\.\[(.+)\]'", (ROOT / file).read_text())
    lists = [asked["install_requires"], *(asked["extras_require"][extra] for extra in extras.split(","))]
    return tuple(Requirement(text) for texts in lists for text in texts)


def followed() -> str:
    """The set of pins that this environment was made of."""
    installed = metadata.version("numpy")
    [file] = [file for file in SETS if pins(file)["numpy"] == installed] or ["no set of pins"]
    return file


@pytest.mark.parametrize("file", SETS)
def test_every_requirement_is_pinned_to_a_version_that_meets_it(file):
    found = {r: pins(file).get(canonicalize_name(r.name)) for r in requirements(file)}
    assert not [f"{r}: {version}" for r, version in found.items() if version is None or version not in r.specifier]


def test_robosuite_is_in_one_set_and_what_it_holds_back_is_newer_in_the_other():
    first, newest = map(pins, SETS)
    assert "robosuite" in first
    assert "robosuite" not in newest
    assert first["numpy"].startswith("1.")
    assert newest["numpy"].startswith("2.")
    assert first["torch"] == newest["torch"]


@pytest.mark.skipif(followed() not in SETS, reason="this environment was made of no set of pins")
def test_nothing_is_installed_for_our_sake_without_a_pin():
    waiting, reached = [(r.name, extra) for r in requirements(followed()) for extra in ("", *r.extras)], set()
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in reached:
            continue
        reached.add((canonicalize_name(name), extra))
        try:
            asked = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # not installed yet, but it has to be pinned
        for requirement in map(Requirement, asked):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, e) for e in ("", *requirement.extras)]
    names = {name for name, _ in reached}
    assert len(names) > 80
    # PyPI's build of torch brings CUDA along, which the build for CPUs does without
    assert {name for name in names if not name.startswith(CUDA)} <= set(pins(followed()))


@pytest.mark.slow
def test_no_installed_package_breaks_the_requirement_of_another():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
