"""`SequencePolicy`: base of policies that predict actions from every step of their window, not the newest alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robolearn.policies.base import Context, Policy


class SequencePolicy(Policy):
    """Each step i of the window has observations up to i as input and the chunk of actions i..i+H-1 as label.

    Losses are means over all steps, those without a label counting as 0: a window at the beginning of an episode weighs
    by the labels it has.
    """

    def chunks(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, W, H, A) normalised: the actions from each step of the window on."""
        return self.actions(batch).unfold(1, self.spec.action_horizon, 1).transpose(2, 3)

    @staticmethod
    def labelled(context: Context) -> Tensor:
        """(B, W) bool: which steps have a label; those before the episode's first step have none."""
        return torch.cat([context.known, torch.ones_like(context.observation[:, :1, 0], dtype=torch.bool)], dim=1)
