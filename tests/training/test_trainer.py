import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from world import BC, BESO, run_config, write_dataset

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.policies.bc import BcConfig
from robolearn.policies.checkpoint import load_policy, load_provenance
from robolearn.policies.noise import Noise
from robolearn.training import trainer as trainer_module
from robolearn.training.metrics import read_metrics
from robolearn.training.trainer import Trainer, train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr")


@pytest.mark.parametrize(
    "policy",
    [
        ("beso", BESO),
        ("bc", BcConfig(hidden_dim=32, layers=1)),
        ("beso", replace(BESO, goals=("observation.state",), goal_horizon=2)),
    ],
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
    shown = {"loss", "lr", "grad_norm", "steps_per_s", "data_wait", "val_loss", "action_error"}
    assert set(board.Tags()["scalars"]) == shown
    assert [event.value for event in board.Scalars("lr")] == pytest.approx(expected, rel=1e-6)


def test_metrics_are_means_over_the_interval(dataset, tmp_path):
    every, fifth = (tmp_path / name for name in ("every", "fifth"))
    train(run_config(dataset, every, log_every=1), "beso", BESO, quiet=True)
    train(run_config(dataset, fifth, log_every=5), "beso", BESO, quiet=True)
    single = [line["loss"] for line in read_metrics(every / "metrics.jsonl") if "loss" in line]
    means = [line["loss"] for line in read_metrics(fifth / "metrics.jsonl") if "loss" in line]
    assert means == pytest.approx(np.reshape(single, (6, 5)).mean(1))


def test_rate_and_data_wait_are_of_the_time_of_the_interval(dataset, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: 0.0, perf_counter=lambda: clock[0]))
    trainer = Trainer(run_config(dataset, tmp_path / "run", steps=4, log_every=2), "bc", BC, quiet=True)

    def taking(seconds, function):
        def slow(step, *rest):
            clock[0] += seconds[step]
            return function(step, *rest)

        return slow

    trainer.batches.at = taking([1.0, 1.0, 3.0, 0.0], trainer.batches.at)
    trainer._step.gradients = taking([1.0, 7.0, 1.0, 0.0], trainer._step.gradients)
    trainer._step.apply = taking([0.0, 0.0, 0.0, 4.0], trainer._step.apply)
    trainer.run()
    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "data_wait" in line]
    assert [line["data_wait"] for line in lines] == pytest.approx([2 / 10, 3 / 8])
    assert [line["steps_per_s"] for line in lines] == pytest.approx([2 / 10, 2 / 8])


@pytest.mark.slow
def test_bc_learns_the_rule_of_the_data(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", steps=400, learning_rate=1e-2, val_ratio=0.0)
    bc = BcConfig(hidden_dim=64, layers=1, action_horizon=1)
    first = Trainer(replace(config, output=tmp_path / "untrained"), "bc", bc, quiet=True)
    start = float(first.policy.loss(first.batches.at(0), Noise(0)).detach())
    assert train(config, "bc", bc, quiet=True).loss < 0.1 * start


def test_batches_depend_on_seed_and_step_only(dataset, tmp_path):
    trainers = [Trainer(run_config(dataset, tmp_path / str(i)), "beso", BESO, quiet=True) for i in range(2)]
    trainers[1].batches.at(17)
    for step in (0, 3, 11):
        a, b = (t.batches.at(step) for t in trainers)
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_policy_trains_on_several_datasets_by_weight(dataset, tmp_path):
    other = write_dataset(tmp_path / "other.zarr", episodes=2)
    config = run_config((dataset, other), tmp_path / "run", weights=(1.0, 3.0), batch_size=64, val_ratio=0.0)
    trainer = Trainer(config, "bc", BC, quiet=True)
    sources = np.concatenate([trainer.batches.origin(step).source for step in range(trainer.batches.per_epoch)])
    assert np.bincount(sources) == pytest.approx(len(sources) * np.array([0.25, 0.75]), abs=12)
    assert trainer.run().steps == 30
    assert load_provenance(tmp_path / "run")["dataset"] == f"{dataset} + {other}"


def test_checkpoints_are_evaluated_when_due_and_the_results_kept(dataset, tmp_path):
    seen = []

    def evaluate(checkpoint, step):
        load_policy(checkpoint)
        seen.append((checkpoint.name, step))
        return {"eval_success": step / 100}

    config = run_config(dataset, tmp_path / "run", steps=25, eval_env="anything", eval_every=8)
    train(config, "bc", BC, quiet=True, on_checkpoint=evaluate)
    assert seen == [("00000008", 8), ("00000016", 16), ("00000024", 24), ("00000025", 25)]
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    found = {line["step"]: line["eval_success"] for line in lines if "eval_success" in line}
    assert found == {8: 0.08, 16: 0.16, 24: 0.24, 25: 0.25}
    assert load_provenance(tmp_path / "run")["evaluation"] == {"eval_success": 0.25}
    # it is there already: nothing is evaluated again
    train(replace(config, resume=True), "bc", BC, quiet=True, on_checkpoint=evaluate)
    assert len(seen) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_does_not_wait_for_an_evaluation_of_a_checkpoint_that_is_saved(dataset, tmp_path, number):
    config = run_config(dataset, tmp_path / "run", steps=20, checkpoint_every=20, eval_env="anything")
    reached = []

    def long(*_):
        signal.raise_signal(number)
        reached.append("the end")

    with pytest.raises((KeyboardInterrupt, SystemExit)) as raised:
        train(config, "bc", BC, quiet=True, on_checkpoint=long)
    assert reached == [] and getattr(raised.value, "code", 130) == 128 + number
    assert "evaluation" not in load_provenance(tmp_path / "run")
    train(replace(config, resume=True), "bc", BC, quiet=True, on_checkpoint=lambda *_: {"eval_success": 1.0})
    assert load_provenance(tmp_path / "run")["evaluation"] == {"eval_success": 1.0}


def test_an_evaluation_that_was_cut_off_is_made_up_for(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", eval_env="anything")

    def cut_off(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, "bc", BC, quiet=True, on_checkpoint=cut_off)
    steps = []
    train(replace(config, resume=True), "bc", BC, quiet=True, on_checkpoint=lambda _, step: steps.append(step) or {})
    assert steps == [10, 20, 30]


def test_an_existing_run_is_not_overwritten(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", steps=2)
    train(config, "beso", BESO, quiet=True)
    with pytest.raises(ConfigError, match="--resume"):
        train(config, "beso", BESO, quiet=True)


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


@pytest.mark.parametrize("inside", ["", "run", "a/run"])
def test_an_output_in_a_dataset_is_refused(dataset, tmp_path, inside):
    copy = shutil.copytree(dataset, tmp_path / "copy.zarr")
    before = sorted(copy.rglob("*"))
    for source in (copy, dataset):
        with pytest.raises(ConfigError, match=r"copy.zarr is a dataset; choose an --output outside of it\.$"):
            train(run_config(source, copy / inside, steps=1), "bc", BC, quiet=True)
    assert sorted(copy.rglob("*")) == before


def test_a_dataset_may_lie_in_the_output(tmp_path):
    dataset = write_dataset(tmp_path / "run" / "d.zarr", episodes=3)
    assert train(run_config(dataset, tmp_path / "run", steps=1), "bc", BC, quiet=True).steps == 1


def test_a_dataset_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        train(run_config(tmp_path / "missing.zarr", tmp_path / "run"), "bc", BcConfig(), quiet=True)
    assert not (tmp_path / "run").exists()
