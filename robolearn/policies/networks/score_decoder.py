"""`ScoreDecoder`: a score transformer at inference, its context computed once and its operations few.

For one action a small network is read from memory more than it computes, and each operation costs a microsecond
to dispatch. So the context goes along with the first noisy tokens in one pass through the weights, later passes hold
noisy tokens only, keys and values lie in one buffer a block, and the loop runs on plain tensors instead of modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from robolearn.policies.networks.attention import REGISTER

if TYPE_CHECKING:
    from robolearn.policies.networks.score_transformer import ScoreTransformer


class ScoreDecoder:
    """F for one context and any number of noisy actions. Not differentiable; dropout is off.

    Args:
        network: whose weights are read; they must not change meanwhile.
        context: (B, T, dim) tokens from `network.context`.
    """

    def __init__(self, network: ScoreTransformer, context: Tensor):
        b, t, dim = context.shape
        self._network, self._context = network, context
        self._heads = heads = network.blocks[0].heads
        self._noisy = h = network.action_horizon
        self._scale = (dim // heads) ** -0.5
        # keys are padded to full vector registers, see `attention`
        padded = -(-(t + h) // REGISTER) * REGISTER
        self._mask = F.pad(network.decoder_mask, (0, padded - t - h), value=float("-inf"))
        self._memory = context.new_zeros(len(network.blocks), 2, b, heads, padded, dim // heads)
        self._started = False
        self._weights = [
            (
                block.norm_attention.weight, block.norm_attention.bias, block.qkv.weight.t(), block.qkv.bias,
                block.project.weight.t(), block.project.bias, block.norm_mlp.weight, block.norm_mlp.bias,
                block.expand.weight.t(), block.expand.bias, block.contract.weight.t(), block.contract.bias,
            )
            for block in network.blocks
        ]  # fmt: skip
        self._sigma = network.embed_sigma.weight[:, 0]
        self._offset = network.position[-h:] + network.embed_sigma.bias

    @torch.no_grad()
    def __call__(self, noisy: Tensor, noise: float) -> Tensor:
        """(B, H, A) scaled noisy actions at one noise input -> (B, H, A)."""
        network = self._network
        x = network.embed_action(noisy) + torch.add(self._offset, self._sigma, alpha=noise)
        if not self._started:
            x = torch.cat([self._context, x], dim=1)
        x = self._blocks(x)
        self._started = True
        return network.head(network.norm(x)).view(noisy.shape)  # type: ignore[no-any-return]

    def _blocks(self, x: Tensor) -> Tensor:
        """(B, n, dim), context and noisy tokens at first and then noisy tokens alone -> (B * H, dim)."""
        b, n, dim = x.shape
        heads, total = self._heads, self._mask.shape[0]
        mask, last = self._mask[total - n :], len(self._weights) - 1
        x = x.view(b * n, dim)
        for i, (g1, b1, qkv_w, qkv_b, out_w, out_b, g2, b2, up_w, up_b, down_w, down_b) in enumerate(self._weights):
            memory = self._memory[i]
            qkv = torch.addmm(qkv_b, F.layer_norm(x, (dim,), g1, b1), qkv_w)
            q, kv = qkv.view(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4).split((1, 2))
            memory[:, :, :, total - n : total].copy_(kv)
            if i == last and n > self._noisy:  # nobody reads the context after this
                x = x.view(b, n, dim)[:, n - self._noisy :].reshape(-1, dim)
                q, mask, n = q[:, :, :, n - self._noisy :], mask[n - self._noisy :], self._noisy
            keys, values = memory.flatten(1, 2)
            scores = torch.baddbmm(mask, q.reshape(b * heads, n, -1), keys.transpose(1, 2), alpha=self._scale)
            attended = torch.bmm(scores.softmax(dim=-1).to(values.dtype), values)
            attended = attended.view(b, heads, n, -1).transpose(1, 2).reshape(b * n, dim)
            x = x + torch.addmm(out_b, attended, out_w)
            hidden = F.gelu(torch.addmm(up_b, F.layer_norm(x, (dim,), g2, b2), up_w))
            x = x + torch.addmm(down_b, hidden, down_w)
        return x
