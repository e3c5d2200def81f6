"""`robolearn replay`: what it finds, prints and refuses; on Push-T and put_on_plate, which need no robosuite."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

if importlib.util.find_spec("gym_pusht") is None:
    pytest.skip("gym-pusht is not installed", allow_module_level=True)

from robolearn.cli.main import main
from robolearn.cli.replay import show
from robolearn.core.feature import Feature
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.run.replay import EpisodeReplay, Outcome
from robolearn.sim import make_env

SOLVED = np.array([50.0, 60, 0, 0, 256, 256, np.pi / 4, 0, 0, 0])


def record(path: Path, name: str, starts: list[int | np.ndarray], steps: int = 6, **env_facts) -> Path:
    """A dataset of small moves from start states, or from simulator states."""
    env = make_env(name)
    features = {**env.observation_features, "action": env.action_feature}
    with DatasetWriter.create(path, features, env.control_hz) as writer:
        facts = {"name": name, "scene_version": env.scene_version, "control_hz": env.control_hz, **env_facts}
        writer.set_sim_model(env.model_xml(), facts)
        for start in starts:
            given = isinstance(start, np.ndarray)
            observation, info = env.reset(options={"init_state": 0 if given else start})
            if given:
                observation, info = env.set_sim_state(start), env.task_info()
            action = observation["observation.state"].copy()
            success = info["success"]
            writer.start_episode()
            for k in range(steps):
                action[:2] += np.float32(0.01 if name == "put_on_plate" else 5.0)
                writer.append(k / env.control_hz, {**observation, "action": action}, env.sim_state())
                observation, _, _, _, info = env.step(action)
                success |= info["success"]
            writer.commit({"task": "push", "success": bool(success), "init_state": None if given else start})
    env.close()
    return path


@pytest.fixture
def pusht(tmp_path) -> Path:
    return record(tmp_path / "pusht.zarr", "pusht", [3, SOLVED])


def replay_json(capsys, *arguments: str) -> dict:
    assert main(["replay", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_success_is_found_by_states_and_by_actions(pusht, capsys):
    found = replay_json(capsys, "--dataset", str(pusht))
    assert found["summary"] == {
        "states": {"successes": 1, "episodes": 2},
        "actions": {"successes": 1, "episodes": 2},
    }
    failed, solved = found["episodes"]
    assert (failed["recorded_success"], failed["states"]["success"], failed["states"]["step"]) == (False, False, None)
    assert (solved["recorded_success"], solved["states"]["step"], solved["actions"]["step"]) == (True, 0, 1)


def test_a_recording_of_another_robot_model_is_refused(tmp_path, capsys):
    dataset = record(tmp_path / "d.zarr", "put_on_plate", [7], robots={"panda": "menagerie-1"})
    assert main(["replay", "--dataset", str(dataset)]) == 2
    assert "was recorded with the robot models {'panda': 'menagerie-1'}; put_on_plate has" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pusht", "put_on_plate"])
def test_actions_from_a_start_state_reproduce_the_recording_exactly(tmp_path, capsys, name):
    dataset = record(tmp_path / "d.zarr", name, [7])
    (episode,) = replay_json(capsys, "--dataset", str(dataset))["episodes"]
    assert episode["actions"]["deviation"] == 0.0
    assert episode["states"]["deviation"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "chosen"), [(["0-1"], [0, 1]), (["-1"], [1]), (["1,0"], [1, 0]), (["0", "1"], [0, 1]), (["0--1"], [0, 1])]
)
def test_episodes_are_named_as_in_all_other_verbs(pusht, capsys, words, chosen):
    found = replay_json(capsys, "--dataset", str(pusht), "--by", "states", "--episodes", *words)
    assert [episode["episode"] for episode in found["episodes"]] == chosen


def test_other_ways_to_name_episodes_are_refused_with_the_one_there_is(pusht, capsys):
    told = explained(capsys, "--dataset", str(pusht), "--episodes", "0:2")
    assert "--episodes takes indices and ranges, such as 0-9,12,-1; found '0:2'." in told


def test_one_way_and_some_episodes(pusht, capsys):
    found = replay_json(capsys, "--dataset", str(pusht), "--by", "states", "--episodes", "1")
    assert [episode["episode"] for episode in found["episodes"]] == [1]
    assert found["episodes"][0]["actions"] is None
    assert list(found["summary"]) == ["states"]


def test_the_table_says_how_many_reach_success(pusht, capsys):
    assert main(["replay", "--dataset", str(pusht)]) == 0
    out = capsys.readouterr().out
    assert "success at 0" in out
    assert "by states: 1 of 2 reach success" in out
    assert "by actions: 1 of 2 reach success" in out


def test_only_the_task_is_cut_short_where_the_table_is_too_wide(capsys):
    played = Outcome(True, 134, 1.0, 0.0123)
    show([EpisodeReplay(0, "put the bar on the plate", 142, None, played, played)], Console(width=80))
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["episode", "task", "recorded", "by", "states", "by", "actions", "steps", "deviation"]
    assert "…" in row and row.rstrip().endswith("not known  success at 134  success at 134    142     0.0123")
    assert max(len(head), len(row)) <= 80


def test_videos_are_written(pusht, tmp_path, capsys):
    pytest.importorskip("av")
    output = tmp_path / "videos"
    assert main(["replay", "--dataset", str(pusht), "--by", "actions", "--episodes", "1", "--output", str(output)]) == 0
    assert [file.name for file in output.iterdir()] == ["episode_0001_actions.mp4"]


def explained(capsys, *arguments: str) -> str:
    assert main(["replay", *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    return error


def test_a_missing_dataset_is_explained(tmp_path, capsys):
    assert "does not exist" in explained(capsys, "--dataset", str(tmp_path / "no.zarr"))


def test_an_episode_that_is_not_there_is_explained(pusht, capsys):
    assert "there is no episode 5; the dataset has 0 to 1" in explained(
        capsys, "--dataset", str(pusht), "--episodes", "5"
    )


def test_an_unknown_way_is_explained(pusht, capsys):
    assert "states" in explained(capsys, "--dataset", str(pusht), "--by", "state")


def test_another_scene_version_is_refused(tmp_path, capsys):
    dataset = record(tmp_path / "old.zarr", "pusht", [0], scene_version="gym-pusht-0.0.1")
    assert "recorded in gym-pusht-0.0.1 of pusht" in explained(capsys, "--dataset", str(dataset))


def test_another_rate_is_refused(tmp_path, capsys):
    dataset = record(tmp_path / "fast.zarr", "pusht", [0], control_hz=50.0)
    assert "recorded at 50.0 Hz; pusht runs at 10.0 Hz" in explained(capsys, "--dataset", str(dataset))


def test_a_dataset_from_real_hardware_is_refused(tmp_path, capsys):
    with DatasetWriter.create(
        tmp_path / "real.zarr", {"action": Feature("action", (2,), kind="action")}, 10.0
    ) as writer:
        writer.start_episode()
        writer.append(0.0, {"action": np.zeros(2, np.float32)})
        writer.commit({})
    assert "not recorded in a simulator" in explained(capsys, "--dataset", str(tmp_path / "real.zarr"))
