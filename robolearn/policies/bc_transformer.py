"""BC-Transformer: a causal transformer over the last W observations (robomimic 0.3; "BC-GPT" in D3IL, Jia et al. 2024).

    x_i = GPT(g_1 .. g_G, o_{t-W+1} .. o_i),    L = mean over steps i = t-W+1..t of l(x_i, a_i)

with one of two heads: a mixture of Gaussians, l = -log p(a_i | x_i), robomimic's default, which stays multi-modal; or
a linear one, l = ||f(x_i) - a_i||^2, which is D3IL's BC-GPT and answers the mean.

Differences from robomimic: all steps of the window are supervised, as in D3IL (robomimic's `supervise_all_steps`, off
in its template); goals are tokens in front of the observations instead of a part of each; queries, keys and values
have biases. Steps before the episode's first have no label and do not count. `action_horizon` H > 1 makes each step
predict the H actions from it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context
from robolearn.policies.checks import (
    require_choices,
    require_counts,
    require_dropouts,
    require_finite,
    require_positive,
)
from robolearn.policies.networks.gmm import Mixture, MixtureHead
from robolearn.policies.networks.gpt import WindowGpt
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.sequence import SequencePolicy
from robolearn.policies.window import WindowConfig

Head = Literal["mixture", "regression"]


@dataclass(frozen=True)
class BcTransformerConfig(WindowConfig):
    """Defaults: robomimic's (exps/templates/bc_transformer.json and config/bc_config.py).

    D3IL's BC-GPT: obs_horizon 5, embed_dim 72, layers 4, heads 4, head "regression".
    """

    obs_horizon: int = 10
    embed_dim: int = 512
    layers: int = 6
    heads: int = 8
    attention_dropout: float = 0.1
    dropout: float = 0.1
    head: Head = "mixture"
    """a mixture of Gaussians, or the mean alone (then the three options below do nothing)"""
    modes: int = 5
    """Gaussians of the mixture"""
    min_std: float = 1e-4
    """added to the learned standard deviations, of actions normalised to [-1, 1]"""
    sample_std: float = 1e-4
    """standard deviation of sampled actions around the mean of their mode"""
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "embed_dim", "layers", "heads", "modes")
        require_dropouts(self, "attention_dropout", "dropout")
        require_positive(self, "min_std", "sample_std")
        require_finite(self, "min_std", "sample_std")
        require_choices(self, head=Head)


class BcTransformerPolicy(SequencePolicy):
    Config = BcTransformerConfig
    SAMPLING = ("sample_std",)
    config: BcTransformerConfig

    def __init__(self, config: BcTransformerConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        self.gpt = WindowGpt(
            self.obs_dim, self.goal_dim, spec.obs_horizon, spec.goal_horizon, config.embed_dim, config.layers,
            config.heads, config.attention_dropout, config.dropout, embedding_norm=True,
        )  # fmt: skip
        outputs = spec.action_horizon * self.action_dim
        if config.head == "mixture":
            self.head: nn.Module = MixtureHead(config.embed_dim, outputs, config.modes, config.min_std)
        else:
            self.head = nn.Linear(config.embed_dim, outputs)

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        context = self.context(batch)
        predicted = self.head(self.gpt(context.observation, self.needed_goal(context)))
        chunk = self.chunks(batch).flatten(2)
        if isinstance(predicted, Mixture):
            error = -predicted.log_prob(chunk)
        else:
            error = nn.functional.mse_loss(predicted, chunk, reduction="none").mean(dim=-1)
        return (error * self.labelled(context)).mean()

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        newest = self.gpt(context.observation, self.needed_goal(context))[:, -1]
        predicted = self.head(newest)
        if isinstance(predicted, Mixture):
            predicted = predicted.sample(generator, self.config.sample_std)
        return predicted.unflatten(1, (-1, self.action_dim))
