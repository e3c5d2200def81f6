"""Exponential moving average of weights with a power warm-up."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Keeps averaged <- decay * averaged + (1 - decay) * current, decay growing towards `max_decay`.

    The decay at call n = 0, 1, 2, ... is 0 for n <= 1 and min(1 - n^-power, max_decay) after, so that early
    weights are forgotten (diffusion_policy's schedule; power 0.75 gives 0.999 after 10,000 calls).
    Buffers are copied, not averaged.
    """

    def __init__(self, module: nn.Module, power: float = 0.75, max_decay: float = 0.9999):
        self.power, self.max_decay = power, max_decay
        self.calls = 0
        self._module = module
        self.averaged: dict[str, Tensor] = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self._averaged_list = [self.averaged[k] for k, _ in module.named_parameters()]
        self._current_list = [p.detach() for _, p in module.named_parameters()]
        self._buffers = [k for k in self.averaged if k not in dict(module.named_parameters())]

    def decay(self, calls: int) -> float:
        return 0.0 if calls <= 1 else min(1.0 - calls**-self.power, self.max_decay)

    @torch.no_grad()
    def update(self) -> None:
        """Call once after every optimiser step."""
        torch._foreach_lerp_(self._averaged_list, self._current_list, 1.0 - self.decay(self.calls))
        state = self._module.state_dict()
        for name in self._buffers:
            self.averaged[name].copy_(state[name])
        self.calls += 1
