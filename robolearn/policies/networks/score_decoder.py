"""`ScoreDecoder`: a score transformer at inference, its context computed once and its operations few.

For one action a small network is read from memory more than it computes, and each operation costs microseconds to
dispatch. So the context goes along with the first noisy tokens in one pass through the weights, later passes hold
noisy tokens only, keys and values lie in one buffer a block, and the loop runs on tensors instead of modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from robolearn.policies.networks.attention import REGISTER
from robolearn.policies.networks.decoder_layers import BlockWeights
from robolearn.policies.networks.score_transformer import ScoreTransformer


class ScoreDecoder:
    """F for one context and any number of noisy actions. Not differentiable; dropout is off.

    It keeps no weights of its own: it is made for one context, and those that it reads must stay until it is done.

    Args:
        network: everything but its blocks is read.
        blocks: the layers of those.
        context: (B, T, dim) tokens from `network.context`.
    """

    def __init__(self, network: ScoreTransformer, blocks: Sequence[BlockWeights], context: Tensor):
        b, t, dim = context.shape
        self._context, self._blocks = context, blocks
        self._heads = heads = blocks[0].heads
        self._noisy = h = network.action_horizon
        self._offset = network.position[-h:] + network.embed_sigma.bias + network.embed_action.bias
        self._scale = (dim // heads) ** -0.5
        self._embed_action, self._embed_sigma = network.embed_action.weight, network.embed_sigma.weight[:, 0]
        self._norm = network.norm.weight, network.norm.bias, network.norm.eps
        self._head, self._head_bias = network.head.weight.t(), network.head.bias
        # keys are padded to full vector registers, see `attention`
        self._mask = F.pad(network.decoder_mask, (0, -(t + h) % REGISTER), value=float("-inf"))
        memory = context.new_zeros(len(blocks), 2, b, heads, self._mask.shape[1], dim // heads)
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
        x = F.linear(noisy, self._embed_action) + torch.add(self._offset, self._embed_sigma, alpha=noise)
        if not self._started:
            x = torch.cat([self._context, x], dim=1)
        x = torch.layer_norm(self._run(x), x.shape[2:], *self._norm)
        self._started = True
        return torch.addmm(self._head_bias, x, self._head).view(noisy.shape)

    def _run(self, x: Tensor) -> Tensor:
        """(B, n, dim), context and noisy tokens at first and then noisy tokens alone -> (B * H, dim)."""
        b, n, dim = x.shape
        heads, slots, mask = self._heads, self._slots[n], self._mask[-n:]
        x = x.view(b * n, dim)
        for i, block in enumerate(self._blocks):
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
