"""What is kept of a step that went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robolearn.core.errors import RobolearnError
from robolearn.datasets.loader import Origin


class DivergedError(RobolearnError):
    """A loss, gradient or weight is no longer finite."""


def weights_are_finite(module: nn.Module) -> bool:
    """Whether all parameters are; one pass over them."""
    return math.isfinite(float(torch.nn.utils.get_total_norm([p.detach() for p in module.parameters()])))


def save_batch(file: Path, step: int, batch: Mapping[str, Tensor], origin: Origin) -> None:
    """Write a batch with where its windows come from, `origin.source`, `origin.episode`, `origin.step`, each (B,)."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in batch.items()}
    for name in ("source", "episode", "step"):
        tensors[f"origin.{name}"] = torch.as_tensor(getattr(origin, name)).to(torch.int64).contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata={"step": json.dumps(step)})
