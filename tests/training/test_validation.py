"""Errors on held-out windows, against numbers worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from world import BC, run_config, write_dataset

from robolearn.training.config import EmaConfig
from robolearn.training.trainer import Trainer
from robolearn.training.validation import action_error, validation_loss

CPU = torch.device("cpu")


@pytest.fixture
def trainer(tmp_path):
    return make_trainer(tmp_path)


def make_trainer(folder: Path, **changes) -> Trainer:
    """12 windows are held out."""
    dataset = write_dataset(folder / "d.zarr", episodes=4, length=12)
    config = run_config(dataset, folder / "run", val_ratio=0.25, batch_size=12)
    return Trainer(replace(config, **changes), "bc", BC, quiet=True)


def recorded(trainer: Trainer) -> np.ndarray:
    """(12, 2) actions of the one episode held out."""
    (source,) = trainer.corpus.val
    return source.dataset.array("action").reshape(4, 12, 2)[source.episodes[0]]


def test_the_action_error_is_over_real_steps_in_units_of_the_action(trainer):
    trainer.policy.predict = lambda batch, generator: torch.full((len(batch["action"]), 8, 2), 0.25)
    actions = recorded(trainer)
    squares = [(actions[t + k] - 0.25) ** 2 for t in range(12) for k in range(8) if t + k < 12]
    found = action_error(trainer.policy, trainer.val_batches, CPU)
    assert found == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-5)


def chunks(trainer: Trainer) -> np.ndarray:
    """(12, 8, 2) normalised actions of the windows held out."""
    actions = trainer.policy.normalizer.normalize("action", recorded(trainer))
    return np.stack([actions[np.minimum(t + np.arange(8), 11)] for t in range(12)])


@pytest.mark.parametrize("batch_size", [12, 11, 5])
def test_the_validation_loss_is_the_mean_over_all_windows(tmp_path, batch_size):
    trainer = make_trainer(tmp_path, batch_size=batch_size)
    for parameter in trainer.policy.parameters():
        nn.init.zeros_(parameter)
    found = validation_loss(trainer.policy, trainer.val_batches, CPU)
    assert found == pytest.approx(np.mean(np.square(chunks(trainer))), rel=1e-5)


def test_a_run_validates_the_averaged_weights_without_dropout(tmp_path):
    trainer = make_trainer(tmp_path, ema=EmaConfig(schedule="constant", max_decay=0.5))
    network = trainer.policy.network
    nn.init.zeros_(network[-1].weight)
    for answer in (0.0, 1.0):  # their average is 0.5; each is what the policy answers to everything
        nn.init.constant_(network[-1].bias, answer)
        trainer._step.ema.update()
    network.append(nn.Dropout(0.5))
    trainer.policy.train()
    found = trainer._validate()
    assert found["val_loss"] == pytest.approx(np.mean((0.5 - chunks(trainer)) ** 2), rel=1e-5)
    answered = trainer.policy.normalizer.denormalize("action", np.full(2, 0.5))
    actions = recorded(trainer)
    squares = np.concatenate([(actions[t : t + 8] - answered) ** 2 for t in range(12)])
    assert found["action_error"] == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-5)
