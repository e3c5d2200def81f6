"""What docs/robots.md says is installed and run here as it is written there, and its table says what the code says."""

import configparser
import importlib
import re
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robots import ROBOTS, robot

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "robots.md").read_text()
PROGRAMS = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if not code.startswith("# my_lab")]


@pytest.fixture
def bench_arm(install):
    """The package of the page, installed as pip does it from its pyproject.toml."""
    project = configparser.ConfigParser()  # such lines are ini as well as toml
    project.read_string(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0].replace('"', ""))
    groups = {
        section.removeprefix("project.entry-points."): project[section]
        for section in project.sections()
        if "entry-points" in section
    }
    site = install(project["project"]["name"], groups)
    (site / "my_lab").mkdir()
    (site / "my_lab" / "__init__.py").write_text("")
    for kind, mark in (("python", "# "), ("xml", "<!-- ")):
        for code in re.findall(rf"```{kind}\n({mark}my_lab/.*?)```", PAGE, re.DOTALL):
            (site / code.split()[1]).write_text(code)
    importlib.invalidate_caches()
    return robot("bench_arm")


def test_the_table_says_what_the_robots_say():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert list(rows)[: len(ROBOTS)] == list(ROBOTS)
    for name in ROBOTS:
        found = robot(name)
        title, joints, opening, *limits, files = rows[name].split(" | ")
        assert title == found.title
        assert joints == f"{len(found.joints)}" + (f", {found.free} free" if found.free else "")
        assert float(opening) == found.gripper.opening_m
        for told, numbers in zip(limits, (found.velocity, found.acceleration, found.effort), strict=True):
            ends = [float(number) for number in re.split(", | to ", told)]
            assert (min(ends), max(ends)) == (min(numbers), max(numbers)), (name, told)
        if "Menagerie" in files:
            assert re.findall(r"`(\w+)`", files) == [model.places[0].model for model in found.models]


def test_the_first_program_solves_and_says_what_is_out_of_reach(capsys, present):
    present("panda")
    exec(compile(PROGRAMS[0], "docs/robots.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["True (7, 2) (6, 7)", "False 1.2", "True"]


def test_the_robot_of_the_page_has_a_name_everywhere(bench_arm, capsys):
    exec(compile(PROGRAMS[1], "docs/robots.md", "exec"), {})
    position, names = capsys.readouterr().out.splitlines()
    # its links from the base's 0.2 m up: 0.3 m tilted by 0.2 rad, 0.27 m by 1.5 rad, 0.12 m straight down
    outward, up = 0.3 * np.sin(0.2) + 0.27 * np.sin(1.5), 0.2 + 0.3 * np.cos(0.2) + 0.27 * np.cos(1.5) - 0.12
    assert position == f"[{outward:.2f} 0.   {up:.2f}]"
    assert names == "('pan', 'lift', 'elbow', 'roll', 'bend', 'turn', 'gripper')"


def test_the_robot_of_the_page_keeps_the_conventions(bench_arm):
    kinematics = ArmKinematics(bench_arm)
    _, rotation = kinematics.forward(kinematics.home_rad)
    np.testing.assert_allclose(rotation, [[0, 1, 0], [1, 0, 0], [0, 0, -1]], atol=1e-3)
    low, high = kinematics.limits_rad.T
    for q in np.random.default_rng(0).uniform(low, high, size=(20, 6)):
        assert kinematics.solve(np.clip(q + 0.1, low, high), *kinematics.forward(q)).reached


def test_the_robot_of_the_page_stands_and_grips_in_a_simulation(bench_arm):
    attach = pytest.importorskip("robolearn.sim.robots.attach").attach
    mounted = MountedRobot(bench_arm, "left", (0.2, 0.0, 0.4))
    scene = mujoco.MjSpec()
    attach(scene, mounted)
    model = scene.compile()
    data = mujoco.MjData(model)
    closed = dict(zip(bench_arm.gripper.joints, bench_arm.gripper.positions(0.5), strict=True))
    wanted = dict(zip(bench_arm.joints, bench_arm.home, strict=True)) | closed
    for name, angle in wanted.items():
        data.joint(mounted.named(name)).qpos = angle
        data.actuator(mounted.named(f"servo_{name}")).ctrl = angle
    mujoco.mj_step(model, data, nstep=500)
    position, _ = ArmKinematics(bench_arm).forward(bench_arm.home_rad)
    np.testing.assert_allclose(data.site("left_tcp").xpos, position + [0.2, 0.0, 0.4], atol=1e-3)
