"""Without the files of a robot: what a user reads, whichever verb needs them, and that nothing is left behind."""

import tarfile
import time
from pathlib import Path

import pytest

pytest.importorskip("mujoco_menagerie", reason="its message is part of what is read")

from robolearn.cli import doctor
from robolearn.cli.main import main
from robolearn.core.health import HealthCheck
from robolearn.kinematics.health import robot_checks

FILES = Path(__file__).parents[1] / "fixtures" / "before_layouts" / "datasets.tar.gz"
SCENE = "hand_over/vx300s"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Neither a checkout nor a cache, and nothing answers where files are downloaded from."""
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda _: None)  # it tries three times, seconds apart


@pytest.fixture
def policy(tmp_path):
    with tarfile.open(FILES) as archive:
        archive.extractall(tmp_path / "files", filter="data")
    return tmp_path / "files" / "run"


def words_of(verb, policy, output):
    return {
        "record": ["record", "--env", SCENE, "--operator", "scripted", "--dataset", str(output)],
        "teleop": ["teleop", "--env", SCENE, "--operator", "scripted"],
        "eval": ["eval", "--policy", str(policy), "--env", SCENE, "--output", str(output)],
    }[verb]


@pytest.mark.parametrize("verb", ["record", "teleop", "eval"])
def test_offline_one_line_says_what_to_type(offline, policy, tmp_path, capfd, verb):
    assert main(words_of(verb, policy, tmp_path / "out")) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith(
        f"error: The robot model 'trossen_vx300s' is not in {tmp_path}/cache and could not be download"
    )
    assert (
        "Where there is a network, type: mujoco-menagerie prefetch trossen_vx300s; or set MENAGERIE_ROOT to a " in line
    )
    assert not (tmp_path / "out").exists()


def test_a_checkout_that_lacks_the_robot_is_named(monkeypatch, tmp_path, capfd):
    (tmp_path / "menagerie" / "franka_fr3").mkdir(parents=True)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path / "menagerie"))
    assert main(words_of("record", None, tmp_path / "out")) == 2
    assert capfd.readouterr().err.strip() == (
        f"error: MENAGERIE_ROOT={tmp_path}/menagerie: Unknown robot model 'trossen_vx300s'. Known: franka_fr3. Unset "
        "MENAGERIE_ROOT to download it."
    )


def test_the_doctor_says_which_robots_are_there_and_how_to_get_the_others(offline, monkeypatch, capsys):
    there = HealthCheck("Robots", "mine", "ok", "My arm: /somewhere")
    monkeypatch.setattr(doctor, "all_checks", lambda: [there, *robot_checks()])
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "Trossen ViperX 300 6DOF: files of vx300s not on this machine: downloaded when first used" in printed
    assert "-> now: python -m robolearn.kinematics.prefetch vx300s" in printed and "My arm: /somewhere" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["record", "--env", "hand_over/pandas", "--operator", "scripted"],
            "Did you mean 'panda'? Known: panda, vx300s.",
        ),
        (["teleop", "--env", "hand_over/vx30"], "Did you mean 'vx300s'? Known: panda, vx300s."),
    ],
)
def test_an_unknown_robot_of_a_scene_gets_the_closest(tmp_path, capfd, words, told):
    more = ["--dataset", str(tmp_path / "out")] if words[0] == "record" else []
    assert main([*words, *more]) == 2
    assert told in capfd.readouterr().err and not (tmp_path / "out").exists()
