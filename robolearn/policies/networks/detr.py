"""The transformer of DETR (Carion et al. 2020), as ACT uses it: positions are added to queries and keys of every
layer, values stay free of them; LayerNorm comes after each residual (post-norm); ReLU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError


class EncoderLayer(nn.Module):
    """Self-attention, then an MLP."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.attention = _attention(dim, heads, dropout)
        self.mlp = _mlp(dim, feedforward, dropout)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor, ignore: Tensor | None) -> Tensor:
        placed = x + position
        update, _ = self.attention(placed, placed, x, key_padding_mask=ignore, need_weights=False)
        x = self.norm_attention(x + self.dropout(update))
        return self.norm_mlp(x + self.dropout(self.mlp(x)))


class DecoderLayer(nn.Module):
    """Self-attention of the queries, attention to the memory, then an MLP."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.self_attention = _attention(dim, heads, dropout)
        self.cross_attention = _attention(dim, heads, dropout)
        self.mlp = _mlp(dim, feedforward, dropout)
        self.norm_self, self.norm_cross, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, query: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        placed = x + query
        update, _ = self.self_attention(placed, placed, x, need_weights=False)
        x = self.norm_self(x + self.dropout(update))
        update, _ = self.cross_attention(x + query, memory + position, memory, need_weights=False)
        x = self.norm_cross(x + self.dropout(update))
        return self.norm_mlp(x + self.dropout(self.mlp(x)))


class Encoder(nn.Module):
    """`layers` encoder layers."""

    def __init__(self, dim: int, heads: int, feedforward: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, feedforward, dropout) for _ in range(layers))
        _init_xavier(self)

    def forward(self, x: Tensor, position: Tensor, ignore: Tensor | None = None) -> Tensor:
        """(B, T, D), positions (T, D), (B, T) bool of tokens that none may attend to -> (B, T, D)."""
        for layer in self.layers:
            x = layer(x, position, ignore)
        return x


class Decoder(nn.Module):
    """`layers` decoder layers and a LayerNorm. Its input is zero; what to answer is said by the queries alone."""

    def __init__(self, dim: int, heads: int, feedforward: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        _init_xavier(self)

    def forward(self, query: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        """Queries (H, D), memory (B, S, D) and its positions (S, D) -> (B, H, D), of the last layer."""
        x = memory.new_zeros(len(memory), *query.shape)
        for layer in self.layers:
            x = layer(x, query, memory, position)
        return self.norm(x)


def sinusoids(length: int, dim: int) -> Tensor:
    """(length, dim) fixed positions of Vaswani et al. 2017: sines in even places, cosines in odd ones."""
    place, element = torch.arange(length)[:, None], torch.arange(dim)
    angle = place * torch.exp(-math.log(10_000) * (element - element % 2) / dim)
    return torch.where(element % 2 == 0, angle.sin(), angle.cos())


def _attention(dim: int, heads: int, dropout: float) -> nn.MultiheadAttention:
    if dim % heads:
        raise ConfigError(f"embed_dim {dim} is not a multiple of heads {heads}.")
    return nn.MultiheadAttention(dim, heads, dropout, batch_first=True)


def _mlp(dim: int, feedforward: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, feedforward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feedforward, dim))


def _init_xavier(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
