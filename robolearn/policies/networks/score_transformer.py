"""The score transformer of BESO (Reuss et al. 2023, section 4.2) with a context that is computed once.

Two streams go through the same blocks. For W observations, G goal states and actions a_1 .. a_{W-1+H}:

    context   g_1 .. g_G, s_1, a_1, s_2, a_2, ..., s_W        clean; every token sees itself and those before it
    noisy     x_i = a_i + sigma_i eps                         sees the context up to s_i, and itself

Executed actions enter the context clean; one that is not known is a learned token, as is a missing goal. The context
never sees a noisy token, so its keys and values serve all denoising steps of an action. In training all positions
i = 1..W are targets at once (H = 1), each with a noise level of its own. With chunks (H > 1) the noisy stream is
x_W .. x_{W-1+H}, which see the whole context and each other: earlier positions would multiply the cost by W, and each
of them is the newest in another window.

A state and the actions of its step share one learned position. The noise level is added to the noisy token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robolearn.policies.networks.attention import dropped
from robolearn.policies.networks.transformer import Block, causal_mask, init_gpt


class ScoreTransformer(nn.Module):
    """Raw network F of EDM: noisy actions in, prediction of the preconditioned target out.

    Args:
        obs_dim, goal_dim, action_dim: D, Dg, A, sizes of one observation, goal state and action.
        obs_horizon, goal_horizon, action_horizon: W, G, H above; G may be 0.
        executed_actions: whether the context has the actions a_1 .. a_{W-1}.
        dim, layers, heads: of the transformer.
    """

    blocks: Sequence[Block]
    mask: Tensor
    decoder_mask: Tensor

    def __init__(
        self,
        obs_dim: int,
        goal_dim: int,
        action_dim: int,
        obs_horizon: int,
        goal_horizon: int,
        action_horizon: int,
        executed_actions: bool,
        dim: int,
        layers: int,
        heads: int,
        attention_dropout: float,
        dropout: float,
    ):
        super().__init__()
        w, g, h = obs_horizon, goal_horizon, action_horizon
        self.executed_actions = executed_actions and w > 1
        self.goal_horizon, self.obs_horizon, self.action_horizon = g, w, h
        self.targets = w if h == 1 else h
        self.embed_observation = nn.Linear(obs_dim, dim)
        self.embed_action = nn.Linear(action_dim, dim)
        self.embed_sigma = nn.Linear(1, dim)
        self.position = nn.Parameter(torch.zeros(g + w - 1 + h, dim))
        if g:
            self.embed_goal = nn.Linear(goal_dim, dim)
            self.null_goal = nn.Parameter(torch.zeros(g, dim))
        if self.executed_actions:
            self.embed_executed = nn.Linear(action_dim, dim)
            self.null_action = nn.Parameter(torch.zeros(dim))
        self.dropout = dropout
        blocks = [Block(dim, heads, attention_dropout, dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, action_dim)
        self.apply(init_gpt)
        for name, parameter in self.named_parameters():
            if name == "position" or name.startswith("null_"):
                nn.init.normal_(parameter, 0.0, 0.02)
        stride = 2 if self.executed_actions else 1
        context = g + stride * (w - 1) + 1
        mask = self._block_mask(context, stride)
        kept = [*range(context), *range(len(mask) - h, len(mask))]
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("decoder_mask", mask[kept][:, kept], persistent=False)

    def _block_mask(self, context: int, stride: int) -> Tensor:
        """(T, T) attention bias of `context` tokens, one observation every `stride`, and noisy tokens after them."""
        mask = torch.full((context + self.targets, context + self.targets), float("-inf"))
        mask[:context, :context] = causal_mask(context)
        noisy = mask[context:]
        if self.action_horizon > 1:
            noisy.zero_()
        else:
            noisy[:, context:].fill_diagonal_(0)
            for i in range(self.obs_horizon):
                noisy[i, : self.goal_horizon + stride * i + 1] = 0
        return mask

    def context(
        self,
        observation: Tensor,
        goal: Tensor | None,
        executed: Tensor,
        known: Tensor,
        keep_goal: Tensor | None = None,
    ) -> Tensor:
        """Context tokens (B, T, dim) of (B, W, D), (B, G, Dg) or None, (B, W-1, A), (B, W-1) bool.

        `keep_goal` (B,) bool: rows that are False get the null goal as a whole.
        """
        g, w = self.goal_horizon, self.obs_horizon
        states = self.embed_observation(observation) + self.position[g : g + w]
        if self.executed_actions:
            actions = torch.where(known[..., None], self.embed_executed(executed), self.null_action)
            actions = actions + self.position[g : g + w - 1]
            pairs = torch.stack([states[:, :-1], actions], dim=2).flatten(1, 2)
            states = torch.cat([pairs, states[:, -1:]], dim=1)
        if not g:
            return states
        goals = self.null_goal.expand(len(states), -1, -1)
        if goal is not None:
            embedded = self.embed_goal(goal)
            goals = embedded if keep_goal is None else torch.where(keep_goal[:, None, None], embedded, goals)
        return torch.cat([goals + self.position[:g], states], dim=1)

    def forward(self, context: Tensor, noisy: Tensor, noise: Tensor) -> Tensor:
        """F at all targets of a window, in one pass.

        Args:
            context: (B, T, dim) from `context`.
            noisy: (B, N, A) scaled noisy actions; N = W for steps 1..W, with chunks H for steps W..W-1+H.
            noise: (B, N) or (B, 1) noise input of each.

        Returns (B, N, A).
        """
        tokens = torch.cat([context, self._noisy_tokens(noisy, noise)], dim=1)
        x = dropped(tokens, self.dropout, self.training)
        for block in self.blocks[:-1]:
            x = block(x, self.mask)
        # of the last block only the noisy tokens are read
        return self.head(self.norm(self.blocks[-1](x, self.mask, self.targets)))

    def _noisy_tokens(self, noisy: Tensor, noise: Tensor) -> Tensor:
        first = self.goal_horizon + self.obs_horizon - 1 + self.action_horizon - noisy.shape[1]
        position = self.position[first:]
        return self.embed_action(noisy) + self.embed_sigma(noise[..., None]) + position
