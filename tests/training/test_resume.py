"""Runs that were stopped, killed or cut off while saving, and what continues them."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from world import BC, BESO, run_config, write_dataset

from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.datasets.write.edits import set_mask
from robolearn.policies import checkpoint
from robolearn.policies.checkpoint import load_policy, load_provenance
from robolearn.training import checkpoints, state
from robolearn.training import trainer as trainer_module
from robolearn.training.config import EmaConfig
from robolearn.training.metrics import read_metrics
from robolearn.training.trainer import Trainer, train

NOISY = replace(BESO, dropout=0.2, goals=("observation.state",))

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_resume import NOISY, run_config
from robolearn.training.trainer import Trainer
trainer = Trainer(run_config(Path(sys.argv[2]), Path(sys.argv[3]), checkpoint_every=7), "beso", NOISY, quiet=True)
apply = trainer._step.apply
trainer._step.apply = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == 17 else apply(step)
trainer.run()
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def curve(run: Path) -> list[dict]:
    """All metrics that do not tell the time."""
    lines = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in ("steps_per_s", "data_wait")} for line in lines]


@pytest.mark.slow
def test_a_run_killed_in_the_middle_continues_the_same_curve_to_the_bit(dataset, tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(dataset), str(tmp_path / "cut")]
    killed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_provenance(tmp_path / "cut")["step"] == 14, "in the middle of an interval of metrics"
    cut = run_config(dataset, tmp_path / "cut", checkpoint_every=7, resume=True)
    train(cut, "beso", NOISY, quiet=True)
    train(replace(cut, output=tmp_path / "whole", resume=False), "beso", NOISY, quiet=True)
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_float16_goes_on_with_its_loss_scale(dataset, tmp_path):
    config = run_config(dataset, tmp_path / "run", precision="float16", steps=5)
    trainer = Trainer(config, "bc", BC, quiet=True)
    trainer.run()
    resumed = Trainer(replace(config, resume=True, steps=10), "bc", BC, quiet=True)
    assert resumed._step.scaler.state_dict() == trainer._step.scaler.state_dict()
    assert resumed._step.scaler.state_dict()["_growth_tracker"] == 5


@pytest.mark.parametrize("call", range(8))
def test_a_save_cut_off_anywhere_leaves_a_whole_checkpoint(dataset, tmp_path, monkeypatch, call):
    trainer = Trainer(run_config(dataset, tmp_path / "run", steps=8), "bc", BC, quiet=True)
    trainer.save()
    trainer._train_step()
    left = [call]

    def cutting(function):
        def cut_off(*arguments, **options):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*arguments, **options)

        return cut_off

    steps_of_a_save = [
        (trainer_module, "save_policy"), (trainer_module, "save_training_state"), (os, "replace"),
        (Path, "symlink_to"), (checkpoints, "sync_file_system"), (checkpoints.shutil, "rmtree"),
    ]  # fmt: skip
    for place, name in steps_of_a_save:
        monkeypatch.setattr(place, name, cutting(getattr(place, name)))
    with contextlib.suppress(KeyboardInterrupt):
        trainer.save()
    monkeypatch.undo()
    load_policy(tmp_path / "run")
    step = load_provenance(tmp_path / "run")["step"]
    assert step in (0, 1)
    resumed = Trainer(run_config(dataset, tmp_path / "run", steps=8, resume=True), "bc", BC, quiet=True)
    assert resumed.step == step
    assert resumed.run().steps == 8
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["00000008", "last"]


@pytest.mark.parametrize(
    ("number", "error", "status"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, 143),
        (signal.SIGHUP, SystemExit, 129),
    ],
)
def test_a_stop_signal_ends_the_step_and_saves_it(dataset, tmp_path, capfd, number, error, status):
    trainer = Trainer(run_config(dataset, tmp_path / "run"), "bc", BC, quiet=True)
    apply = trainer._step.apply

    def stopped(step):
        if step == 3:
            signal.raise_signal(number)
        return apply(step)

    trainer._step.apply = stopped
    with pytest.raises(error) as raised:
        trainer.run()
    assert getattr(raised.value, "code", None) == status
    assert "Stopped at step 4; go on with --resume." in capfd.readouterr().err
    counters = json.loads((tmp_path / "run" / "checkpoints" / "last" / "training_state.json").read_text())
    assert counters["step"] == 4


def test_checkpoints_at_multiples_are_kept_without_what_only_resuming_needs(dataset, tmp_path):
    train(run_config(dataset, tmp_path / "run", steps=14, checkpoint_every=3, keep_every=6), "bc", BC, quiet=True)
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["00000006", "00000012", "00000014", "last"]
    kept, last = (sorted(p.name for p in (folder / name).iterdir()) for name in ("00000006", "last"))
    assert set(last) - set(kept) == {"training_state.json", "training_state.safetensors"}
    assert load_policy(folder / "00000006").spec.action_horizon == BC.action_horizon


def test_resuming_from_nothing_is_explained(dataset, tmp_path):
    with pytest.raises(ConfigError, match="Nothing to resume"):
        train(run_config(dataset, tmp_path / "run", resume=True), "bc", BC, quiet=True)


@pytest.fixture(scope="module")
def begun(dataset, tmp_path_factory):
    """A run of two steps, to be resumed for none."""
    config = run_config(dataset, tmp_path_factory.mktemp("begun") / "run", steps=2)
    train(config, "bc", BC, quiet=True)
    return replace(config, resume=True)


def test_resuming_with_another_dataset_is_refused(begun, tmp_path):
    grown = write_dataset(tmp_path / "grown.zarr", episodes=7)
    with pytest.raises(ConfigError, match=r"had dataset checksum \w+, found \w+; resume with what it began with"):
        train(replace(begun, dataset=grown), "bc", BC, quiet=True)


def test_resuming_with_a_mask_that_was_edited_is_refused(tmp_path):
    path = write_dataset(tmp_path / "d.zarr")
    set_mask(path, "good", [0, 1, 2])
    config = run_config(path, tmp_path / "run", steps=2, masks=("good",))
    train(config, "bc", BC, quiet=True)
    train(replace(config, resume=True), "bc", BC, quiet=True)
    set_mask(path, "good", [0, 1, 3])
    with pytest.raises(ConfigError, match=r"had episodes checksum \w+, found \w+; resume with what it began with"):
        train(replace(config, resume=True), "bc", BC, quiet=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "--seed 0, found 1;"),
        ({"batch_size": 8}, "--batch-size 16, found 8;"),
        ({"val_ratio": 0.4}, "--val-ratio 0.2, found 0.4;"),
        ({"masks": ("all",)}, "--masks [], found ['all'];"),
        ({"weights": (2.0,)}, "--weights [], found [2.0];"),
        ({"ema": EmaConfig(max_decay=0.5)}, "--ema.max-decay 0.9999, found 0.5;"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_resuming_with_another_option_is_refused_by_its_name(begun, change, words):
    before = (begun.output / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=re.escape(f"The run to resume had {words}")):
        train(replace(begun, **change), "bc", BC, quiet=True)
    assert (begun.output / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("bc", replace(BC, hidden_dim=16), "--policy.hidden-dim 8, found 16;"),
        ("bc", replace(BC, dropout=0.3), f"--policy.dropout {BC.dropout}, found 0.3;"),
        ("bc", replace(BC, vision=replace(BC.vision, crop=0.8)), f"--policy.vision.crop {BC.vision.crop}, found 0.8;"),
        ("beso", BESO, "the policy bc, found beso;"),
    ],
    ids=["size", "dropout", "vision", "policy"],
)
def test_resuming_with_another_policy_is_refused_by_its_option(begun, name, config, words):
    with pytest.raises(ConfigError, match=re.escape(f"The run to resume had {words}")):
        train(begun, name, config, quiet=True)


def test_what_does_not_decide_what_is_learned_may_change(begun, dataset, tmp_path):
    moved = shutil.copytree(dataset, tmp_path / "moved.zarr")
    output = shutil.copytree(begun.output, tmp_path / "run", symlinks=True)
    other = replace(
        begun, dataset=moved, output=output, steps=4, log_every=1, checkpoint_every=3, keep_every=2, num_threads=2,
        loader_workers=0, cache="none", eval_env="anything", eval_every=4, eval_episodes=3,
        eval_execute=2, eval_max_steps=9,
    )  # fmt: skip
    assert train(other, "bc", BC, quiet=True).steps == 4


def test_a_checkpoint_is_flushed_before_it_is_named_and_named_before_older_ones_go(tmp_path, monkeypatch):
    kept, calls = checkpoints.Checkpoints(tmp_path), []
    kept.create()
    kept.save(1, Path.mkdir)
    replaces, removes = os.replace, shutil.rmtree

    def replaced(old, new):
        calls.append(f"name {new.name}")
        replaces(old, new)

    def removed(folder, **options):
        if folder.exists():
            calls.append(f"remove {folder.name}")
        removes(folder, **options)

    monkeypatch.setattr(checkpoints, "sync_file_system", lambda path: calls.append(f"flush {path.name}"))
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(shutil, "rmtree", removed)
    kept.save(2, lambda folder: (calls.append("write"), folder.mkdir()))
    assert calls == [
        "write", "flush 00000002.partial", "name 00000002", "name last", "flush checkpoints", "remove 00000001",
    ]  # fmt: skip


def test_a_note_to_a_checkpoint_is_flushed_before_it_replaces_the_record(begun, tmp_path, monkeypatch):
    output = shutil.copytree(begun.output, tmp_path / "run", symlinks=True)
    kept, calls = checkpoints.Checkpoints(output), []
    replaces = os.replace
    monkeypatch.setattr(checkpoints, "sync_file_system", lambda path: calls.append("sync"))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replaces(*paths)))
    kept.note(kept.last, {"evaluation": {"eval_success": 0.5}})
    assert calls == ["sync", "replace", "sync"]
    assert load_provenance(output)["evaluation"] == {"eval_success": 0.5}


@pytest.fixture
def copied(begun, tmp_path):
    """A copy of the run of two steps, to be resumed for two more, and its checkpoint."""
    output = shutil.copytree(begun.output, tmp_path / "run", symlinks=True)
    return replace(begun, output=output, steps=4), output / "checkpoints" / "last"


def forget_checksums(directory: Path, names: tuple[str, ...]) -> None:
    file = directory / "provenance.json"
    record = json.loads(file.read_text())
    record["checksums"] = {name: value for name, value in record["checksums"].items() if name not in names}
    file.write_text(json.dumps(record))


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", [*checkpoint.FILES[:-1], *state.FILES])
def test_one_flipped_bit_in_any_file_is_found_before_a_run_goes_on(copied, name):
    config, last = copied
    flip_a_bit(last / name)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} was changed after it was saved"):
        train(config, "bc", BC, quiet=True)


def test_counters_that_were_edited_are_found(copied):
    config, last = copied
    counters = json.loads((last / "training_state.json").read_text())
    (last / "training_state.json").write_text(json.dumps({**counters, "step": 1}))
    with pytest.raises(CheckpointError, match=r"training_state\.json was changed after it was saved"):
        train(config, "bc", BC, quiet=True)


@pytest.mark.parametrize("name", state.FILES)
def test_a_checkpoint_without_what_resuming_needs_names_it(copied, name):
    config, last = copied
    (last / name).unlink()
    with pytest.raises(CheckpointError, match=rf"is incomplete: {re.escape(name)} missing"):
        train(config, "bc", BC, quiet=True)


def test_a_checkpoint_from_before_its_training_state_was_sealed_resumes_and_is_checked(copied):
    config, last = copied
    forget_checksums(last, state.FILES)
    resumed = Trainer(config, "bc", BC, quiet=True)
    assert resumed.step == 2
    flip_a_bit(last / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors was changed after it was saved"):
        Trainer(config, "bc", BC, quiet=True)


def test_a_damaged_training_state_that_nothing_vouches_for_is_reported(copied):
    config, last = copied
    forget_checksums(last, state.FILES)
    tensors = last / "training_state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Cannot resume"):
        train(config, "bc", BC, quiet=True)


def test_a_checkpoint_that_was_resumed_from_stays_sealed_when_it_is_noted_on(copied):
    config, last = copied
    checkpoints.Checkpoints(config.output).note(last.resolve(), {"evaluation": {}})
    assert set(load_provenance(last)["checksums"]) == {*checkpoint.FILES[:-1], *state.FILES}
