import json
import re
import shutil
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr

pytest.importorskip("torch")

from robolearn.cli.main import main
from robolearn.core import busy
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.policies.checkpoint import load_provenance
from robolearn.sim.registry import make_env
from robolearn.teleop.demonstrations import record_demonstrations
from robolearn.training.metrics import read_metrics

sys.path.append(str(Path(__file__).parents[1] / "training"))
from world import write_dataset

SMALL = ["--steps", "4", "--batch-size", "8", "--num-threads", "1", "--log-every", "2", "--policy.hidden-dim", "8"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr", episodes=3, length=12)


def user_sees(capfd, *arguments):
    """The one line on stderr of a command line that ends with status 2."""
    assert main(["train", *map(str, arguments)]) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    return error


def options(dataset, output, *more):
    return ["bc", "--dataset", str(dataset), "--output", str(output), *SMALL, *map(str, more)]


def test_train_says_what_to_do_next(dataset, tmp_path, capfd):
    assert main(["train", *options(dataset, tmp_path / "run")]) == 0
    out = capfd.readouterr().out
    assert "step 4/4" in out
    assert f"Next: robolearn eval --policy {tmp_path}/run --env ENV" in out


def test_what_to_do_next_names_the_scene_and_the_goals(tmp_path, capfd):
    demonstrations = tmp_path / "demos.zarr"
    record_demonstrations("block_push", 2, demonstrations)
    goals = ["--policy.goals", "observation.environment_state"]
    assert main(["train", *options(demonstrations, tmp_path / "run", *goals)]) == 0
    expected = f"Next: robolearn eval --policy {tmp_path}/run --env block_push --goals DEMOS.zarr"
    assert expected in capfd.readouterr().out


@pytest.mark.slow
def test_what_to_do_next_has_the_protocol_of_the_evaluation_while_training(demonstrations, tmp_path, capfd):
    run = tmp_path / "run"
    more = ["--eval-env", "avoiding", "--eval-episodes", "1", "--eval-workers", "1", "--checkpoint-every", "4"]
    protocol = ["--eval-init-state", "7", "--eval-execute", "1", "--eval-max-steps", "3"]
    goals = ["--policy.goals", "observation.state", "--policy.observations", "observation.state"]
    goals += ["--eval-goals", demonstrations]
    assert main(["train", *options(demonstrations, run, *more, *protocol, *goals)]) == 0
    seen = capfd.readouterr()
    expected = f"--env avoiding --goals {demonstrations} --init-state 7 --execute 1 --max-steps 3\n"
    assert f"Next: robolearn eval --policy {run} {expected}" in seen.out
    assert f"note: goals are the ends of episodes of {demonstrations}, which is trained on" in seen.err


def test_a_warm_up_longer_than_the_run_is_noted(dataset, tmp_path, capfd):
    assert main(["train", *options(dataset, tmp_path / "run", "--learning-rate", "0.1", "--warmup-steps", "40")]) == 0
    assert "the learning rate ends at 0.01, short of 0.1" in capfd.readouterr().err
    assert main(["train", *options(dataset, tmp_path / "other", "--warmup-steps", "4")]) == 0
    assert "note" not in capfd.readouterr().err


def test_a_machine_that_is_busy_is_told_before_the_first_step(dataset, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(busy, "BUSY_SHARE", -1.0)  # whatever others use, nothing included
    assert main(["train", *options(dataset, tmp_path / "run", "--json")]) == 0
    said = capfd.readouterr().err
    assert re.search(r"^this machine is busy: \d\.\d of \d+ cores? (are|is) used by other programs", said, re.M)


def test_train_says_how_large_the_network_and_the_data_are(dataset, tmp_path, capfd):
    assert main(["train", *options(dataset, tmp_path / "run", "--val-ratio", "0.3")]) == 0
    parameters = load_provenance(tmp_path / "run")["parameters"]
    # three episodes of 12 steps; each step is the newest observation of a window
    told = capfd.readouterr().out
    assert f"{parameters} parameters; 2 episodes to train on (24 windows), 1 to validate" in told
    assert "\ndevice: cpu (auto: PyTorch " in told or "\ndevice: cuda (auto: " in told


def test_a_run_is_resumed_with_the_options_it_was_begun_with(dataset, tmp_path, capfd):
    run = tmp_path / "run"
    assert main(["train", *options(dataset, run, "--learning-rate", "2e-3", "--warmup-steps", "2")]) == 0
    assert main(["train", "bc", "--output", str(run), "--resume"]) == 0
    assert "The run had all its 4 steps; to go on, give more --steps. Policy: " in capfd.readouterr().out
    assert main(["train", "bc", f"--output={run}", "--resume", "--steps", "6"]) == 0
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line] == [2, 4, 6]
    assert load_provenance(run)["training"]["learning_rate"] == 2e-3
    assert "had --learning-rate 0.002, found 0.1" in user_sees(
        capfd, "bc", "--output", run, "--resume", "--learning-rate", "0.1"
    )
    assert "use: robolearn train bc --config" in user_sees(capfd, "beso", "--output", run, "--resume")
    assert "--dataset" in user_sees(capfd, "bc", "--output", tmp_path / "nothing", "--resume")


def test_json_is_the_result_and_nothing_else(dataset, tmp_path, capfd):
    assert main(["train", *options(dataset, tmp_path / "run", "--json")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["steps"] == 4
    assert Path(found["checkpoint"]).name == "00000004"
    # nothing was left to do: no loss, and still json
    assert main(["train", *options(dataset, tmp_path / "run", "--json", "--resume")]) == 0
    assert json.loads(capfd.readouterr().out, parse_constant=pytest.fail)["loss"] is None


def test_the_resolved_configuration_can_be_given_back(dataset, tmp_path, capfd):
    assert main(["train", *options(dataset, tmp_path / "one", "--learning-rate", "2e-3")]) == 0
    resolved = str(tmp_path / "one" / "config.yaml")
    assert main(["train", "bc", "--config", resolved, "--output", str(tmp_path / "two")]) == 0
    one, two = ((tmp_path / run / "config.yaml").read_text() for run in ("one", "two"))
    assert two == one.replace(str(tmp_path / "one"), str(tmp_path / "two"))
    capfd.readouterr()
    assert f"use: robolearn train bc --config {resolved}" in user_sees(capfd, "beso", "--config", resolved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--learning-rat", "1"), "--learning-rat"),
        (("--steps", "0"), "--steps must be at least 1, found 0"),
        (("--steps", "many"), "--steps"),
        (("--seed", "-1"), "--seed must be at least 0, found -1"),
        (("--num-threads", "-1"), "--num-threads must be at least 0, found -1"),
        (("--warmup-steps", "-1"), "--warmup-steps must be at least 0, found -1"),
        (("--max-grad-norm", "0"), "--max-grad-norm must be positive, found 0"),
        (("--weight-decay", "-1"), "--weight-decay must be at least 0, found -1"),
        (("--betas", "0.9", "1"), "--betas must be in [0, 1), found (0.9, 1.0)"),
        (("--masks", "a", "--weights", "0.5,0.5"), "Several values are separated by spaces"),
        (("--final-learning-rate", "-1"), "--final-learning-rate must be in [0, 1], found -1"),
        (("--final-learning-rate", "nan"), "--final-learning-rate must be in [0, 1], found nan"),
        (("--learning-rate", "inf"), "--learning-rate must be positive and finite, found inf"),
        (("--encoder-learning-rate", "nan"), "--encoder-learning-rate must be positive and finite, found nan"),
        (("--device", "meta"), "--device meta holds no numbers"),
        (("--ema.max-decay", "1.5"), "--ema.max-decay must lie in [0, 1], found 1.5"),
        (("--precision", "float8"), "float8"),
        (("--device", "gpu"), "--device gpu cannot be used"),
        (("--policy.observations", "observation.stat"), "Did you mean 'observation.state'"),
        (("--policy.hidden-dim", "0"), "hidden_dim must be at least 1, found 0"),
        (("--policy.dropout", "1.5"), "dropout must lie in [0, 1), found 1.5"),
        (("--eval-env", "avoidin"), "Did you mean 'avoiding'?"),
        (("--eval-env", "avoiding", "--eval-goals", "g.zarr"), "takes no goals"),
        (("--eval-env", "avoiding", "--policy.goals", "observation.state"), "with --eval-goals DATASET.zarr"),
        (("--eval-workers", "0"), "--eval-workers must be at least 1, found 0"),
        (("--eval-execute", "0"), "--eval-execute must be at least 1, found 0"),
        (("--eval-max-steps", "0"), "--eval-max-steps must be at least 1, found 0"),
        (("--eval-env", "avoiding", "--eval-goal-mask", "m"), "--eval-goal-mask m says nothing without --eval-goals"),
        (("--eval-goals", "g.zarr"), "--eval-goals g.zarr says nothing without --eval-env"),
        (("--policy.action-horizon", "0"), "action_horizon must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options_are_one_line(dataset, tmp_path, capfd, change, words):
    assert words in user_sees(capfd, *options(dataset, tmp_path / "run"), *change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--policy.heads", "0"), "heads must be at least 1, found 0"),
        (("--policy.layers", "0"), "layers must be at least 1, found 0"),
        (("--policy.goal-horizon", "-1"), "goal_horizon must be at least 1, found -1"),
        (("--policy.dropout", "-0.1"), "dropout must lie in [0, 1), found -0.1"),
        (("--policy.sampler", "dimm"), "dimm"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options_of_beso_are_one_line(dataset, tmp_path, capfd, change, words):
    arguments = ["--dataset", dataset, "--output", tmp_path / "run", "--steps", "1", *change]
    assert words in user_sees(capfd, "beso", *arguments)


def test_an_unknown_policy_gets_the_closest_one(capfd):
    assert "Unknown policy 'besso'. Did you mean 'beso'?" in user_sees(capfd, "besso")


def test_a_dataset_over_the_network_trains(dataset, tmp_path):
    remote = fsspec.filesystem("memory")
    remote.put(str(dataset), "/train_cli.zarr", recursive=True)
    try:
        assert main(["train", *options("memory://train_cli.zarr", tmp_path / "run")]) == 0
    finally:
        remote.rm("/train_cli.zarr", recursive=True)


@pytest.mark.parametrize("place", ["afile", "afile/run"])
def test_an_output_that_cannot_be_made_is_one_line(dataset, tmp_path, capfd, place):
    (tmp_path / "afile").touch()
    error = user_sees(capfd, *options(dataset, tmp_path / place))
    assert str(tmp_path / "afile") in error


def test_a_missing_dataset_is_named(tmp_path, capfd):
    assert "nowhere.zarr" in user_sees(capfd, *options(tmp_path / "nowhere.zarr", tmp_path / "run"))


def test_a_truncated_dataset_names_the_file(dataset, tmp_path, capfd):
    copy = tmp_path / "cut.zarr"
    shutil.copytree(dataset, copy)
    chunk = next(file for file in sorted((copy / "data" / "action").iterdir()) if not file.name.startswith("."))
    chunk.write_bytes(chunk.read_bytes()[:20])
    assert str(chunk) in user_sees(capfd, *options(copy, tmp_path / "run"))


def test_actions_that_were_changed_afterwards_are_refused(dataset, tmp_path, capfd):
    copy = tmp_path / "changed.zarr"
    shutil.copytree(dataset, copy)
    actions = zarr.open(str(copy / "data" / "action"), mode="r+")
    actions[17, 1] = np.nan
    error = user_sees(capfd, *options(copy, tmp_path / "run"))
    assert "changed.zarr/data/action: episode 1 (steps 12 to 23) does not have the checksum" in error


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    """Data that fit the environment avoiding."""
    env = make_env("avoiding")
    declared = {**env.observation_features, "action": env.action_feature}
    env.close()
    return write_noise(tmp_path_factory.mktemp("avoiding") / "d.zarr", declared, env.control_hz)


def write_noise(path, declared, control_hz):
    rng = np.random.default_rng(0)
    with DatasetWriter.create(path, declared, control_hz) as writer:
        writer.start_episode()
        for step in range(12):
            values = {name: rng.uniform(0.1, 0.5, feature.shape) for name, feature in declared.items()}
            writer.append(step / control_hz, {name: value.astype(np.float32) for name, value in values.items()})
        writer.commit({"task": "t"})
    return path


def refused_before_the_first_step(capfd, dataset, run, *more):
    error = user_sees(capfd, *options(dataset, run, "--checkpoint-every", "1", "--eval-env", "avoiding", *more))
    assert not run.exists(), "no metrics, no checkpoint"
    return error


def test_data_of_another_environment_than_evaluates_are_refused_before_the_first_step(dataset, tmp_path, capfd):
    error = refused_before_the_first_step(capfd, dataset, tmp_path / "run")
    assert "expects feature 'observation.state' of shape (3,); environment 'avoiding' gives shape (4,)" in error


@pytest.mark.parametrize(
    ("goals", "words"),
    [
        (("other.zarr",), "the goal of the policy needs feature 'observation.state', which "),
        (("d.zarr", "--eval-goal-mask", "held_ou"), "Unknown mask 'held_ou'. Did you mean 'held_out'?"),
        (("d.zarr", "--eval-goal-mask", "none"), "none of its 1 episodes is in mask 'none'"),
        (("nowhere.zarr",), "nowhere.zarr"),
    ],
    ids=["feature", "mask", "empty mask", "dataset"],
)
def test_goals_that_cannot_be_given_are_refused_before_the_first_step(demonstrations, tmp_path, capfd, goals, words):
    copy = shutil.copytree(demonstrations, tmp_path / "d.zarr")
    set_mask(copy, "held_out", [0])
    set_mask(copy, "none", [])
    other = [Feature("observation.stat", (4,)), Feature("action", (2,), kind="action")]
    write_noise(tmp_path / "other.zarr", features(other), 10.0)
    asked = ["--policy.goals", "observation.state", "--policy.observations", "observation.state"]
    path, *mask = goals
    error = refused_before_the_first_step(
        capfd, demonstrations, tmp_path / "run", *asked, "--eval-goals", tmp_path / path, *mask
    )
    assert words in error


def test_more_executed_actions_than_a_chunk_has_are_refused_before_the_first_step(demonstrations, tmp_path, capfd):
    more = ["--policy.observations", "observation.state", "--policy.action-horizon", "4", "--eval-execute", "5"]
    error = refused_before_the_first_step(capfd, demonstrations, tmp_path / "run", *more)
    assert "--eval-execute is 5; the policy predicts chunks of 4 actions, so give 1 to 4" in error


@pytest.mark.slow
def test_checkpoints_are_evaluated_in_worker_processes(demonstrations, tmp_path, capfd):
    run = tmp_path / "run"
    more = ["--checkpoint-every", "4", "--policy.observations", "observation.state"]
    evaluation = [
        "--eval-env", "avoiding", "--eval-episodes", "2", "--eval-init-state", "3", "--eval-workers", "1",
        "--eval-execute", "3", "--eval-max-steps", "7",
    ]  # fmt: skip
    assert main(["train", *options(demonstrations, run, *more, *evaluation)]) == 0
    found = EvaluationResults.load(run / "evaluations" / "00000004")
    assert [episode.init_state for episode in found.episodes] == [3, 4]
    assert [episode.steps for episode in found.episodes] == [7, 7]
    assert (found.settings["execute"], found.settings["max_steps"]) == (3, 7)
    values = {"eval_success": found.success.value, "eval_score": found.score.value}
    assert load_provenance(run)["evaluation"] == values
    assert values.items() <= read_metrics(run / "metrics.jsonl")[-1].items()
    assert f"--policy {run} --env avoiding" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE is 2, but "),
        ({"WORLD_SIZE": "many"}, "The environment variable WORLD_SIZE is 'many', expected a number"),
    ],
)
def test_processes_that_nobody_started_are_one_line(dataset, tmp_path, capfd, monkeypatch, environment, words):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = user_sees(capfd, *options(dataset, tmp_path / "run"))
    assert words in error
    assert "start several processes with torchrun, or unset RANK" in error
