"""Behaviour cloning: an MLP that regresses the action chunk on the observation window. The deterministic baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.datasets.normalizer import Normalizer
from robolearn.policies.base import Policy
from robolearn.policies.spec import PolicySpec


@dataclass(frozen=True)
class BcConfig:
    observations: tuple[str, ...] = ("observation.state", "observation.environment_state")
    """features that go in, concatenated in this order"""
    obs_horizon: int = 1
    action_horizon: int = 8
    hidden_dim: int = 512
    layers: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must lie in [0, 1), found {self.dropout}.")


class BcPolicy(Policy):
    Config = BcConfig
    config: BcConfig

    def __init__(self, config: BcConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        widths = [spec.obs_horizon * self.obs_dim] + [config.hidden_dim] * config.layers
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(config.dropout)]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], spec.action_horizon * self.action_dim))

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        target = self.action_vector(batch)[:, self.spec.obs_horizon - 1 :]
        return nn.functional.mse_loss(self.sample(self.observation_vector(batch), None, None, None), target)

    def sample(
        self, observation: Tensor, goal: Tensor | None, prefix: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        chunk = self.network(observation.flatten(1))
        return chunk.view(-1, self.spec.action_horizon, self.action_dim)
