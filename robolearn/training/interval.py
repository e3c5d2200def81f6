"""`Interval`: what happened since the last line of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robolearn.training.distributed import Processes


class Interval:
    """Losses, gradient norms and times of the steps since the last `clear`.

    On a graphics card values stay there until somebody asks, because each look waits for all work under way.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._losses: list[Tensor | float] = []
        self._norms: list[Tensor | float] = []
        self._busy_s = self._waited_s = 0.0

    def __len__(self) -> int:
        return len(self._losses)

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """A step's values, one number each."""
        on_device = loss.device.type != "cpu"
        self._losses.append(loss if on_device else float(loss))
        self._norms.append(norm if on_device else float(norm))

    def add_time(self, busy_s: float, waited_s: float) -> None:
        """Of a step: all of it, and the part spent waiting for the batch."""
        self._busy_s += busy_s
        self._waited_s += waited_s

    def losses(self) -> list[float]:
        return _numbers(self._losses)

    def norms(self) -> list[float]:
        return _numbers(self._norms)

    def first_not_finite(self, with_norms: bool = True) -> int | None:
        """Which of the steps was the first whose loss, or gradient, is not finite."""
        values = self.losses() + (self.norms() if with_norms else [])
        bad = [index % len(self) for index, value in enumerate(values) if not math.isfinite(value)]
        return min(bad, default=None)

    def summary(self, processes: Processes) -> dict[str, float]:
        """Means over the steps and over the processes, which all must call this."""
        loss = processes.mean([sum(self.losses()) / len(self)])[0]
        finite = [norm for norm in self.norms() if math.isfinite(norm)]
        return {
            "loss": loss,
            "grad_norm": sum(finite) / max(1, len(finite)),
            "steps_per_s": len(self) / max(self._busy_s, 1e-9),
            "data_wait": self._waited_s / max(self._busy_s, 1e-9),
        }

    def state(self, processes: Processes) -> dict[str, Any]:
        """What a run that goes on has to know of an unfinished interval; all processes must call this."""
        return {"losses": processes.mean(self.losses()), "norms": self.norms()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.clear()
        self._losses, self._norms = list(state.get("losses", [])), list(state.get("norms", []))


def _numbers(values: list[Tensor | float]) -> list[float]:
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors:
        return [float(value) for value in values]
    found = iter(torch.stack(tensors).float().tolist())
    return [next(found) if isinstance(value, Tensor) else value for value in values]
