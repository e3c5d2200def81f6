"""`ScoreDecoder`: a score transformer at inference, its context computed once and its operations few.

For one action a small network is read from memory more than it computes, and each operation costs microseconds to
dispatch. So the context goes along with the first noisy tokens in one pass through the weights, later passes hold
noisy tokens only, keys and values lie in one buffer a block, and the loop runs on tensors instead of modules. Linear
layers of 2 to 30 rows take half the time with weights that oneDNN has packed beforehand (float32 on a CPU).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.policies.networks.attention import REGISTER

if TYPE_CHECKING:
    from robolearn.policies.networks.score_transformer import ScoreTransformer
    from robolearn.policies.networks.transformer import Block


class ScoreDecoder:
    """F for one context and any number of noisy actions. Not differentiable; dropout is off.

    Args:
        network: whose weights are read; they must not change meanwhile.
        context: (B, T, dim) tokens from `network.context`.
    """

    def __init__(self, network: ScoreTransformer, context: Tensor):
        b, t, dim = context.shape
        self._network, self._context, self._blocks = network, context, _blocks_of(network)
        self._heads = heads = network.blocks[0].heads
        self._noisy = h = network.action_horizon
        self._scale = (dim // heads) ** -0.5
        # keys are padded to full vector registers, see `attention`
        padded = -(-(t + h) // REGISTER) * REGISTER
        self._mask = F.pad(network.decoder_mask, (0, padded - t - h), value=float("-inf"))
        self._memory = context.new_zeros(len(self._blocks), 2, b, heads, padded, dim // heads)
        self._started = False
        self._sigma = network.embed_sigma.weight[:, 0]
        self._offset = network.position[-h:] + network.embed_sigma.bias

    @torch.no_grad()
    def __call__(self, noisy: Tensor, noise: float) -> Tensor:
        """(B, H, A) scaled noisy actions at one noise input -> (B, H, A)."""
        network = self._network
        with torch.autocast(noisy.device.type, enabled=False):
            x = network.embed_action(noisy) + torch.add(self._offset, self._sigma, alpha=noise)
            if not self._started:
                x = torch.cat([self._context, x], dim=1)
            x = self._run(x)
            self._started = True
            return network.head(network.norm(x)).view(noisy.shape)  # type: ignore[no-any-return]

    def _run(self, x: Tensor) -> Tensor:
        """(B, n, dim), context and noisy tokens at first and then noisy tokens alone -> (B * H, dim)."""
        b, n, dim = x.shape
        heads, total = self._heads, self._mask.shape[0]
        mask = self._mask[total - n :]
        x = x.view(b * n, dim)
        for i, block in enumerate(self._blocks):
            qkv = block.qkv(F.layer_norm(x, (dim,), *block.norm_attention))
            q, kv = qkv.view(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4).split((1, 2))
            memory = self._memory[i]
            memory[:, :, :, total - n : total].copy_(kv)
            if i + 1 == len(self._blocks) and n > self._noisy:  # nobody reads the context after this
                x = x.view(b, n, dim)[:, n - self._noisy :].reshape(-1, dim)
                q, mask, n = q[:, :, :, n - self._noisy :], mask[n - self._noisy :], self._noisy
            keys, values = memory.flatten(1, 2)
            scores = torch.baddbmm(mask, q.reshape(b * heads, n, -1), keys.transpose(1, 2), alpha=self._scale)
            attended = torch.bmm(scores.softmax(dim=-1), values)
            x = x + block.project(attended.view(b, heads, n, -1).transpose(1, 2).reshape(b * n, dim))
            hidden = F.gelu(block.expand(F.layer_norm(x, (dim,), *block.norm_mlp)))
            x = x + block.contract(hidden)
        return x


class _Block:
    """The layers of one transformer block as functions, and (weight, bias) of its norms."""

    def __init__(self, block: Block):
        self.norm_attention = block.norm_attention.weight, block.norm_attention.bias
        self.norm_mlp = block.norm_mlp.weight, block.norm_mlp.bias
        layers = block.qkv, block.project, block.expand, block.contract
        self.qkv, self.project, self.expand, self.contract = map(_linear, layers)


def _linear(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """(rows, in) -> (rows, out)."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    transposed = weight.t()
    ops = torch.ops.mkldnn
    packable = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if not packable or not hasattr(ops, "_linear_pointwise"):
        return lambda x: torch.addmm(bias, x, transposed)
    packed, product = ops._reorder_linear_weight(weight.clone()), ops._linear_pointwise.default
    return lambda x: (
        torch.addmm(bias, x, transposed) if x.shape[0] == 1 else product(x, packed, bias, "none", [], "none")
    )


_CACHE: WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], list[_Block]]] = WeakKeyDictionary()


def _blocks_of(network: ScoreTransformer) -> list[_Block]:
    """The blocks' weights, prepared once for as long as they stay as they are."""
    state = [(p.data_ptr(), p._version) for block in network.blocks for p in block.parameters()]
    known = _CACHE.get(network)
    if known is None or known[0] != state:
        known = _CACHE[network] = (state, [_Block(block) for block in network.blocks])
    return known[1]
