"""How well a policy does on held-out episodes without being run."""

from __future__ import annotations

import math

import numpy as np
import torch

from robolearn.policies.base import IS_PAD, Policy
from robolearn.policies.noise import Noise
from robolearn.policies.observation import flat_steps
from robolearn.training.corpus import ACTION
from robolearn.training.data import WindowBatches, on_device
from robolearn.training.step import derived_seed

ACTION_WINDOWS = 64  # few, because sampling takes many passes of the network


@torch.no_grad()
def validation_loss(policy: Policy, batches: WindowBatches, device: torch.device) -> float:
    """Mean training loss over all windows, with the same noise at every call."""
    total, count = 0.0, 0
    for number, batch in enumerate(batches.all()):
        rows = len(batch[ACTION])
        loss = policy.loss(on_device(batch, device), Noise(derived_seed(number)))
        total += float(loss) * rows
        count += rows
    return total / count


@torch.no_grad()
def action_error(
    policy: Policy, batches: WindowBatches, device: torch.device, moves: np.ndarray | None = None
) -> float:
    """Root mean square of sampled minus recorded actions, in units of the action, over 64 random windows.

    The windows and the noise of sampling are the same at every call. Steps beyond an episode's end do not count, nor
    do elements of the action that are not learnt.

    Args:
        moves: (A,) bool, the elements that count; None = all. Where none does, there is no error: NaN.
    """
    batch = on_device({name: value[:ACTION_WINDOWS] for name, value in batches.at(0).items()}, device)
    predicted = policy.predict(batch, torch.Generator(device).manual_seed(0))
    past = policy.spec.obs_horizon - 1
    recorded = flat_steps(batch[ACTION])[:, past:]
    real = ~batch[ACTION + IS_PAD][:, past:]
    squares = (predicted - recorded)[real] ** 2
    if moves is not None:
        squares = squares[:, torch.from_numpy(moves).to(device)]
    return math.sqrt(float(squares.mean()))
