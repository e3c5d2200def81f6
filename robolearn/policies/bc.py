"""Behaviour cloning (BC): an MLP regresses the action chunk on the observation window, the deterministic baseline.

    L = || f(o_{t-W+1..t}, g) - a_{t..t+H-1} ||^2

With goals this is goal-conditioned behaviour cloning (GCBC, Lynch et al. 2019 and Ding et al. 2019): the goal is one
more input. Squared error makes the network answer the mean of what was demonstrated: where demonstrations part, the
mean is none of them. That is what generative policies are compared with. Width, depth and chunk are our own choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context, Policy
from robolearn.policies.checks import require_counts, require_dropouts
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.window import WindowConfig


@dataclass(frozen=True)
class BcConfig(WindowConfig):
    action_horizon: int = 8
    hidden_dim: int = 512
    layers: int = 3
    dropout: float = 0.0
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "hidden_dim", "layers")
        require_dropouts(self, "dropout")


class BcPolicy(Policy):
    Config = BcConfig
    config: BcConfig

    def __init__(self, config: BcConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        inputs = spec.obs_horizon * self.obs_dim + spec.goal_horizon * self.goal_dim
        widths = [inputs] + [config.hidden_dim] * config.layers
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(config.dropout)]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], spec.action_horizon * self.action_dim))

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        return nn.functional.mse_loss(self.sample(self.context(batch), None), self.future(batch))

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        inputs = context.observation.flatten(1)
        goal = self.needed_goal(context)
        if goal is not None:
            inputs = torch.cat([inputs, goal.flatten(1)], dim=1)
        return self.network(inputs).view(-1, self.spec.action_horizon, self.action_dim)
