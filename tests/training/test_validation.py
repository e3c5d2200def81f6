"""Errors on held-out windows, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from world import BC, run_config, write_dataset

from robolearn.training.trainer import Trainer
from robolearn.training.validation import action_error, validation_loss

CPU = torch.device("cpu")


@pytest.fixture
def trainer(tmp_path):
    dataset = write_dataset(tmp_path / "d.zarr", episodes=4, length=12)
    return Trainer(run_config(dataset, tmp_path / "run", val_ratio=0.25, batch_size=12), "bc", BC, quiet=True)


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


def test_the_validation_loss_is_the_mean_over_all_windows(trainer):
    for parameter in trainer.policy.parameters():
        nn.init.zeros_(parameter)
    actions = trainer.policy.normalizer.normalize("action", recorded(trainer))
    windows = [actions[np.minimum(t + np.arange(8), 11)] for t in range(12)]
    found = validation_loss(trainer.policy, trainer.val_batches, CPU)
    assert found == pytest.approx(np.mean(np.square(windows)), rel=1e-5)
