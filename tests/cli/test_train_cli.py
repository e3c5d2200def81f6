import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

pytest.importorskip("torch")

from robolearn.cli.main import main

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
        (("--ema.max-decay", "1.5"), "--ema.max-decay must lie in [0, 1], found 1.5"),
        (("--precision", "float8"), "float8"),
        (("--device", "gpu"), "--device gpu cannot be used"),
        (("--policy.observations", "observation.stat"), "Did you mean 'observation.state'"),
        (("--policy.hidden-dim", "0"), "hidden_dim must be at least 1, found 0"),
        (("--policy.dropout", "1.5"), "dropout must lie in [0, 1), found 1.5"),
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
