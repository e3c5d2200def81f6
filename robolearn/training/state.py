"""The state of an unfinished run, saved without pickle: optimiser, current weights, random state, counters."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from robolearn.core.errors import CheckpointError
from robolearn.policies.base import Policy
from robolearn.training.ema import Ema

TENSORS, COUNTERS = "training_state.safetensors", "training_state.json"


def save_training_state(directory: Path, policy: Policy, optimizer: torch.optim.Optimizer, ema: Ema, step: int) -> None:
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in policy.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors["rng"] = torch.get_rng_state()
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, directory / TENSORS)
    (directory / COUNTERS).write_text(json.dumps({"step": step, "ema_calls": ema.calls}))


def load_training_state(directory: Path, policy: Policy, optimizer: torch.optim.Optimizer, ema: Ema) -> int:
    """Restore in place and return the step to go on from. The averaged weights are the checkpoint's model.

    Raises CheckpointError when something is missing or does not fit this policy.
    """
    try:
        counters = json.loads((directory / COUNTERS).read_text())
        tensors = load_file(directory / TENSORS)
        averaged = load_file(directory / "model.safetensors")
        policy.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for name, value in averaged.items():
            ema.averaged[name].copy_(value)
        ema.calls = int(counters["ema_calls"])
        torch.set_rng_state(tensors["rng"])
        return int(counters["step"])
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"Cannot resume from {directory} ({type(error).__name__}: {reason}).") from error
