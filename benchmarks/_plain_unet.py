"""The U-Net of Diffusion Policy written down straight from the paper with torch's own layers: the thing to be faster
than, and the thing to agree with (`tests/policies/test_unet1d.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robolearn.policies.networks.unet1d import ConditionalUnet1d, step_embedding


class PlainBlock(nn.Module):
    """(B, in, T), (B, C) -> (B, out, T)."""

    def __init__(self, in_channels: int, out_channels: int, cond_dim: int, kernel_size: int, groups: int):
        super().__init__()
        self.first = conv_norm_mish(in_channels, out_channels, kernel_size, groups)
        self.second = conv_norm_mish(out_channels, out_channels, kernel_size, groups)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(cond_dim, 2 * out_channels))
        self.skip = nn.Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        return self.second(scale * self.first(x) + shift) + self.skip(x)


class PlainStage(nn.Module):
    """Two blocks: (B, in, T), (B, C) -> (B, out, T)."""

    def __init__(self, in_channels: int, out_channels: int, cond_dim: int, kernel_size: int, groups: int):
        super().__init__()
        self.first = PlainBlock(in_channels, out_channels, cond_dim, kernel_size, groups)
        self.second = PlainBlock(out_channels, out_channels, cond_dim, kernel_size, groups)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.second(self.first(x, condition), condition)


class PlainUnet(nn.Module):
    """Same arguments and values as `ConditionalUnet1d`."""

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
        self.step_dim = step_dim
        self.embed_step = nn.Sequential(nn.Linear(step_dim, 4 * step_dim), nn.Mish(), nn.Linear(4 * step_dim, step_dim))

        def stage(before: int, after: int) -> PlainStage:
            return PlainStage(before, after, step_dim + cond_dim, kernel_size, groups)

        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.down = nn.ModuleList(stage(*channels) for channels in zip((action_dim, *widths[:-1]), widths, strict=True))
        self.shrink = nn.ModuleList(nn.Conv1d(width, width, 3, stride=2, padding=1) for width in widths[:-1])
        self.middle = stage(widths[-1], widths[-1])
        self.up = nn.ModuleList(stage(2 * below, above) for below, above in rising)
        self.grow = nn.ModuleList(nn.ConvTranspose1d(above, above, 4, stride=2, padding=1) for _, above in rising)
        self.last = conv_norm_mish(widths[0], widths[0], kernel_size, groups)
        self.head = nn.Conv1d(widths[0], action_dim, 1)

    def forward(self, actions: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """(B, T, A), (B,), (B, C) -> (B, T, A)."""
        condition = torch.cat([self.embed_step(step_embedding(step, self.step_dim)), condition], dim=-1)
        x = actions.transpose(1, 2)
        skipped = []
        for level, stage in enumerate(self.down):
            x = stage(x, condition)
            skipped.append(x)
            if level < len(self.shrink):
                x = self.shrink[level](x)
        x = self.middle(x, condition)
        for stage, grow in zip(self.up, self.grow, strict=True):
            x = grow(stage(torch.cat([x, skipped.pop()], dim=1), condition))
        return self.head(self.last(x)).transpose(1, 2)


def conv_norm_mish(in_channels: int, out_channels: int, kernel_size: int, groups: int) -> nn.Sequential:
    conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(conv, nn.GroupNorm(groups, out_channels), nn.Mish())


@torch.no_grad()
def copy_weights(plain: PlainUnet, unet: ConditionalUnet1d) -> None:
    """Give `unet` the weights of `plain`."""

    def conv(source: Any, target: Any, axes: tuple[int, int, int] = (2, 1, 0)) -> None:
        target.weight.copy_(source.weight.permute(axes))
        target.bias.copy_(source.bias)

    def conv_block(source: Any, target: Any) -> None:
        conv(source[0], target.conv)
        target.norm.load_state_dict(source[1].state_dict())

    def linear(source: nn.Module, target: nn.Module) -> None:
        target.load_state_dict({k: v.flatten(1) if v.ndim == 3 else v for k, v in source.state_dict().items()})

    unet.embed_step.load_state_dict(plain.embed_step.state_dict())
    films = []
    stages: Any = zip((*plain.down, plain.middle, *plain.up), (*unet.down, unet.middle, *unet.up), strict=True)
    for stage, target in stages:
        for source, block in zip((stage.first, stage.second), target, strict=True):
            conv_block(source.first, block.first)
            conv_block(source.second, block.second)
            linear(source.skip, block.skip)
            films.append(source.film[1])
    unet.film.weight.copy_(torch.cat([film.weight for film in films]))
    unet.film.bias.copy_(torch.cat([film.bias for film in films]))
    for shrink, downsample in zip(plain.shrink, unet.downsample, strict=True):
        conv(shrink, downsample)
    for grow, upsample in zip(plain.grow, unet.upsample, strict=True):
        conv(grow, upsample, (2, 0, 1))
    conv_block(plain.last, unet.last)
    linear(plain.head, unet.head)
