"""The causal score transformer of BESO (Reuss et al. 2023, section 4.2), with room for action chunks.

Token order, for W observations, G goal states and a chunk of H actions from the newest observation on:

    sigma, g_1 .. g_G, s_1, a_1, s_2, a_2, ..., s_W, a_W, a_{W+1}, ..., a_{W+H-1}

Every token sees those before it. With H = 1 this is the published layout. A state and the action of its step
share one learned position; goals and states share one embedding; the sigma token has no position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robolearn.policies.networks.transformer import CausalBlock, init_gpt


class ScoreTransformer(nn.Module):
    """Raw network F of EDM: noisy actions in, prediction of the preconditioned target out.

    Args:
        obs_dim, action_dim: sizes of one observation and one action.
        obs_horizon, action_horizon, goal_horizon: W, H, G above; G may be 0.
        dim, layers, heads: of the transformer.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        obs_horizon: int,
        action_horizon: int,
        goal_horizon: int,
        dim: int,
        layers: int,
        heads: int,
        attention_dropout: float,
        dropout: float,
    ):
        super().__init__()
        self.obs_horizon = obs_horizon
        self.goal_horizon = goal_horizon
        steps = obs_horizon - 1 + action_horizon
        self.embed_state = nn.Linear(obs_dim, dim)
        self.embed_action = nn.Linear(action_dim, dim)
        self.embed_sigma = nn.Linear(1, dim)
        self.position = nn.Parameter(torch.zeros(goal_horizon + steps, dim))
        # stands for "no goal": dropped in training, or none given
        self.null_goal = nn.Parameter(torch.zeros(goal_horizon, dim))
        self.dropout = nn.Dropout(dropout)
        length = 1 + goal_horizon + obs_horizon + steps
        blocks = (CausalBlock(dim, heads, length, attention_dropout, dropout) for _ in range(layers))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, action_dim)
        self.apply(init_gpt)
        nn.init.normal_(self.position, 0.0, 0.02)
        nn.init.normal_(self.null_goal, 0.0, 0.02)

    def forward(
        self, observation: Tensor, action: Tensor, noise: Tensor, goal: Tensor | None, keep_goal: Tensor | None = None
    ) -> Tensor:
        """(B, W, D), (B, W-1+H, A), (B,) noise input, (B, G, D) or None -> (B, W-1+H, A).

        `keep_goal` (B,) bool: rows that are False get the null goal as a whole.
        """
        w, g = self.obs_horizon, self.goal_horizon
        states = self.embed_state(observation) + self.position[g : g + w]
        actions = self.embed_action(action) + self.position[g:]
        # interleave s_1 a_1 .. s_W a_W, then the rest of the chunk
        pairs = torch.stack([states, actions[:, :w]], dim=2).flatten(1, 2)
        tokens = [self.embed_sigma(noise[:, None, None]), pairs, actions[:, w:]]
        if g:
            tokens.insert(1, self._goal_tokens(goal, keep_goal, observation.shape[0]))
        x = self.norm(self.blocks(self.dropout(torch.cat(tokens, dim=1))))
        x = x[:, 1 + g :]
        return self.head(torch.cat([x[:, 1 : 2 * w : 2], x[:, 2 * w :]], dim=1))

    def _goal_tokens(self, goal: Tensor | None, keep_goal: Tensor | None, batch: int) -> Tensor:
        null = self.null_goal.expand(batch, -1, -1)
        if goal is None:
            return null
        tokens = self.embed_state(goal) + self.position[: self.goal_horizon]
        return tokens if keep_goal is None else torch.where(keep_goal[:, None, None], tokens, null)
