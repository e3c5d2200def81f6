"""ACT: action chunking with transformers (Zhao et al., RSS 2023), a conditional variational autoencoder of chunks.

    q(z | a, o) = N(mu, sigma^2),    z = mu + sigma eps,    a^ = decoder(o, z)
    L = mean |a - a^|, not counting padding, + beta KL(q || N(0, I)),    KL summed over z
    acting: z = 0

z takes up how a demonstration differs from others at the same place; at test time it is set to the prior's mean, so
ACT answers one of the demonstrated ways and always the same, or, where z was not needed, between them. Temporal
ensembling, the authors' option of averaging overlapping chunks while acting, is left out: chunks are executed one after
the other.

Differences from the authors' code: all decoder layers take part (theirs reads the output of the first one, so 6 of 7
are never trained: tonyzhaozh/act issue 25; `decoder_layers` 1 is what they measured); images enter as one feature
vector a camera within the observation, not as tokens of a feature map, and the encoder of z sees them too; the unused
head that predicts padding is left out; goals are tokens; observations and actions are scaled to [-1, 1], not to unit
variance, which `kl_weight` is weighed against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robolearn.core.errors import ConfigError
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import IS_PAD, Context, Policy
from robolearn.policies.checks import require_counts, require_dropouts, require_finite
from robolearn.policies.networks.chunk_cvae import ChunkCvae
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.window import WindowConfig


@dataclass(frozen=True)
class ActConfig(WindowConfig):
    """Defaults: the authors' (README and imitate_episodes.py); they train with AdamW 1e-5, batch 8, at 50 Hz."""

    action_horizon: int = 100
    """actions of a chunk; 100 are two seconds of the authors' robot"""
    latent_dim: int = 32
    kl_weight: float = 10.0
    """beta"""
    embed_dim: int = 512
    feedforward_dim: int = 3200
    encoder_layers: int = 4
    """of the encoder of z, and of the one over what the decoder sees"""
    decoder_layers: int = 7
    heads: int = 8
    dropout: float = 0.1
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(
            self, "latent_dim", "embed_dim", "feedforward_dim", "encoder_layers", "decoder_layers", "heads",
        )  # fmt: skip
        require_dropouts(self, "dropout")
        require_finite(self, "kl_weight")
        if not self.kl_weight >= 0:
            raise ConfigError(f"kl_weight must be at least 0, found {self.kl_weight}.")


class ActPolicy(Policy):
    Config = ActConfig
    config: ActConfig

    def __init__(self, config: ActConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        self.network = ChunkCvae(
            self.obs_dim, self.goal_dim, self.action_dim, spec.obs_horizon, spec.goal_horizon, spec.action_horizon,
            config.latent_dim, config.embed_dim, config.heads, config.feedforward_dim, config.encoder_layers,
            config.decoder_layers, config.dropout,
        )  # fmt: skip

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        context, a = self.context(batch), self.future(batch)
        goal = self.needed_goal(context)
        is_pad = batch[self.spec.action_feature.name + IS_PAD][:, self.spec.obs_horizon - 1 :]
        mean, log_variance = self.network.encode(context.observation, goal, a, is_pad)
        z = mean + (log_variance / 2).exp() * noise.normal(mean.shape, mean)
        error = (a - self.network.decode(context.observation, goal, z)).abs()
        reconstruction = (error * ~is_pad[..., None]).mean()
        return reconstruction + self.config.kl_weight * kl_to_standard_normal(mean, log_variance).mean()

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        z = context.observation.new_zeros(len(context.observation), self.config.latent_dim)
        return self.network.decode(context.observation, self.needed_goal(context), z)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) || N(0, I)), (B, Z) -> (B,) nats."""
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=-1)
