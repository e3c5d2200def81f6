"""BC-RNN-GMM: a recurrent network whose actions are mixtures of Gaussians (Mandlekar et al., CoRL 2021: robomimic).

    h_i = LSTM(o_{t-W+1}, .., o_i; g),    p(a_i | h_i) = sum_k pi_k(h_i) N(a_i; tanh mu_k(h_i), sigma_k(h_i)^2)
    L = - mean over steps i = t-W+1..t of log p(a_i | h_i)

The strongest baseline of robomimic and "LSTM-GMM" in the tables of Diffusion Policy. At test time a mode is drawn by
its weight and its mean is taken, with a spread of 1e-4 instead of the learned one.

Differences from robomimic: acting is a pure function of the window, the state h is computed anew from zero over the
last W observations, where robomimic carries it on from step to step and resets it every 10 steps: the newest action is
predicted after W observations always, not after 1 to 10 of them. Windows reach back before the episode's first step
(the first observation repeated), where robomimic's reach beyond its last: such steps have no label and do not count.
Validation uses the learned spread, robomimic the one of 1e-4. `action_horizon` H > 1 makes each step predict the H
actions from it on, as one mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context
from robolearn.policies.checks import require_counts, require_dropouts, require_finite, require_positive
from robolearn.policies.networks.gmm import Mixture, MixtureHead
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.sequence import SequencePolicy
from robolearn.policies.window import WindowConfig


@dataclass(frozen=True)
class BcRnnConfig(WindowConfig):
    """Defaults: robomimic's for vectors (scripts/generate_paper_configs.py); for images it uses `hidden_dim` 1000."""

    obs_horizon: int = 10
    """steps the network is unrolled over"""
    goals: tuple[str, ...] = ()
    """features that form the goal, seen at every step; none = goal-free"""
    hidden_dim: int = 400
    layers: int = 2
    dropout: float = 0.0
    """between the layers"""
    modes: int = 5
    """Gaussians of the mixture"""
    min_std: float = 1e-4
    """added to the learned standard deviations, of actions normalised to [-1, 1]"""
    sample_std: float = 1e-4
    """standard deviation of sampled actions around the mean of their mode"""
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "hidden_dim", "layers", "modes")
        require_dropouts(self, "dropout")
        require_positive(self, "min_std", "sample_std")
        require_finite(self, "min_std", "sample_std")


class BcRnnPolicy(SequencePolicy):
    Config = BcRnnConfig
    SAMPLING = ("sample_std",)
    config: BcRnnConfig

    def __init__(self, config: BcRnnConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        inputs = self.obs_dim + spec.goal_horizon * self.goal_dim
        dropout = config.dropout if config.layers > 1 else 0.0
        self.rnn = nn.LSTM(inputs, config.hidden_dim, config.layers, batch_first=True, dropout=dropout)
        self.head = MixtureHead(
            config.hidden_dim, spec.action_horizon * self.action_dim, config.modes, config.min_std
        )  # fmt: skip

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        context = self.context(batch)
        log_prob = self.mixtures(context).log_prob(self.chunks(batch).flatten(2))
        return -(log_prob * self.labelled(context)).mean()

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        mixtures = self.mixtures(context)
        newest = Mixture(mixtures.logits[:, -1], mixtures.mean[:, -1], mixtures.std[:, -1])
        return newest.sample(generator, self.config.sample_std).unflatten(1, (-1, self.action_dim))

    def mixtures(self, context: Context) -> Mixture:
        """Over the chunk from each step of the window on: mixtures of leading shape (B, W)."""
        inputs, goal = context.observation, self.needed_goal(context)
        if goal is not None:
            inputs = torch.cat([inputs, goal.flatten(1)[:, None].expand(-1, inputs.shape[1], -1)], dim=-1)
        return self.head(self.rnn(inputs)[0])
