"""Causal pre-norm transformer blocks (GPT)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.core.errors import ConfigError


class CausalBlock(nn.Module):
    """LayerNorm, causal self-attention, LayerNorm, 4x GELU MLP, with residuals. (B, T, D) -> (B, T, D), T <= length."""

    mask: Tensor

    def __init__(self, dim: int, heads: int, length: int, attention_dropout: float, dropout: float):
        super().__init__()
        if dim % heads:
            raise ConfigError(f"embed_dim {dim} is not a multiple of heads {heads}.")
        self.heads = heads
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1), persistent=False)
        self.attention_dropout = attention_dropout
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        # Written out: for sequences of 10 to 20 tokens torch's fused CPU kernel is slower, 2x in bfloat16.
        scores = (q @ k.transpose(-1, -2)).float() * (d // self.heads) ** -0.5 + self.mask[:t, :t]
        weights = F.dropout(scores.softmax(dim=-1), self.attention_dropout, self.training)
        attended = weights.to(v.dtype) @ v
        x = x + self.dropout(self.project(attended.transpose(1, 2).reshape(b, t, d)))
        return x + self.mlp(self.norm_mlp(x))


def init_gpt(module: nn.Module) -> None:
    """Normal(0, 0.02) for linear weights, zero biases."""
    if isinstance(module, nn.Linear):
        torch.nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)
