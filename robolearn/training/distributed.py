"""`Processes`: those that train together, started by torchrun; a single one where nothing was started.

    torchrun --nproc-per-node 2 -m robolearn train beso --dataset X.zarr --output DIR

Each process works off its own rows of the global batch and averages gradients with the others before the step, so
that all hold the same weights. All gradients travel in one message after the backward pass: parameters without a
gradient and a compiled loss need no special care, and for models of this size overlapping would gain little.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from robolearn.core.errors import ConfigError
from robolearn.policies.device import choose_device


class Processes:
    """What this process is among those that train together.

    Args:
        device: see `choose_device`. `cpu` speaks gloo; `cuda` speaks nccl and stands for one device a process.

    Attributes:
        rank, world_size: number of this process and how many there are.
        local_size: how many of them share this machine.
        device: of this process.

    Raises ConfigError for a device that is not there.
    """

    def __init__(self, device: str):
        self.rank, self.world_size = _number("RANK", 0), _number("WORLD_SIZE", 1)
        self.local_size = _number("LOCAL_WORLD_SIZE", self.world_size)
        self.device = choose_device(device, self.local_size)
        if self.device.type == "cuda" and self.device.index is None and self.world_size > 1:
            self.device = choose_device(f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}")
        self._group: distributed.ProcessGroup | None = None
        if self.world_size > 1:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            if not distributed.is_initialized():
                backend = "nccl" if self.device.type == "cuda" else "gloo"
                try:
                    distributed.init_process_group(backend, timeout=_PATIENCE)
                except ValueError as error:
                    raise ConfigError(f"WORLD_SIZE is {self.world_size}, but {error}; {_HELP}") from error
            # flags and metrics lie in main memory; asking for them must not wait for a graphics card
            self._group = distributed.new_group(backend="gloo", timeout=_PATIENCE)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files, validates and speaks."""
        return self.rank == 0

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.world_size == 1 or not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.world_size
        parts: Sequence[Tensor] = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])

    def mean(self, values: Sequence[float]) -> list[float]:
        """Means over the processes, which all must call this."""
        return self._reduced(values, distributed.ReduceOp.SUM, 1 / self.world_size)

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all must call this."""
        return bool(self._reduced([float(flag)], distributed.ReduceOp.MAX, 1.0)[0])

    def wait(self) -> None:
        """Return when all processes have called this."""
        if self._group is not None:
            distributed.barrier(self._group)

    def close(self) -> None:
        """Leave the group."""
        if self._group is not None:
            distributed.destroy_process_group()
            self._group = None

    def _reduced(self, values: Sequence[float], operation: distributed.ReduceOp.RedOpType, scale: float) -> list[float]:
        if self._group is None or not len(values):
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total, operation, self._group)
        return (total * scale).tolist()


def _number(name: str, default: int) -> int:
    """An environment variable that torchrun sets."""
    value = os.environ.get(name, str(default))
    if not value.isdigit():
        raise ConfigError(f"The environment variable {name} is {value!r}, expected a number; {_HELP}")
    return int(value)


_HELP = "start several processes with torchrun, or unset RANK, WORLD_SIZE and LOCAL_WORLD_SIZE for one."
# the others wait while the first evaluates; torchrun ends them at once when one of them dies
_PATIENCE = timedelta(days=1)
