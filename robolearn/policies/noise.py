"""`Noise`: the random numbers of a training loss, the same however a batch is split over processes."""

from __future__ import annotations

import torch
from torch import Tensor


class Noise:
    """Draws for the rows of one global batch and hands out those of this process.

    Process `rank` of `world_size` holds rows rank, rank + world_size, ... of the global batch, as the loader deals
    them. Every process draws for all rows and keeps its own, so that several processes see together exactly what a
    single one would.

    Args:
        seed: decides all numbers; a trainer derives it from (run seed, step).
    """

    def __init__(self, seed: int, rank: int = 0, world_size: int = 1):
        self._generator = torch.Generator().manual_seed(seed)
        self._shard = slice(rank, None, world_size)
        self._world_size = world_size

    def normal(self, shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
        """Standard normal numbers `shape`, of `like`'s dtype and device; shape[0] counts this process's rows."""
        return self._own(torch.randn(self._global(shape), generator=self._generator), like)

    def uniform(self, shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
        """Numbers in [0, 1), otherwise as `normal`."""
        return self._own(torch.rand(self._global(shape), generator=self._generator), like)

    def _global(self, shape: tuple[int, ...] | torch.Size) -> tuple[int, ...]:
        return (shape[0] * self._world_size, *shape[1:])

    def _own(self, drawn: Tensor, like: Tensor) -> Tensor:
        return drawn[self._shard].to(device=like.device, dtype=like.dtype)
