"""The transformer of Diffusion Policy (Chi et al., RSS 2023): a decoder over the noisy actions of a chunk.

Memory tokens, each through a linear map, a learned position and a small MLP, are

    k, g_1 .. g_G, o_1 .. o_W        (diffusion step, goal if any, observations)

Every layer is self-attention, cross-attention to the memory and a 4x GELU MLP, with LayerNorm before each. Action i
sees the actions up to i (causal mask), the step, the goal and the observations up to i (memory mask): those of its own
time and before. 8 layers of width 256 have 8.4 M parameters, 9.0 M with the embeddings.

The memory does not depend on the noisy actions, and only one of its tokens on the step: while sampling, the keys and
values of all layers are computed once for the observations and, for all steps together, once for the step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.policies.networks.attention import add_dropped, attention, dropped
from robolearn.policies.networks.transformer import causal_mask, init_gpt
from robolearn.policies.networks.unet1d import step_embedding


class DiffusionTransformer(nn.Module):
    """Network eps_theta(A_k, k, O).

    Args:
        action_dim: A, size of one action.
        chunk: T, actions of a chunk; the first belongs to the oldest observation.
        obs_dim, obs_horizon: size of one observation, W.
        goal_dim, goal_horizon: size of one step of the goal, G; both 0 without goals.
        dim, layers, heads: of the decoder; dim must be even, at least 4 and a multiple of heads.
        dropout: of attention weights and of everything that is added to the residual stream.
        embedding_dropout: of the embedded tokens.

    Raises ConfigError when dim does not fit.
    """

    memory_mask: Tensor
    causal: Tensor

    def __init__(
        self,
        action_dim: int,
        chunk: int,
        obs_dim: int,
        obs_horizon: int,
        goal_dim: int = 0,
        goal_horizon: int = 0,
        dim: int = 256,
        layers: int = 8,
        heads: int = 4,
        dropout: float = 0.3,
        embedding_dropout: float = 0.0,
    ):
        super().__init__()
        if dim % heads or dim % 2 or dim < 4:
            raise ConfigError(
                f"The transformer's width must be even, at least 4 and a multiple of its {heads} heads, found {dim}."
            )
        self.dim, self.embedding_dropout = dim, embedding_dropout
        self.embed_action = nn.Linear(action_dim, dim)
        self.embed_observation = nn.Linear(obs_dim, dim)
        self.embed_goal = nn.Linear(goal_dim, dim) if goal_horizon else None
        self.position = nn.Parameter(torch.zeros(chunk, dim))
        self.memory_position = nn.Parameter(torch.zeros(1 + goal_horizon + obs_horizon, dim))
        self.memory = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))
        # keys and values of all layers, side by side
        self.memory_kv = nn.Linear(dim, layers * 2 * dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, action_dim)
        self.register_buffer("causal", causal_mask(chunk), persistent=False)
        ahead = torch.arange(obs_horizon) > torch.arange(chunk)[:, None]
        seen = torch.zeros(chunk, 1 + goal_horizon)
        blocked = torch.zeros(ahead.shape).masked_fill(ahead, float("-inf"))
        self.register_buffer("memory_mask", torch.cat([seen, blocked], dim=1), persistent=False)
        self.apply(init_gpt)
        nn.init.normal_(self.position, 0.0, 0.02)
        nn.init.normal_(self.memory_position, 0.0, 0.02)

    def forward(self, actions: Tensor, step: Tensor, observation: Tensor, goal: Tensor | None = None) -> Tensor:
        """(B, T, A) noisy actions, (B,) diffusion steps, (B, W, D), (B, G, Dg) -> (B, T, A)."""
        tokens = [self._step_tokens(step)[:, None], self._known_tokens(observation, goal)]
        return self.decode(actions, self._keys_values(torch.cat(tokens, dim=1)))

    def denoiser(
        self, steps: Tensor, observation: Tensor, goal: Tensor | None = None
    ) -> Callable[[Tensor, int], Tensor]:
        """`predict(actions, i)`: the network at `steps[i]` of (S,), with all that does not change computed once."""
        known = self._keys_values(self._known_tokens(observation, goal))
        by_step = self._keys_values(self._step_tokens(steps)[:, None])

        def predict(actions: Tensor, i: int) -> Tensor:
            return self.decode(actions, torch.cat([by_step[i].expand(len(known), -1, -1), known], dim=1))

        return predict

    def decode(self, actions: Tensor, keys_values: Tensor) -> Tensor:
        """(B, T, A) noisy actions, (B, M, L 2 dim) keys and values of the memory for L layers -> (B, T, A)."""
        x = self.embed_action(actions) + self.position
        x = dropped(x, self.embedding_dropout, self.training)
        for layer, memory in zip(self.layers, keys_values.split(2 * self.dim, dim=-1), strict=True):
            x = layer(x, memory, self.causal, self.memory_mask)
        return self.head(self.norm(x))

    def _step_tokens(self, steps: Tensor) -> Tensor:
        return step_embedding(steps, self.dim) + self.memory_position[0]

    def _known_tokens(self, observation: Tensor, goal: Tensor | None) -> Tensor:
        parts = [self.embed_observation(observation)]
        if self.embed_goal is not None:
            parts.insert(0, self.embed_goal(goal))
        return torch.cat(parts, dim=1) + self.memory_position[1:]

    def _keys_values(self, tokens: Tensor) -> Tensor:
        return self.memory_kv(self.memory(dropped(tokens, self.embedding_dropout, self.training)))


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and MLP, with residuals. (B, T, D), (B, M, 2 D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_self, self.norm_cross, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project_self = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, dim)
        self.project_cross = nn.Linear(dim, dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, memory: Tensor, causal: Tensor, memory_mask: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        attended = attention(self.qkv(self.norm_self(x)), self.heads, causal, dropout)
        x = add_dropped(x, self.project_self(attended), dropout, self.training)
        query = self._by_head(self.query(self.norm_cross(x)))
        key, value = (self._by_head(part) for part in memory.to(query.dtype).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value, memory_mask.to(query.dtype), dropout)
        x = add_dropped(x, self.project_cross(attended.transpose(1, 2).flatten(2)), dropout, self.training)
        hidden = dropped(F.gelu(self.expand(self.norm_mlp(x))), dropout, self.training)
        return add_dropped(x, self.contract(hidden), dropout, self.training)

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, D / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
