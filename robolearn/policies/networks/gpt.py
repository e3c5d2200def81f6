"""A causal transformer over a window of observations, with the goal in front: g_1 .. g_G, o_1 .. o_W."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robolearn.policies.networks.transformer import CausalBlock, init_gpt


class WindowGpt(nn.Module):
    """Features of each step of a window, made of the goal and the observations up to that step.

    Args:
        obs_dim, goal_dim: sizes of one observation and of one step of the goal (0 without goals).
        obs_horizon, goal_horizon: W and G; G may be 0.
        dim, layers, heads: of the transformer.
        attention_dropout, dropout: of attention weights; of embeddings and block outputs.
        embedding_norm: LayerNorm over the embedded tokens, as robomimic has it.
    """

    def __init__(
        self,
        obs_dim: int,
        goal_dim: int,
        obs_horizon: int,
        goal_horizon: int,
        dim: int,
        layers: int,
        heads: int,
        attention_dropout: float,
        dropout: float,
        embedding_norm: bool,
    ):
        super().__init__()
        length = goal_horizon + obs_horizon
        self.embed_observation = nn.Linear(obs_dim, dim)
        self.embed_goal = nn.Linear(goal_dim, dim) if goal_horizon else None
        self.position = nn.Parameter(torch.zeros(length, dim))
        self.embedding_norm = nn.LayerNorm(dim) if embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        blocks = (CausalBlock(dim, heads, length, attention_dropout, dropout) for _ in range(layers))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(dim)
        self.apply(init_gpt)
        nn.init.normal_(self.position, 0.0, 0.02)

    def forward(self, observation: Tensor, goal: Tensor | None) -> Tensor:
        """(B, W, D), (B, G, Dg) or None -> (B, W, dim)."""
        tokens = self.embed_observation(observation)
        if self.embed_goal is not None:
            tokens = torch.cat([self.embed_goal(goal), tokens], dim=1)
        tokens = self.dropout(self.embedding_norm(tokens + self.position))
        return self.norm(self.blocks(tokens))[:, -observation.shape[1] :]
