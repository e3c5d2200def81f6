"""`Step`: one optimisation step, a function of the weights, the batch, the seed and the number of the step."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from robolearn.core.errors import ConfigError
from robolearn.policies.base import Policy
from robolearn.policies.noise import Noise
from robolearn.training.config import TrainConfig
from robolearn.training.distributed import Processes
from robolearn.training.ema import Ema
from robolearn.training.optimizer import make_optimizer
from robolearn.training.schedule import learning_rate

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Step:
    """Gradients of a batch, then the change of the weights.

    A batch is worked off in `accumulate` parts: part m of process r holds rows r + w m, r + w (m + k), ... of the
    global batch with w processes and k parts, as process r + w m of w k would. So noise falls on the same rows
    however a batch is split, and the mean gradient is the same.

    Args:
        policy: on its device; trained in place.

    Raises ConfigError when the loss cannot be compiled here.
    """

    def __init__(self, policy: Policy, config: TrainConfig, processes: Processes):
        self.policy, self._config, self._processes = policy, config, processes
        self.optimizer = make_optimizer(policy, config)
        self.ema = Ema(policy, config.ema)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=config.precision == "float16")
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        self._loss: Callable[[Mapping[str, Tensor], Noise], Tensor] = policy.loss
        if config.compile:
            _require_compiler(processes.device)
            self._loss = torch.compile(policy.loss)

    def gradients(self, step: int, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Set the clipped gradients of this process's rows, averaged over the processes.

        Returns the loss of this process's rows and the norm of the gradient before it was clipped, on the device.
        """
        c, group = self._config, self._processes
        seed, parts = derived_seed(c.seed, step), c.accumulate
        torch.manual_seed(derived_seed(c.seed, step, group.rank))
        if not self.policy.training:
            self.policy.train()
        self.optimizer.zero_grad(set_to_none=True)
        total: Tensor | float = 0.0
        for part in range(parts):
            rows = {name: value[part::parts] for name, value in batch.items()}
            noise = Noise(seed, group.rank + group.world_size * part, group.world_size * parts)
            with self._autocast():
                loss = self._loss(rows, noise) / parts
            self.scaler.scale(loss).backward()
            total = total + loss.detach()
        group.average_gradients(self._parameters)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, c.max_grad_norm, foreach=True)
        assert isinstance(total, Tensor)
        return total, norm

    def apply(self, step: int) -> float:
        """Change the weights along the gradients and update the average. Returns the learning rate."""
        rate = learning_rate(self._config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update()
        return rate

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        kind = PRECISIONS.get(self._config.precision)
        return torch.autocast(self._processes.device.type, dtype=kind) if kind else contextlib.nullcontext()


def derived_seed(*parts: int) -> int:
    """One seed from several numbers; other numbers, and more or fewer of them, give an independent one."""
    sequence = np.random.SeedSequence(parts, spawn_key=(len(parts),))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _require_compiler(device: torch.device) -> None:
    if device.type != "cpu":
        return
    wanted = os.environ.get("CXX") or "g++"
    if shutil.which(wanted) is None and shutil.which("clang++") is None:
        raise ConfigError(
            f"--compile needs a C++ compiler on a processor, and {wanted} was not found; install g++ or leave it out."
        )
