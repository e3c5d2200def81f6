"""`ScoreDecoder`: a score transformer at inference, its context computed once and its operations few.

For one action a small network is read from memory more than it computes, and each operation costs microseconds to
dispatch. So the context goes along with the first noisy tokens in one pass through the weights, later passes hold
noisy tokens only, keys and values lie in one buffer a block, and the loop runs on tensors instead of modules. On a CPU
few rows are multiplied by weights in half precision (fbgemm: activations and sums stay float32), which are half as much
to read: the 16 layers of a 240 wide network take 0.15 ms for one row and 0.65 ms for 11, where oneDNN's packed float32
weights take 0.47 and 0.88 ms. The rounding of a weight is at most 2^-11 of it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.policies.networks.attention import REGISTER

if TYPE_CHECKING:
    from robolearn.policies.networks.score_transformer import ScoreTransformer
    from robolearn.policies.networks.transformer import Block

FEW_ROWS = 32
"""Up to here weights in half precision are faster than float32 ones."""
HALF_MAX = 65504.0
"""The largest number in half precision."""


class ScoreDecoder:
    """F for one context and any number of noisy actions. Not differentiable; dropout is off.

    Args:
        network: whose weights are read; they must not change meanwhile.
        context: (B, T, dim) tokens from `network.context`.
    """

    def __init__(self, network: ScoreTransformer, context: Tensor):
        b, t, dim = context.shape
        self._context, self._weights = context, _weights_of(network)
        self._heads = heads = network.blocks[0].heads
        self._noisy = h = network.action_horizon
        self._offset = network.position[-h:] + network.embed_sigma.bias + network.embed_action.bias
        self._scale = (dim // heads) ** -0.5
        padded = self._weights.mask.shape[1]
        memory = context.new_zeros(len(network.blocks), 2, b, heads, padded, dim // heads)
        self._slots = {n: memory[..., t + h - n : t + h, :].unbind() for n in (t + h, h)}
        keys, values = memory.flatten(2, 3).unbind(dim=1)
        self._keys, self._values = keys.transpose(-1, -2).unbind(), values.unbind()
        self._started = False

    @torch.no_grad()
    def __call__(self, noisy: Tensor, noise: float) -> Tensor:
        """(B, H, A) scaled noisy actions at one noise input -> (B, H, A)."""
        if torch.is_autocast_enabled(noisy.device.type):
            with torch.autocast(noisy.device.type, enabled=False):
                return self(noisy, noise)
        w = self._weights
        x = F.linear(noisy, w.embed_action) + torch.add(self._offset, w.embed_sigma, alpha=noise)
        if not self._started:
            x = torch.cat([self._context, x], dim=1)
        x = torch.layer_norm(self._run(x), x.shape[2:], *w.norm)
        self._started = True
        return torch.addmm(w.head_bias, x, w.head).view(noisy.shape)

    def _run(self, x: Tensor) -> Tensor:
        """(B, n, dim), context and noisy tokens at first and then noisy tokens alone -> (B * H, dim)."""
        b, n, dim = x.shape
        heads, slots, mask = self._heads, self._slots[n], self._weights.mask[-n:]
        x = x.view(b * n, dim)
        for i, block in enumerate(self._weights.blocks):
            qkv = block.qkv(torch.layer_norm(x, (dim,), *block.norm_attention))
            q, kv = qkv.view(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4).split((1, 2))
            slots[i].copy_(kv)
            if i + 1 == len(slots) and n > self._noisy:  # nobody reads the context after this
                x = x.view(b, n, dim)[:, -self._noisy :].reshape(-1, dim)
                q, mask, n = q[:, :, :, -self._noisy :], mask[-self._noisy :], self._noisy
            scores = torch.baddbmm(mask, q.reshape(b * heads, n, -1), self._keys[i], alpha=self._scale)
            attended = torch.bmm(scores.softmax(dim=-1), self._values[i])
            if n > 1:
                attended = attended.view(b, heads, n, -1).transpose(1, 2)
            x = block.project(attended.reshape(b * n, dim)).add_(x)
            hidden = F.gelu(block.expand(torch.layer_norm(x, (dim,), *block.norm_mlp)))
            x = block.contract(hidden).add_(x)
        return x


class _Weights:
    """What a network's parameters are at inference, prepared once for as long as they stay as they are.

    Packed weights are a copy. That the parameters have changed shows in torch's count of writes to them, but a fused
    optimiser's writes are not counted. So the network forgets its copy in train() and eval(), and the head's bias,
    which every training step moves, is compared. Not seen is a fused step of other weights alone between two
    predictions without train() or eval(): call one of them.
    """

    def __init__(self, network: ScoreTransformer):
        self._parameters = list(network.parameters())
        self._state, bias = self._now(), network.head.bias
        self._bias = bias.detach().clone() if bias.device.type == "cpu" else None
        norm, head = network.norm, network.head
        self.blocks = [_Block(block) for block in network.blocks]
        # keys are padded to full vector registers, see `attention`
        missing = -len(network.decoder_mask) % REGISTER
        self.mask = F.pad(network.decoder_mask, (0, missing), value=float("-inf"))
        self.embed_action, self.embed_sigma = network.embed_action.weight, network.embed_sigma.weight[:, 0]
        self.norm, self.head, self.head_bias = (norm.weight, norm.bias, norm.eps), head.weight.t(), head.bias

    def _now(self) -> list[tuple[int, int]]:
        return [(p.data_ptr(), p._version) for p in self._parameters]

    def are_those_of(self, network: ScoreTransformer) -> bool:
        same = network.position is self._parameters[0] and self._now() == self._state
        return same and (self._bias is None or torch.equal(network.head.bias, self._bias))


class _Block:
    """The layers of one transformer block."""

    def __init__(self, block: Block):
        self.norm_attention = block.norm_attention.weight, block.norm_attention.bias, block.norm_attention.eps
        self.norm_mlp = block.norm_mlp.weight, block.norm_mlp.bias, block.norm_mlp.eps
        self.qkv, self.project = _Linear(block.qkv), _Linear(block.project)
        self.expand, self.contract = _Linear(block.expand), _Linear(block.contract)


class _Linear:
    """A linear layer on (rows, in), for few rows with weights in half precision where torch offers that."""

    def __init__(self, layer: nn.Linear):
        self._bias, self._transposed = layer.bias.detach(), layer.weight.detach().t()
        self._half = _in_half_precision(layer.weight.detach(), self._bias)

    def __call__(self, x: Tensor) -> Tensor:
        if self._half is None or len(x) > FEW_ROWS:
            return torch.addmm(self._bias, x, self._transposed)
        return torch.fbgemm_linear_fp16_weight_fp32_activation(x, self._half, self._bias)


def _in_half_precision(weight: Tensor, bias: Tensor) -> Tensor | None:
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


_CACHE: WeakKeyDictionary[nn.Module, _Weights] = WeakKeyDictionary()


def forget_weights(network: nn.Module) -> None:
    """The next decoder of this network reads its weights anew."""
    _CACHE.pop(network, None)


def _weights_of(network: ScoreTransformer) -> _Weights:
    known = _CACHE.get(network)
    if known is None or not known.are_those_of(network):
        with torch.no_grad():
            known = _CACHE[network] = _Weights(network)
    return known
