"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robolearn.training.config import EmaConfig


class Ema:
    """Keeps averaged <- decay * averaged + (1 - decay) * current.

    The decay at call n = 0, 1, 2, ... is, with the power schedule, 0 for n <= 1 and min(1 - n^-power, max_decay)
    after, so that early weights are forgotten (diffusion_policy's; power 0.75 gives 0.999 after 10,000 calls); with
    the constant schedule it is 0 for n = 0 and then max_decay. Buffers are copied, not averaged.

    Attributes:
        averaged: name -> tensor, as in the module's `state_dict`.
        calls: updates so far.
    """

    def __init__(self, module: nn.Module, config: EmaConfig):
        self._config = config
        self.calls = 0
        current = module.state_dict()
        self.averaged: dict[str, Tensor] = {name: value.detach().clone() for name, value in current.items()}
        names = dict(module.named_parameters())
        self._current = [value for name, value in current.items() if name in names]
        self._averages = [self.averaged[name] for name in current if name in names]
        self._buffers = [value for name, value in current.items() if name not in names]
        self._copies = [self.averaged[name] for name in current if name not in names]

    def decay(self, calls: int) -> float:
        if self._config.schedule == "constant":
            return self._config.max_decay if calls else 0.0
        return 0.0 if calls <= 1 else min(1.0 - calls**-self._config.power, self._config.max_decay)

    @torch.no_grad()
    def update(self) -> None:
        """Call once after every optimiser step."""
        torch._foreach_lerp_(self._averages, self._current, 1.0 - self.decay(self.calls))
        if self._buffers:
            torch._foreach_copy_(self._copies, self._buffers)
        self.calls += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averaged weights within, its own again afterwards."""
        current = self._current + self._buffers
        kept = [value.clone() for value in current]
        try:
            _copy(current, self._averages + self._copies)
            yield
        finally:
            _copy(current, kept)


@torch.no_grad()
def _copy(to: list[Tensor], values: list[Tensor]) -> None:
    if to:
        torch._foreach_copy_(to, values)
