"""Checkpoints, runs, datasets and results of an earlier commit are read, see fixtures/before_rooms/README.md.

Numbers are compared with what that commit answered. They were computed on another processor, perhaps with other
kernels: answers agree to 1e-4 of an action's range, those through weights in half precision (BESO on a CPU that offers
them) to 5e-3.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from robolearn.cli.deploy import DeployOptions
from robolearn.cli.main import main
from robolearn.core.config import parse, to_dict
from robolearn.datasets.checks import validate
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.run import repair
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.pages.demo import DemoParts, write_demo_page
from robolearn.evaluation.statistics.compare import compare
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.runs import load_runs
from robolearn.policies.checkpoint import load_policy, load_provenance, save_policy

FILES = Path(__file__).parent / "fixtures" / "before_rooms"
ANSWERS = json.loads((FILES / "expected.json").read_text())
CAMERA = "observation.images.front"
LATER = {"scheduler_options"}
"""Settings of policies that came since; their defaults change nothing."""
RUN_TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}
"""Of weights after four more steps of training, on another processor."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    unpack("checkpoints", folder)
    return folder / "checkpoints"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder: paths in these files are relative."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def unpack(name, folder):
    with tarfile.open(FILES / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")


def arrays(values, features):
    return values and {name: np.array(value, features[name].dtype) for name, value in values.items()}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_checkpoint_answers_what_it_answered(checkpoints, name):
    policy, asked = load_policy(checkpoints / name), ANSWERS[name]
    chunk = policy.predict_chunk(
        arrays(asked["observations"], policy.spec.observation_features),
        arrays(asked["goal"], policy.spec.goal_features),
        np.array(asked["executed"], np.float32),
        torch.Generator().manual_seed(asked["seed"]),
    )
    expected = np.array(asked["chunk"])
    assert chunk.shape == expected.shape and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(chunk, expected, rtol=0, atol=5e-3 if "beso" in name else 1e-4)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_checkpoint_that_is_saved_again_is_the_same(checkpoints, tmp_path, name):
    policy, old = load_policy(checkpoints / name), checkpoints / name
    kind = yaml.safe_load((old / "config.yaml").read_text())["policy"]
    save_policy(tmp_path / name, kind, policy, policy.state_dict(), {})
    for file in ("features.json", "model.safetensors", "normalizer.safetensors"):
        assert (tmp_path / name / file).read_bytes() == (old / file).read_bytes(), file
    again, first = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (tmp_path / name, old))
    again["config"] = {option: value for option, value in again["config"].items() if option not in LATER}
    assert again == first


def same_weights(file):
    weights, expected = load_file(file), load_file("whole.safetensors")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, **RUN_TOLERANCE, msg=name)


def test_a_run_that_was_killed_is_resumed_and_ends_where_it_would_have(place):
    unpack("run", place)
    assert load_provenance(place / "run")["step"] == 8
    assert main(["train", "beso", "--dataset", "steps", "--output", "run", "--resume", "--json"]) == 0
    assert load_provenance(place / "run")["step"] == 12
    same_weights(place / "run/checkpoints/last/model.safetensors")


def test_the_configuration_that_a_run_wrote_is_taken_back(place):
    unpack("run", place)
    assert main(["train", "beso", "--config", "run/config.yaml", "--output", "again", "--json"]) == 0
    same_weights(place / "again/checkpoints/last/model.safetensors")
    again, first = (yaml.safe_load((place / run / "config.yaml").read_text()) for run in ("again", "run"))
    assert {**again, "output": "run"} == {**first, "action": None}  # an option that came since, at its default


def test_a_dataset_of_steps_is_read_and_added_to(place):
    unpack("run", place)
    dataset = Dataset("steps")
    assert (dataset.num_episodes, dataset.num_steps) == (3, 327)
    assert dataset.checksum() == load_provenance(place / "run")["dataset_checksum"]
    assert dataset.sim_env["name"] == "avoiding" and dataset.sim_model(0).startswith("<mujoco")
    assert [record["success"] for record in dataset.episodes] == [True] * 3
    assert not [finding for finding in validate("steps") if finding.severity == "error"]
    # the command of a step is that of the step before, moved by its action
    state, action = dataset.array("observation.state"), dataset.array("action")
    within = np.delete(np.arange(326), dataset.episode_slice(0).stop - 1)
    within = np.setdiff1d(within, [dataset.episode_slice(1).stop - 1])
    np.testing.assert_allclose(state[within + 1, :2], state[within, :2] + action[within], atol=1e-6)
    states = dataset.sim_states(0)
    with DatasetWriter.append_to(Path("steps")) as writer:
        writer.start_episode()
        for step in range(5):
            writer.append(step / dataset.fps, {"observation.state": state[step], "action": action[step]}, states[step])
        writer.commit({"success": False})
    grown = Dataset("steps")
    assert [record["success"] for record in grown.episodes] == [True] * 3 + [False]
    assert np.array_equal(grown.array("action")[-5:], action[:5])


def test_a_dataset_of_streams_is_read_with_its_edits_and_masks(place):
    unpack("streams", place)
    dataset = Dataset("streams")
    assert [(record["success"], record.get("notes")) for record in dataset.episodes] == [
        (True, None), (False, "cable in view"),
    ]  # fmt: skip
    assert dataset.mask("train").tolist() == [True, False]
    assert [edit.by for edit in dataset.edits] == ["anna", "anna"]
    assert dataset.array("observation.state").tolist() == [[k] * 2 for k in (0, 5, 10, 15, 20, 10, 15, 20, 25, 30)]
    stream = dataset.stream("observation.state")
    assert np.allclose(stream.timestamp, np.tile(np.arange(25) / 50, 2))
    assert np.allclose(stream.device_time, 100 + stream.timestamp)
    assert dataset.stream(CAMERA).sequence.tolist() == [*range(10)] * 2
    assert dataset.stream("button").episode_ends.tolist() == [1, 2]
    for step in range(10):
        shown = 2 * (step % 5) + 10 * (step // 5)
        assert np.abs(dataset.image(CAMERA, step).astype(int) - image(shown)).max() < 30
    for episode in range(2):
        dataset.verify_episode(episode)


def image(step):
    rows, columns = np.mgrid[0:12, 0:16]
    return np.stack([rows * 20, columns * 15, np.full_like(rows, 40 * step % 256)], axis=-1)


def test_the_journal_of_an_episode_that_was_cut_off_becomes_an_episode(place):
    unpack("streams", place)
    (action,) = repair("streams")
    assert action.what == "salvage" and "saved 5 steps" in action.message and "beginning of a row" in action.message
    dataset = Dataset("streams")
    assert dataset.episodes[2].items() >= {"salvaged": True, "success": None, "num_steps": 5}.items()
    assert dataset.stream("observation.state").sequence[50:].tolist() == [*range(24)]  # the 25th was torn
    assert dataset.array("action")[10:, 0].tolist() == [20, 21, 22, 23, 24]
    assert np.abs(dataset.image(CAMERA, 12).astype(int) - image(24)).max() < 30
    assert repair("streams") == []


def test_evaluations_are_read_and_compared(place):
    unpack("run", place)
    unpack("results", place)
    results = EvaluationResults.load(Path("eval"))
    assert (results.environment["name"], results.init_states, results.successes) == ("avoiding", [0, 1], 0)
    assert [episode.steps for episode in results.episodes] == [15, 15]
    comparison = compare(load_runs([Path("run"), Path("eval"), Path("eval_one_step")]))
    names = [method.name.rpartition("/")[2] for method in comparison.methods]
    assert names == ["run", "eval", "run [sampling_steps=1]"]
    pair = comparison.pairs[-1]
    assert pair.start_states == 2 and not pair.reason
    assert {measure.measure: measure.value.value for measure in pair.differences} == {"success": 0.0, "score": 0.0}
    assert len(load_runs([Path("run")])[0].curves["loss"][0]) == 3


def test_a_page_shows_what_was_recorded_learnt_evaluated_and_deployed(place):
    unpack("run", place)
    unpack("results", place)
    parts = DemoParts(Path("page.html"), Path("steps"), Path("run"), Path("eval"), Path("deploy"))
    page = write_demo_page(parts).read_text()
    assert page.count('class="absent"') == 1 and "no videos of these episodes were kept" in page
    ticks = json.loads(Path("deploy/results.json").read_text())["loop"]["ticks"]
    assert f"{ticks:,}" in page


def test_the_options_of_a_deployment_are_taken_back(place):
    unpack("results", place)
    options = parse(DeployOptions, ["--config", "deploy/config.yaml"], prog="robolearn deploy", description="")
    assert to_dict(options) == yaml.safe_load(Path("deploy/config.yaml").read_text())
    assert (options.init_state, options.max_speed, options.time_limit_s) == (5, 0.2, 1.0)
