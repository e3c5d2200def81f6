"""Operations on sequences laid out time-major, (T, B, C), that are fast on a CPU for the short chunks of actions.

In this layout the rows of a time range are one contiguous matrix. A convolution is then one matrix product a tap
over the range that the tap really reads: nothing is copied, nothing multiplies padding (with 4 steps and 5 taps that
is 14 of 20 products), and the same holds for both gradients. GroupNorm, Mish and FiLM share one backward pass.

Both fast forms are autograd functions for training on the CPU. Elsewhere (no gradient wanted, other devices,
compiled graphs) the same values come from one product over unfolded taps and from torch's own operations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Module):
    """Convolution over time, stride 1, zero padding on both sides, odd kernel: (T, B, in) -> (T, B, out).

    The weight is stored as (taps, in, out); it starts as that of `torch.nn.Conv1d` does.
    """

    def __init__(self, in_channels: int, out_channels: int, taps: int):
        super().__init__()
        self.weight, self.bias = taps_parameters(taps, in_channels, out_channels, fan_in=taps * in_channels)

    def forward(self, x: Tensor) -> Tensor:
        x, weight, bias = autocast(x, self.weight, self.bias)
        if fast(x):
            return _Taps.apply(x, weight, bias)
        return unfolded_conv(x, weight, bias)


class Downsample(nn.Module):
    """Convolution with 3 taps and stride 2: (T, B, C) -> (T / 2, B, C), T even."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = taps_parameters(3, channels, channels, fan_in=3 * channels)

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x[0::2], x[1::2]
        before = torch.cat([torch.zeros_like(odd[:1]), odd[:-1]])
        return F.linear(torch.cat([before, even, odd], dim=-1), self.weight.flatten(0, 1).t(), self.bias)


class Upsample(nn.Module):
    """Transposed convolution with 4 taps and stride 2: (T, B, C) -> (2 T, B, C).

    y[2t] = x[t-1] w[3] + x[t] w[1] and y[2t+1] = x[t] w[2] + x[t+1] w[0].
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = taps_parameters(4, channels, channels, fan_in=4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        edge = torch.zeros_like(x[:1])
        before, after = torch.cat([edge, x[:-1]]), torch.cat([x[1:], edge])
        w = self.weight
        even = F.linear(torch.cat([before, x], dim=-1), torch.cat([w[3], w[1]]).t(), self.bias)
        odd = F.linear(torch.cat([x, after], dim=-1), torch.cat([w[2], w[0]]).t(), self.bias)
        return torch.stack([even, odd], dim=1).flatten(0, 1)


class NormMish(nn.Module):
    """Mish(GroupNorm(x)), then FiLM where a scale and a shift (B, C) are given: (T, B, C) -> (T, B, C)."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        if fast(x):
            return _NormMish.apply(x, self.weight, self.bias, scale, shift, self.groups, self.eps)
        # (B, C, T, 1), channels last: torch normalises it without a transposition
        wide = x.permute(1, 2, 0)[..., None]
        y = F.mish(F.group_norm(wide, self.groups, self.weight, self.bias, self.eps))[..., 0].permute(2, 0, 1)
        return (y if scale is None or shift is None else torch.addcmul(shift, y, scale)).to(x.dtype)


def fast(x: Tensor) -> bool:
    """Whether the hand-written gradients are worth it: training, on the CPU, not inside torch.compile."""
    return torch.is_grad_enabled() and x.device.type == "cpu" and not torch.compiler.is_compiling()


def autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the type that autocast computes matrix products in, where it is on."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t.to(dtype) for t in tensors)


def taps_parameters(taps: int, in_channels: int, out_channels: int, fan_in: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight (taps, in, out) and bias (out,), both uniform within 1 / sqrt(fan_in), torch's rule for convolutions."""
    bound = 1 / math.sqrt(fan_in)
    weight = torch.empty(taps, in_channels, out_channels).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))


def unfolded_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution as one product of the (T B, taps in) matrix of windows with the weight."""
    side = len(weight) // 2
    windows = F.pad(x, (0, 0, 0, 0, side, side)).unfold(0, len(weight), 1).transpose(2, 3)
    return torch.addmm(bias, windows.reshape(x.shape[0] * x.shape[1], -1), weight.flatten(0, 1)).view(*x.shape[:2], -1)


def _ranges(taps: int, steps: int) -> list[tuple[int, slice, slice]]:
    """(tap, steps written, steps read) of every tap that reads something; the middle one, which reads all, first."""
    side = taps // 2
    shifts = sorted(range(max(-side, 1 - steps), min(side, steps - 1) + 1), key=abs)
    return [(side + d, slice(max(0, -d), steps - max(0, d)), slice(max(0, d), steps - max(0, -d))) for d in shifts]


class _Taps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        (middle, _, _), *others = _ranges(len(weight), len(x))
        y = torch.addmm(bias, x.flatten(0, 1), weight[middle]).view(*x.shape[:2], -1)
        for tap, written, read in others:
            y[written].flatten(0, 1).addmm_(x[read].flatten(0, 1), weight[tap])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        (middle, _, _), *others = ranges = _ranges(len(weight), len(x))
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad.flatten(0, 1) @ weight[middle].t()).view_as(x)
            for tap, written, read in others:
                grad_x[read].flatten(0, 1).addmm_(grad[written].flatten(0, 1), weight[tap].t())
        # taps that never read anything (a chunk shorter than the kernel) keep a zero gradient
        grad_weight = torch.empty_like(weight) if len(ranges) == len(weight) else torch.zeros_like(weight)
        for tap, written, read in ranges:
            torch.mm(x[read].flatten(0, 1).t(), grad[written].flatten(0, 1), out=grad_weight[tap])
        return grad_x, grad_weight, grad.flatten(0, 1).sum(0)


class _NormMish(torch.autograd.Function):
    """With p = sigmoid(z) and n = p (2 - p): mish(z) = z tanh(ln(1 + e^z)) = z w with w = n / (2 - n), and
    mish'(z) = w + p (z - mish(z) w). One sigmoid is all it takes, and nothing overflows or cancels."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, shift: Tensor | None, groups: int,
        eps: float,
    ) -> Tensor:  # fmt: skip
        wide = x if x.dtype == torch.float64 else x.float()
        centred = wide - _group_mean(wide.sum(0), groups, len(x))
        rstd = (_group_mean((centred * centred).sum(0), groups, len(x)) + eps).rsqrt()
        z = torch.addcmul(bias, centred, rstd * weight)
        p = z.sigmoid()
        n = (2 - p).mul_(p)
        w = n.div_(2 - n)
        mish = z * w
        ctx.groups = groups
        ctx.save_for_backward(centred, rstd, z, p, w, mish, weight, scale)
        y = mish if scale is None or shift is None else torch.addcmul(shift, mish, scale)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        centred, rstd, z, p, w, mish, weight, scale = ctx.saved_tensors
        grad = grads[0].to(z.dtype)
        slope = torch.addcmul(w, torch.addcmul(z, mish, w, value=-1), p)
        grad_scale = grad_shift = None
        if scale is not None:
            grad_scale, grad_shift = (grad * mish).sum(0).to(scale.dtype), grad.sum(0).to(scale.dtype)
            slope = slope.mul_(scale)
        grad = slope.mul_(grad)
        summed, weighted = grad.sum(0), (grad * centred).sum(0)
        gain = rstd * weight
        mean = _group_mean(summed * gain, ctx.groups, len(z))
        lean = _group_mean(weighted * gain, ctx.groups, len(z)) * rstd * rstd
        grad_x = torch.addcmul(-mean, grad, gain).addcmul_(centred, lean, value=-1)
        return grad_x.to(grads[0].dtype), (weighted * rstd).sum(0), summed.sum(0), grad_scale, grad_shift, None, None


def _group_mean(sums: Tensor, groups: int, steps: int) -> Tensor:
    """(B, C) sums over time -> (B, C): their mean over time and the channels of each group, at every channel."""
    batch, channels = sums.shape
    size = channels // groups
    mean = sums.view(batch, groups, size).sum(-1, keepdim=True).div_(steps * size)
    return mean.expand(-1, -1, size).reshape(batch, channels)
