"""Pre-norm transformer blocks (GPT) for short sequences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.core.errors import ConfigError


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
        self.scale = (dim // heads) ** -0.5
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
        q, k, v = self.heads_of(x)
        return self.attend(x[:, x.shape[1] - n :], q[:, :, q.shape[2] - n :], k, v, mask[mask.shape[0] - n :])

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, head_dim) of (B, T, D)."""
        b, t, d = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(b, t, 3, self.heads, d // self.heads)
        return qkv.permute(2, 0, 3, 1, 4).unbind()

    def attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """What follows `heads_of`, for the tokens x (B, n, D) with queries q; keys may be those of more tokens."""
        # Written out: for sequences of 10 to 20 tokens torch's fused CPU kernel is slower, 2x in bfloat16.
        scores = (q @ k.transpose(-1, -2)).float() * self.scale
        if mask is not None:
            scores = scores + mask
        weights = F.dropout(scores.softmax(dim=-1), self.attention_dropout, self.training)
        attended = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(x.shape)
        x = x + F.dropout(self.project(attended), self.dropout, self.training)
        hidden = F.gelu(self.expand(self.norm_mlp(x)))
        return x + F.dropout(self.contract(hidden), self.dropout, self.training)


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
