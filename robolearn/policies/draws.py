"""Random draws while sampling actions, from a given generator whatever device it and the tensors are on."""

from __future__ import annotations

import torch
from torch import Tensor


def randn(shape: torch.Size | tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard normal numbers drawn on the generator's device (`like`'s without one), of `like`'s dtype and device."""
    device = generator.device if generator is not None else like.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def categorical(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """(..., K) unnormalised log probabilities -> (...) class indices, by inverting the distribution function."""
    device = generator.device if generator is not None else logits.device
    u = torch.rand(logits.shape[:-1], generator=generator, device=device).to(logits.device)
    reached = logits.to(torch.float32).softmax(dim=-1).cumsum(dim=-1)
    # the last class needs no threshold: rounding may leave the sum of all below u
    return (reached[..., :-1] <= u[..., None]).sum(dim=-1)
