"""The conditional variational autoencoder of ACT: a chunk of actions to a latent style z, and back given observations.

encoder:  [CLS], g_1 .. g_G, o_1 .. o_W, a_1 .. a_H  ->  mean and log variance of q(z | a, o, g), from [CLS]
decoder:  z, g_1 .. g_G, o_1 .. o_W  ->  H learned queries attend to them  ->  a_1 .. a_H
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robolearn.policies.networks.detr import Decoder, Encoder, sinusoids


class ChunkCvae(nn.Module):
    """See above.

    Args:
        obs_dim, goal_dim, action_dim: sizes of one step; goal_dim is 0 without goals.
        obs_horizon, goal_horizon, action_horizon: W, G and H; G may be 0.
        latent_dim: numbers in z.
        dim, heads, feedforward, dropout: of all transformer layers.
        encoder_layers: of the autoencoder's encoder, and of the one over what the decoder sees.
        decoder_layers: of the decoder.
    """

    encoder_position: Tensor

    def __init__(
        self,
        obs_dim: int,
        goal_dim: int,
        action_dim: int,
        obs_horizon: int,
        goal_horizon: int,
        action_horizon: int,
        latent_dim: int,
        dim: int,
        heads: int,
        feedforward: int,
        encoder_layers: int,
        decoder_layers: int,
        dropout: float,
    ):
        super().__init__()
        condition = goal_horizon + obs_horizon
        self.cls = nn.Parameter(torch.randn(dim))
        self.encode_condition = _ConditionTokens(obs_dim, goal_dim, dim)
        self.encode_action = nn.Linear(action_dim, dim)
        self.register_buffer("encoder_position", sinusoids(1 + condition + action_horizon, dim), persistent=False)
        self.posterior_encoder = Encoder(dim, heads, feedforward, encoder_layers, dropout)
        self.posterior = nn.Linear(dim, 2 * latent_dim)

        self.embed_latent = nn.Linear(latent_dim, dim)
        self.embed_condition = _ConditionTokens(obs_dim, goal_dim, dim)
        self.memory_position = nn.Parameter(torch.randn(1 + condition, dim))
        self.memory_encoder = Encoder(dim, heads, feedforward, encoder_layers, dropout)
        self.query_position = nn.Parameter(torch.randn(action_horizon, dim))
        self.decoder = Decoder(dim, heads, feedforward, decoder_layers, dropout)
        self.head = nn.Linear(dim, action_dim)

    def encode(
        self, observation: Tensor, goal: Tensor | None, actions: Tensor, is_pad: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, W, D), (B, G, Dg) or None, (B, H, A), (B, H) bool -> mean and log variance of z, (B, Z) each, float32.

        Actions that are padding are not looked at.
        """
        cls = self.cls.expand(len(actions), 1, -1)
        tokens = torch.cat([cls, self.encode_condition(observation, goal), self.encode_action(actions)], dim=1)
        real = is_pad.new_zeros(len(actions), tokens.shape[1] - actions.shape[1])
        encoded = self.posterior_encoder(tokens, self.encoder_position, torch.cat([real, is_pad], dim=1))
        mean, log_variance = self.posterior(encoded[:, 0]).to(torch.float32).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, observation: Tensor, goal: Tensor | None, z: Tensor) -> Tensor:
        """(B, W, D), (B, G, Dg) or None, (B, Z) -> (B, H, A)."""
        tokens = torch.cat([self.embed_latent(z)[:, None], self.embed_condition(observation, goal)], dim=1)
        memory = self.memory_encoder(tokens, self.memory_position)
        return self.head(self.decoder(self.query_position, memory, self.memory_position))


class _ConditionTokens(nn.Module):
    """Goal and observations as tokens, (B, G + W, dim)."""

    def __init__(self, obs_dim: int, goal_dim: int, dim: int):
        super().__init__()
        self.observation = nn.Linear(obs_dim, dim)
        self.goal = nn.Linear(goal_dim, dim) if goal_dim else None

    def forward(self, observation: Tensor, goal: Tensor | None) -> Tensor:
        tokens = self.observation(observation)
        return tokens if self.goal is None else torch.cat([self.goal(goal), tokens], dim=1)
