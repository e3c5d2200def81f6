"""Pre-norm transformer blocks (GPT) for short sequences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.policies.networks.attention import add_dropped, attention


class Block(nn.Module):
    """LayerNorm, self-attention, LayerNorm, 4x GELU MLP, with residuals.

    Args:
        dim, heads: width and number of heads; dim must be a multiple of heads.
        attention_dropout: of the attention weights.
        dropout: of both residual branches.
    """

    def __init__(self, dim: int, heads: int, attention_dropout: float, dropout: float):
        super().__init__()
        if dim % heads:
            raise ConfigError(f"embed_dim {dim} is not a multiple of heads {heads}.")
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, mask: Tensor, outputs: int | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D), or only the last `outputs` tokens, (B, outputs, D).

        `mask` (T, T) is added to the attention scores: 0 where a token (row) may look, -inf elsewhere.
        """
        n = x.shape[1] if outputs is None else outputs
        dropout = self.attention_dropout if self.training else 0.0
        attended = attention(self.qkv(self.norm_attention(x)), self.heads, mask, dropout, n)
        return self.finish(x[:, x.shape[1] - n :], attended)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows attention: both residual branches."""
        x = add_dropped(x, self.project(attended), self.dropout, self.training)
        hidden = F.gelu(self.expand(self.norm_mlp(x)))
        return add_dropped(x, self.contract(hidden), self.dropout, self.training)


class CausalBlock(Block):
    """A block in which every token sees itself and those before it. (B, T, D) -> (B, T, D), T <= length."""

    mask: Tensor

    def __init__(self, dim: int, heads: int, length: int, attention_dropout: float, dropout: float):
        super().__init__(dim, heads, attention_dropout, dropout)
        self.register_buffer("mask", causal_mask(length), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, self.mask[: x.shape[1], : x.shape[1]])


def causal_mask(length: int) -> Tensor:
    """(length, length): 0 on and below the diagonal, -inf above it."""
    return torch.full((length, length), float("-inf")).triu(1)


def init_gpt(module: nn.Module) -> None:
    """Normal(0, 0.02) for linear weights, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
