"""Attention and dropout for short sequences on a CPU, where torch's own kernels lose most of their time.

Measured on one core with 256 windows of 15 tokens and 12 heads of 20: torch's softmax of rows of 15 takes 11 times as
long as of rows of 16 (hence keys are padded to full vector registers), its softmax gradient 6 times as long as the
formula written out, its dropout 7 times as long as 16-bit numbers cut from 64-bit draws, and its fused attention
kernel longer than all of this file. On other devices, and under `torch.compile`, torch's kernels are used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

REGISTER = 16
"""float32 numbers in a vector register (AVX-512)."""


def attention(qkv: Tensor, heads: int, mask: Tensor, dropout: float = 0.0, outputs: int | None = None) -> Tensor:
    """Multi-head attention over queries, keys and values that lie side by side.

    Args:
        qkv: (B, T, 3 D).
        mask: (T, T) added to the scores: 0 where a token (row) may look, -inf elsewhere.
        dropout: share of the attention weights that is dropped.
        outputs: how many of the last tokens look; None = all.

    Returns (B, outputs, D).
    """
    length, width = qkv.shape[1], qkv.shape[2] // 3
    outputs = length if outputs is None else outputs
    if qkv.device.type == "cpu" and not torch.compiler.is_compiling():
        return _Attention.apply(qkv, heads, mask, dropout, outputs)  # type: ignore[no-any-return]
    q, k, v = qkv.unflatten(2, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
    rows = slice(length - outputs, None)
    attended = F.scaled_dot_product_attention(q[:, :, rows], k, v, mask[rows].to(q.dtype), dropout)
    return attended.transpose(1, 2).flatten(2)


def add_dropped(x: Tensor, y: Tensor, dropout: float, training: bool) -> Tensor:
    """x + dropout(y), a residual branch."""
    if not training or dropout == 0:
        return x + y
    if y.device.type != "cpu" or torch.compiler.is_compiling():
        return x + F.dropout(y, dropout)
    return torch.addcmul(x, y, _keep(y.shape, dropout))


def dropped(x: Tensor, dropout: float, training: bool) -> Tensor:
    """dropout(x)."""
    if not training or dropout == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, dropout, training)
    return x * _keep(x.shape, dropout).to(x.dtype)


def _keep(shape: torch.Size, dropout: float) -> Tensor:
    """float32 factors of dropout: 0, or what makes up for those. The share is `dropout` to 1 / 65536."""
    count = shape.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    zeros = round(dropout * 2**16)
    return torch.ge(bits.view(shape), zeros - 2**15, out=torch.empty(shape)).mul_(2**16 / (2**16 - zeros))


class _Attention(torch.autograd.Function):
    """`attention` with its gradient written out: softmax(q k^T / sqrt(d) + mask) v."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, mask: Tensor, dropout: float, outputs: int) -> Tensor:
        b, t, width = qkv.shape
        d = width // 3 // heads
        padded = -(-t // REGISTER) * REGISTER
        parts = qkv.view(b, t, 3, heads, d)
        q = parts[:, t - outputs :, 0].transpose(1, 2).reshape(-1, outputs, d)
        k, v = qkv.new_zeros(2, b, heads, padded, d)
        k[:, :, :t].copy_(parts[:, :, 1].transpose(1, 2))
        v[:, :, :t].copy_(parts[:, :, 2].transpose(1, 2))
        k, v = k.view(-1, padded, d), v.view(-1, padded, d)
        bias = F.pad(mask[t - outputs :], (0, padded - t), value=float("-inf"))
        weights = torch.add(bias, torch.bmm(q, k.transpose(1, 2)), alpha=d**-0.5).softmax(dim=-1)
        keep = _keep(weights.shape, dropout) if dropout else None
        used = (weights if keep is None else weights * keep).to(v.dtype)
        ctx.save_for_backward(q, k, v, weights, keep, used)
        ctx.sizes = b, t, heads, d, outputs
        return torch.bmm(used, v).view(b, heads, outputs, d).transpose(1, 2).reshape(b, outputs, heads * d)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        q, k, v, weights, keep, used = ctx.saved_tensors
        b, t, heads, d, n = ctx.sizes
        g = gradient.reshape(b, n, heads, d).transpose(1, 2).reshape(-1, n, d)
        of_weights = torch.bmm(g, v.transpose(1, 2)).to(weights.dtype)
        of_weights = of_weights if keep is None else of_weights * keep
        product = of_weights.mul_(weights)
        of_scores = torch.addcmul(product, weights, product.sum(dim=-1, keepdim=True), value=-1).mul_(d**-0.5)
        of_scores = of_scores.to(q.dtype)
        of_qkv = gradient.new_zeros(b, t, 3, heads, d) if n < t else gradient.new_empty(b, t, 3, heads, d)

        def place(part: int, rows: slice, value: Tensor) -> None:
            of_qkv[:, rows, part].copy_(value.view(b, heads, -1, d)[:, :, : rows.stop - rows.start].transpose(1, 2))

        place(0, slice(t - n, t), torch.bmm(of_scores, k))
        place(1, slice(0, t), torch.bmm(of_scores.transpose(1, 2), q))
        place(2, slice(0, t), torch.bmm(used.transpose(1, 2), g))
        return of_qkv.view(b, t, -1), None, None, None, None
