"""The state of an unfinished run, saved without pickle: current weights, optimiser, counters.

Random numbers need no state: they are functions of the seed and the step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from robolearn.core.errors import CheckpointError, one_line
from robolearn.training.step import Step

FILES = TENSORS, COUNTERS = "training_state.safetensors", "training_state.json"


def save_training_state(directory: Path, step: Step, counters: dict[str, Any]) -> None:
    """Write tensors under `model.NAME` and `optimizer.NAME.QUANTITY`, NAME being that of the parameter.

    `directory` is made where there is none.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in step.policy.state_dict().items()}
    for name, parameter in step.policy.named_parameters():
        for quantity, value in step.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}.{quantity}"] = torch.as_tensor(value)
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, directory / TENSORS)
    counters = {**counters, "ema_calls": step.ema.calls, "loss_scale": step.scaler.state_dict()}
    (directory / COUNTERS).write_text(json.dumps(counters))


def load_training_state(directory: Path, step: Step) -> dict[str, Any]:
    """Restore in place and return the counters. The averaged weights are the checkpoint's model.

    Raises CheckpointError when something is missing or does not fit this policy. Whether the files are those that were
    saved is for `check_unchanged` to say.
    """
    try:
        counters = json.loads((directory / COUNTERS).read_text())
        tensors = load_file(directory / TENSORS)
        averaged = load_file(directory / "model.safetensors")
        step.policy.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for name, parameter in step.policy.named_parameters():
            prefix = f"optimizer.{name}."
            quantities = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            for quantity, value in quantities.items():
                expected = () if quantity == "step" else parameter.shape
                if value.shape != expected:
                    raise ValueError(f"{prefix}{quantity} has shape {tuple(value.shape)}, expected {tuple(expected)}")
            if quantities:
                step.optimizer.state[parameter] = {k: v.to(parameter.device) for k, v in quantities.items()}
        if averaged.keys() != step.ema.averaged.keys():
            raise ValueError("the averaged weights are those of another policy")
        for name, value in averaged.items():
            step.ema.averaged[name].copy_(value)
        step.ema.calls = int(counters["ema_calls"])
        step.scaler.load_state_dict(counters["loss_scale"])
        counters["step"] = int(counters["step"])
        return counters
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"Cannot resume from {directory} ({type(error).__name__}: {one_line(error)}).") from error
