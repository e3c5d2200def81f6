"""Layers of a transformer block as a decoder reads them: plain tensors, and for few rows weights in half precision.

On a CPU few rows are multiplied by packed weights in half precision (fbgemm: activations and sums stay float32), which
are half as much to read: the 16 layers of a 240 wide network take 0.15 ms for one row and 0.65 ms for 11, where
oneDNN's packed float32 weights take 0.47 and 0.88 ms. The rounding of a weight is at most 2^-11 of it.

Packed weights are a copy, and nothing tells when those they were made of change: torch counts its own writes to a
tensor, but neither those of fused optimisers nor those through `.data` or numpy. So copies are made in one place alone,
`PreparedScoreTransformer`, which has no other weights; everybody else reads the weights themselves, each time.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from robolearn.policies.networks.transformer import Block

FEW_ROWS = 32
"""Up to here weights in half precision are faster than float32 ones."""
HALF_MAX = 65504.0
"""The largest number in half precision."""


class BlockWeights:
    """The layers of one transformer block.

    Args:
        block: whose weights are read, as they are at each call.
        copied: copy them, packed where that is faster; the block may change or go then.
    """

    def __init__(self, block: Block, copied: bool = False):
        self.heads = block.heads
        self.norm_attention = _norm(block.norm_attention, copied)
        self.norm_mlp = _norm(block.norm_mlp, copied)
        self.qkv, self.project, self.expand, self.contract = (
            LinearWeights(layer, copied) for layer in (block.qkv, block.project, block.expand, block.contract)
        )


class LinearWeights:
    """A linear layer on (rows, in)."""

    def __init__(self, layer: nn.Linear, copied: bool = False):
        weight, self._bias = _read(layer.weight, copied), _read(layer.bias, copied)
        self._transposed = weight.t()
        self._half = in_half_precision(weight, self._bias) if copied else None

    def __call__(self, x: Tensor) -> Tensor:
        if self._half is None or len(x) > FEW_ROWS:
            return torch.addmm(self._bias, x, self._transposed)
        return torch.fbgemm_linear_fp16_weight_fp32_activation(x, self._half, self._bias)


def in_half_precision(weight: Tensor, bias: Tensor) -> Tensor | None:
    """fbgemm's packed copy of a layer's weights; None where torch or the processor has none of it, and for large ones.

    torch calls these functions deprecated. Its other ways to the same kernels take twice as long or do not exist.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not weight.abs().max() < HALF_MAX:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packed = torch.fbgemm_pack_gemm_matrix_fp16(weight.clone())
            torch.fbgemm_linear_fp16_weight_fp32_activation(weight[:1], packed, bias)  # warns at its first call
    except (AttributeError, RuntimeError):
        return None
    return packed


def _norm(norm: nn.LayerNorm, copied: bool) -> tuple[Tensor, Tensor, float]:
    return _read(norm.weight, copied), _read(norm.bias, copied), norm.eps


def _read(parameter: Tensor, copied: bool) -> Tensor:
    return parameter.detach().clone() if copied else parameter.detach()
