"""What docs/packages.md says is installed and run here as it is written there."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.registry import Registry
from robolearn.datasets.checks.registry import CHECKS
from robolearn.datasets.convert.export.registry import EXPORTERS
from robolearn.datasets.convert.registry import CONVERTERS
from robolearn.datasets.read.reader import Dataset
from robolearn.hardware.arms.registry import ARMS
from robolearn.hardware.input.registry import INPUT_DEVICES
from robolearn.hardware.robot import ROBOTS
from robolearn.kinematics.robots import ROBOTS as ROBOT_MODELS
from robolearn.sim.experts import EXPERTS
from robolearn.sim.registry import ENVIRONMENTS

DOC = (Path(__file__).resolve().parents[2] / "docs" / "packages.md").read_text()
COMMANDS = [shlex.split(line)[1:] for line in DOC.partition("In use:")[2].splitlines() if line.strip()]


@pytest.fixture
def site(tmp_path, monkeypatch, install):
    """Where the package of the documentation is installed, as pip does it from its pyproject.toml."""
    for code in re.findall(r"```python\n(# (?:my_lab/\w+\.py)\n.*?)```", DOC, re.DOTALL):
        file = tmp_path / "site" / code.partition("\n")[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    project = configparser.ConfigParser()  # such lines are ini as well as toml
    project.read_string(re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)[0].replace('"', ""))
    groups = {section.removeprefix("project.entry-points."): project[section] for section in project.sections()[1:]}
    folder = install(project["project"]["name"], groups)
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_table_names_every_group():
    from robolearn.policies.registry import POLICIES
    from robolearn.training.presets import PRESETS

    registries: tuple[Registry, ...] = (
        ENVIRONMENTS, EXPERTS, POLICIES, PRESETS, ROBOT_MODELS, ROBOTS, ARMS, INPUT_DEVICES, CONVERTERS, EXPORTERS,
        CHECKS,
    )  # fmt: skip
    assert re.findall(r"^\| `(robolearn\.\w+)` \|", DOC, re.MULTILINE) == [registry.group for registry in registries]
    assert all(f"`{name}`" in DOC for name in ("SimEnv", "Expert", "ActionExpert", "InputDevice", "Converter", "Check"))


def test_every_command_of_the_documentation_finds_what_the_package_declares(site, capsys):
    for command in COMMANDS:
        assert main(command) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert re.search(r"warning +reached +episode 0: ends \d+ mm beside its goal", told)
    recorded, again = Dataset("magnet.zarr"), Dataset("again.zarr")
    assert {record["operator"] for record in recorded.episodes} == {"magnet"}
    assert {record["operator"] for record in Dataset("expert.zarr").episodes} == {"scripted"}
    assert Dataset("expert.zarr").sim_env["name"] == "reach"
    assert [record["source_episode"] for record in again.episodes] == ["0000.lab.csv", "0001.lab.csv"]
    for name in recorded.features:
        np.testing.assert_array_equal(
            again.rows(name, 0, again.num_steps), recorded.rows(name, 0, recorded.num_steps), err_msg=name
        )


def test_a_command_in_a_process_of_its_own_finds_the_users_expert(site, tmp_path):
    search = f"{site}:{':'.join(path for path in sys.path if path)}"
    done = subprocess.run(
        [sys.executable, "-m", "robolearn", *COMMANDS[0]], cwd=tmp_path, env={"PYTHONPATH": search, "PATH": "/usr/bin"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Recorded 2 episodes" in done.stderr
    assert Dataset(tmp_path / "expert.zarr").num_episodes == 2


def test_the_names_of_a_package_are_among_those_that_are_offered(site, capsys):
    assert main(["record", "--env", "reech", "--dataset", "a.zarr"]) == 2
    assert "Did you mean 'reach'?" in capsys.readouterr().err
    assert main(["record", "--env", "reach", "--operator", "magnit", "--dataset", "a.zarr"]) == 2
    assert "Did you mean 'magnet'?" in capsys.readouterr().err
    assert main(["dataset", "convert", "--input", "magnet.zarr", "--to", "lab_cvs", "--output", "b"]) == 2
    assert "Did you mean 'lab_csv'?" in capsys.readouterr().err
