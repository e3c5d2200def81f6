"""The conditional 1-D U-Net of Diffusion Policy (Chi et al., RSS 2023): noisy action chunks in, prediction out.

Every level has two residual blocks; a block is convolution, GroupNorm, Mish, FiLM, convolution, GroupNorm, Mish,
plus its input (through a 1x1 convolution where the width changes). FiLM (Perez et al. 2018) scales and shifts every
channel by a linear map of Mish([step embedding, condition]). Levels halve the time axis by strided convolutions; two
more blocks at the lowest one, then the mirrored way up with the skipped features concatenated.

    256/512/1024: 65.8 M parameters (Push-T state), 128/256/512: 17.9 M, 64/128/256: 5.4 M

Shapes and counts are those of the authors' code; the arithmetic is arranged for short chunks on a CPU (see
`time_major`), and the FiLM layers of all blocks are one matrix, so that while sampling the condition's share of
them is computed once and the step's share for all steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.policies.networks.time_major import Conv, Downsample, NormMish, Upsample


class ConditionalUnet1d(nn.Module):
    """Network eps_theta(A_k, k, O).

    Args:
        action_dim: A, size of one action.
        cond_dim: numbers conditioned on: of all observations and goals together.
        widths: channels of the levels, at least one; the chunk must have a multiple of 2^(levels - 1) steps.
        kernel_size: taps of the convolutions, odd.
        groups: of GroupNorm; divides every width.
        step_dim: size of the diffusion step's embedding, even.

    Raises ConfigError for sizes that do not fit.
    """

    def __init__(
        self,
        action_dim: int,
        cond_dim: int,
        widths: Sequence[int] = (256, 512, 1024),
        kernel_size: int = 5,
        groups: int = 8,
        step_dim: int = 256,
    ):
        super().__init__()
        _check(widths, kernel_size, groups, step_dim)
        self.multiple = 2 ** (len(widths) - 1)
        self.step_dim = step_dim
        self.embed_step = nn.Sequential(nn.Linear(step_dim, 4 * step_dim), nn.Mish(), nn.Linear(4 * step_dim, step_dim))

        def stages(channels: Iterable[tuple[int, int]]) -> nn.ModuleList:
            return nn.ModuleList(Stage(before, after, kernel_size, groups) for before, after in channels)

        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.down = stages(zip((action_dim, *widths[:-1]), widths, strict=True))
        self.downsample = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.middle = Stage(widths[-1], widths[-1], kernel_size, groups)
        self.up = stages((2 * below, above) for below, above in rising)
        self.upsample = nn.ModuleList(Upsample(above) for _, above in rising)
        self.last = ConvBlock(widths[0], widths[0], kernel_size, groups)
        self.head = nn.Linear(widths[0], action_dim)
        # scale and shift of the first block of each stage, then of the second
        self._film_sizes = [width for width in (*widths, widths[-1], *widths[-2::-1]) for _ in range(4)]
        self.film = nn.Linear(step_dim + cond_dim, sum(self._film_sizes))

    def forward(self, actions: Tensor, step: Tensor, *condition: Tensor) -> Tensor:
        """(B, T, A) noisy actions, (B,) diffusion steps, what to condition on (B, ...) -> (B, T, A)."""
        embedded = self.embed_step(step_embedding(step, self.step_dim))
        return self.denoise(actions, self.film(F.mish(torch.cat([embedded, _flat(condition)], dim=-1))))

    def denoiser(self, steps: Tensor, *condition: Tensor) -> Callable[[Tensor, int], Tensor]:
        """`predict(actions, i)`: the network at `steps[i]` of (S,), with all that does not change computed once."""
        weight, d = self.film.weight, self.step_dim
        by_step = F.linear(F.mish(self.embed_step(step_embedding(steps, d))), weight[:, :d])
        by_condition = F.linear(F.mish(_flat(condition)), weight[:, d:], self.film.bias)
        return lambda actions, i: self.denoise(actions, by_step[i] + by_condition)

    def denoise(self, actions: Tensor, modulation: Tensor) -> Tensor:
        """(B, T, A) noisy actions, (B, F) FiLM of all blocks -> (B, T, A)."""
        film = iter(modulation.split(self._film_sizes, dim=-1))
        x = actions.transpose(0, 1)
        skipped = []
        for level, stage in enumerate(self.down):
            x = stage(x, film)
            skipped.append(x)
            if level < len(self.downsample):
                x = self.downsample[level](x)
        x = self.middle(x, film)
        for stage, upsample in zip(self.up, self.upsample, strict=True):
            x = upsample(stage(torch.cat([x, skipped.pop()], dim=-1), film))
        return self.head(self.last(x)).transpose(0, 1)


class ConvBlock(nn.Module):
    """Convolution, GroupNorm, Mish, and FiLM where given: (T, B, in) -> (T, B, out)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int):
        super().__init__()
        self.conv = Conv(in_channels, out_channels, kernel_size)
        self.norm = NormMish(groups, out_channels)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return self.norm(self.conv(x), scale, shift)


class ResidualBlock(nn.Module):
    """Two convolution blocks, FiLM (B, out) after the first, plus the input: (T, B, in) -> (T, B, out)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int):
        super().__init__()
        self.first = ConvBlock(in_channels, out_channels, kernel_size, groups)
        self.second = ConvBlock(out_channels, out_channels, kernel_size, groups)
        self.skip = nn.Linear(in_channels, out_channels) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return self.second(self.first(x, scale, shift)) + self.skip(x)


class Stage(nn.ModuleList):
    """Two residual blocks, which take scale and shift, (B, out) each, from `film`: (T, B, in) -> (T, B, out)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int):
        super().__init__(ResidualBlock(c, out_channels, kernel_size, groups) for c in (in_channels, out_channels))

    def forward(self, x: Tensor, film: Iterator[Tensor]) -> Tensor:
        for block in self:
            x = block(x, next(film), next(film))
        return x


def step_embedding(step: Tensor, dim: int) -> Tensor:
    """(B,) -> (B, dim): sines, then cosines, of wavelengths from 2 pi to 20000 pi (Vaswani et al. 2017)."""
    half = dim // 2
    rates = torch.exp(torch.arange(half, device=step.device) * (-math.log(10000) / (half - 1)))
    angles = step[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _flat(condition: Sequence[Tensor]) -> Tensor:
    """Everything conditioned on, as one vector a row."""
    return torch.cat([part.flatten(1) for part in condition], dim=-1)


def _check(widths: Sequence[int], kernel_size: int, groups: int, step_dim: int) -> None:
    if not widths or groups < 1 or any(width < 1 or width % groups for width in widths):
        raise ConfigError(
            f"Every width of the U-Net must be a positive multiple of its {groups} groups, found {widths}."
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"kernel_size must be odd and positive, found {kernel_size}.")
    if step_dim < 4 or step_dim % 2:
        raise ConfigError(f"The embedding of the diffusion step must be even and at least 4, found {step_dim}.")
