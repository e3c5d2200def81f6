"""`robolearn record --operator scripted` in a scene whose expert gives the actions itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from robolearn.cli.main import main
from robolearn.datasets.read.reader import Dataset


def arguments(path: Path, *more: str) -> list[str]:
    return ["record", "--env", "avoiding", "--operator", "scripted", "--dataset", str(path), *more]


def test_demonstrations_are_recorded_and_recording_goes_on_with_resume(tmp_path, capsys):
    path = tmp_path / "a.zarr"
    assert main(arguments(path, "--num-episodes", "24", "--task", "pass the posts")) == 0
    told = capsys.readouterr().err
    assert "Recorded 24 episodes" in told and "with 0 late ticks" in told and "missed" not in told
    assert "24 behaviour modes, each shown 1 to 1 times." in told

    assert main(arguments(path, "--num-episodes", "2")) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(arguments(path, "--num-episodes", "2", "--resume", "--json")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["recorded"], summary["failed"], summary["total_episodes"]) == (2, 0, 26)

    dataset = Dataset(path)
    assert len({record["init_state"] for record in dataset.episodes}) == 26
    assert {record["mode"] for record in dataset.episodes[24:]} == {record["mode"] for record in dataset.episodes[:2]}
    assert dataset.episodes[0]["task"] == "pass the posts"
    assert dataset.sim_env["name"] == "avoiding" and "<mujoco" in dataset.sim_model(0)


def test_options_of_other_operators_are_refused_before_anything_is_made(tmp_path, capsys):
    for option in (("--seed", "3"), ("--fps", "10"), ("--speed", "real")):
        assert main(arguments(tmp_path / "a.zarr", *option)) == 2
        error = capsys.readouterr().err
        assert f"leave out {option[0]}" in error and error.count("\n") == 1
    assert not (tmp_path / "a.zarr").exists()


def test_a_person_cannot_drive_the_rod_with_an_arm_s_device(tmp_path, capsys):
    assert main(["record", "--env", "avoiding", "--dataset", str(tmp_path / "a.zarr")]) == 2
    assert "'avoiding' has no arm that a hand could drive: its actions are of shape (2,)" in capsys.readouterr().err


def test_an_expert_of_two_arms_is_recorded_in_the_layout_asked_for(tmp_path, capsys):
    path = tmp_path / "two.zarr"
    words = ["record", "--env", "hand_over/panda", "--dataset", str(path), "--num-episodes", "1"]
    assert main([*words, "--operator", "scripted", "--action", "joints"]) == 0
    dataset = Dataset(path)
    layout = dataset.features["action"].layout
    assert layout.robots == (("left", "panda"), ("right", "panda")) and layout.size == 16
    assert [part.name for part in layout.parts] == ["left joints", "left gripper", "right joints", "right gripper"]
    # what each servo was told is what it then does, three steps later
    told, done = dataset.array("action"), dataset.array("observation.joint_position")
    for k, columns in enumerate((slice(0, 7), slice(8, 15))):
        assert np.abs(told[:-3, columns] - done[3:, 7 * k : 7 * k + 7]).mean() < 0.02
    assert dataset.episodes[0]["task"] == "hand over"
    assert [mount["prefix"] for mount in dataset.sim_env["mounts"]] == ["left", "right"]
    capsys.readouterr()

    assert main([*words[:3], "--dataset", str(tmp_path / "b.zarr"), "--operator", "keyboard"]) == 2
    assert capsys.readouterr().err == (
        "error: Environment 'hand_over/panda' has the arms 'left' and 'right', and an operator's hand moves one. An "
        "expert that gives the actions of all of them drives it, where there is one: robolearn record --env "
        "hand_over/panda --operator scripted.\n"
    )
    assert not (tmp_path / "b.zarr").exists()
