import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from world import BC, BESO, run_config, write_dataset

from robolearn.core.errors import CheckpointError, ConfigError, DatasetError
from robolearn.policies.bc import BcConfig
from robolearn.policies.checkpoint import load_policy, load_provenance
from robolearn.policies.noise import Noise
from robolearn.training.metrics import read_metrics
from robolearn.training.trainer import Trainer, train

@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr")


@pytest.mark.parametrize(
    "policy", [("beso", BESO), ("bc", BcConfig(hidden_dim=32, layers=1)), ("beso", replace(BESO, goals=("observation.state",), goal_horizon=2))]
)
def test_a_run_leaves_a_complete_checkpoint(dataset, tmp_path, policy):
    result = train(run_config(dataset, tmp_path / "run"), *policy, quiet=True)
    assert result.steps == 30 and np.isfinite(result.val_loss)
    loaded = load_policy(tmp_path / "run")
    assert loaded.config == policy[1]
    record = load_provenance(tmp_path / "run")
    assert record["step"] == 30 and record["dataset_checksum"] and record["curve"]
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [5, 10, 15, 20, 25, 30]
    assert len([line for line in lines if "val_loss" in line]) == 3
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2  # the last one and the link to it


def test_metrics_follow_the_schedule_and_tensorboard_has_them_too(dataset, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    config = run_config(dataset, tmp_path / "run", steps=21, warmup_steps=1, learning_rate=2e-3)
    train(config, "bc", BC, quiet=True)
    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "lr" in line]
    # warm-up takes one step, the cosine the other 20; step n is taken with the rate of n - 1 steps before it
    expected = [2e-3 * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * (line["step"] - 2) / 20))) for line in lines]
    assert [line["lr"] for line in lines] == pytest.approx(expected)
    board = accumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {"loss", "lr", "grad_norm", "steps_per_s", "data_wait", "val_loss", "action_error"}
    assert [event.value for event in board.Scalars("lr")] == pytest.approx(expected, rel=1e-6)


def test_gradients_are_clipped_to_the_norm_asked_for(dataset, tmp_path):
    trainer = Trainer(
        run_config(dataset, tmp_path / "run", max_grad_norm=1e-3), "bc", BC, quiet=True
    )
    seen = []
    trainer._step.optimizer.step = lambda: seen.append(
        float(torch.stack([p.grad.norm() for p in trainer.policy.parameters()]).norm())
    )
    trainer._train_step()
    assert seen == pytest.approx([1e-3], rel=1e-3)


def test_bfloat16_keeps_float32_weights_and_learns(dataset, tmp_path):
    result = train(run_config(dataset, tmp_path / "run", precision="bfloat16"), "beso", BESO, quiet=True)
    assert np.isfinite(result.loss)
    assert {v.dtype for v in load_file(result.checkpoint / "model.safetensors").values()} == {torch.float32}


def test_bc_learns_the_rule_of_the_data(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", steps=400, learning_rate=1e-2, val_ratio=0.0)
    bc = BcConfig(hidden_dim=64, layers=1, action_horizon=1)
    first = Trainer(replace(config, output=tmp_path / "untrained"), "bc", bc, quiet=True)
    start = float(first.policy.loss(first.batches.at(0), Noise(0)).detach())
    assert train(config, "bc", bc, quiet=True).loss < 0.1 * start


def test_resuming_continues_to_the_same_weights(dataset, tmp_path):
    whole = run_config(dataset, tmp_path / "whole")
    train(whole, "beso", BESO, quiet=True)
    cut = Trainer(run_config(dataset, tmp_path / "cut"), "beso", BESO, quiet=True)
    save = cut.save

    def save_then_die():
        save()
        raise KeyboardInterrupt

    cut.save = save_then_die
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    train(run_config(dataset, tmp_path / "cut", resume=True), "beso", BESO, quiet=True)
    weights = [load_file(tmp_path / run / "checkpoints" / "last" / "model.safetensors") for run in ("whole", "cut")]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    curves = [[line.get("loss") for line in read_metrics(tmp_path / run / "metrics.jsonl")] for run in ("whole", "cut")]
    assert curves[0] == curves[1]


def test_batches_depend_on_seed_and_step_only(dataset, tmp_path):
    trainers = [Trainer(run_config(dataset, tmp_path / str(i)), "beso", BESO, quiet=True) for i in range(2)]
    trainers[1].batches.at(17)
    for step in (0, 3, 11):
        a, b = (t.batches.at(step) for t in trainers)
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_goals_lie_after_the_window_in_the_same_episode(tmp_path):
    from robolearn.core.feature import Feature, features
    from robolearn.datasets.reader import Dataset
    from robolearn.datasets.writer import DatasetWriter
    from robolearn.training.data import WindowBatches

    declared = features(
        [Feature("observation.state", (2,)), Feature("observation.environment_state", (1,)), Feature("action", (1,))]
    )
    with DatasetWriter.create(tmp_path / "g.zarr", declared, 10.0) as writer:
        for episode, length in enumerate((12, 12, 1, 12)):
            writer.start_episode()
            for step in range(length):
                zero = np.zeros(1, np.float32)
                values = {"observation.state": np.array([episode, step], np.float32), "action": zero}
                values["observation.environment_state"] = zero
                writer.append(step / 10, values)
            writer.commit({"task": "t", "success": True})
    trainer = Trainer(
        run_config(tmp_path / "g.zarr", tmp_path / "run"), "beso", replace(BESO, goals=("observation.state",), goal_horizon=2), quiet=True
    )
    batches = WindowBatches(Dataset(tmp_path / "g.zarr"), trainer.policy.spec, range(4), 16, 0)
    for step in range(6):
        batch = batches.at(step)
        newest, goal = batch["observation.state"][:, -1], batch["goal.observation.state"]
        assert (goal[..., 0] == newest[:, None, 0]).all(), "goals stay in their episode"
        short = newest[:, 0] == 2
        assert (goal[short][..., 1] == 0).all(), "a single step is its own goal"
        newest, goal = newest[~short], goal[~short]
        assert (goal[:, 1, 1] == goal[:, 0, 1] + 1).all()
        assert ((goal[:, 0, 1] > newest[:, 1]) | (goal[:, 1, 1] == 11)).all(), "goals lie ahead, or at the very end"


def test_resuming_from_nothing_is_explained(dataset, tmp_path):
    with pytest.raises(ConfigError, match="Nothing to resume"):
        train(run_config(dataset, tmp_path / "run", resume=True), "beso", BESO, quiet=True)


def test_resuming_on_other_data_is_refused(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", steps=2)
    train(config, "beso", BESO, quiet=True)
    grown = write_dataset(tmp_path / "grown.zarr", episodes=7)
    with pytest.raises(ConfigError, match=r"had dataset checksum \w+, found \w+; resume with what it began with"):
        train(replace(config, dataset=grown, resume=True, steps=4), "beso", BESO, quiet=True)
    with pytest.raises(ConfigError, match="had seed 0, found 1"):
        train(replace(config, seed=1, resume=True, steps=4), "beso", BESO, quiet=True)


def test_a_missing_dataset_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere.zarr"):
        train(run_config(tmp_path / "nowhere.zarr", tmp_path / "run"), "beso", BESO, quiet=True)


def test_an_existing_run_is_not_overwritten(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", steps=2)
    train(config, "beso", BESO, quiet=True)
    with pytest.raises(ConfigError, match="--resume"):
        train(config, "beso", BESO, quiet=True)


def test_an_unknown_observation_gets_the_closest_match(dataset, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'observation.state'"):
        train(
            run_config(dataset, tmp_path / "r"), "beso", replace(BESO, observations=("observation.stat",)), quiet=True
        )


def test_a_damaged_training_state_is_reported(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", steps=10)
    train(config, "beso", BESO, quiet=True)
    state = tmp_path / "run" / "checkpoints" / "last" / "training_state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Cannot resume"):
        train(replace(config, resume=True, steps=20), "beso", BESO, quiet=True)


def test_diverged_training_stops_with_advice(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run"), "beso", BESO, quiet=True)
    with torch.no_grad():
        trainer.policy.network.head.weight.fill_(float("nan"))
    with pytest.raises(Exception, match="learning-rate"):
        trainer.run()


def test_an_interrupted_validation_leaves_the_current_weights(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run"), "bc", BC, quiet=True)
    before = {k: v.clone() for k, v in trainer.policy.state_dict().items()}
    for value in trainer._step.ema.averaged.values():
        value.zero_()

    def interrupt(*_):
        raise KeyboardInterrupt

    trainer.policy.loss = interrupt
    with pytest.raises(KeyboardInterrupt):
        trainer._validate()
    assert all(torch.equal(before[k], v) for k, v in trainer.policy.state_dict().items())


def test_a_checkpoint_of_the_same_step_is_not_written_again(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run"), "bc", BC, quiet=True)
    written = trainer.save() / "model.safetensors"
    before = written.stat().st_ino
    trainer.save()
    assert written.stat().st_ino == before


def test_without_held_out_episodes_no_validation_loss_is_written(dataset, tmp_path):
    result = train(run_config(dataset, tmp_path / "run", val_ratio=0.0), "bc", BcConfig(hidden_dim=8), quiet=True)
    assert result.val_loss is None
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in (result.checkpoint / "provenance.json").read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_saves_a_checkpoint_that_can_be_resumed(dataset, tmp_path, number, status):
    command = [sys.executable, "-m", "robolearn", "train", "beso", "--dataset", str(dataset), "--output",
               str(tmp_path / "run"), "--steps", "100000", "--num-threads", "1", "--policy.embed-dim", "16",
               "--policy.heads", "2", "--policy.layers", "1", "--log-every", "5"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 90
    while len(read_metrics(tmp_path / "run" / "metrics.jsonl")) < 2:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status and "go on with --resume" in output and "Traceback" not in output
    step = json.loads((tmp_path / "run" / "checkpoints" / "last" / "training_state.json").read_text())["step"]
    assert step > 0


def test_a_dataset_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        train(run_config(tmp_path / "missing.zarr", tmp_path / "run"), "bc", BcConfig(), quiet=True)
    assert not (tmp_path / "run").exists()
