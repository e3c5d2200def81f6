"""Mixtures of Gaussians as the output of a network (Bishop 1994), as robomimic uses them for actions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robolearn.policies.draws import categorical, randn


@dataclass(frozen=True)
class Mixture:
    """p(x) = sum_k pi_k prod_n N(x_n; mean_kn, std_kn^2), for any leading shape.

    Attributes:
        logits: (..., K), pi up to a factor.
        mean, std: (..., K, N).
    """

    logits: Tensor
    mean: Tensor
    std: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """(..., N) -> (...)."""
        z = (x[..., None, :] - self.mean) / self.std
        of_mode = -(z**2 / 2 + self.std.log() + math.log(2 * math.pi) / 2).sum(dim=-1)
        return torch.logsumexp(self.logits.log_softmax(dim=-1) + of_mode, dim=-1)

    def sample(self, generator: torch.Generator | None, std: float | None = None) -> Tensor:
        """(..., N): a mode by its probability, then a point of it; `std` overrides the learned ones."""
        mode = categorical(self.logits, generator)[..., None, None].expand(*self.mean.shape[:-2], 1, -1)
        mean = torch.take_along_dim(self.mean, mode, dim=-2).squeeze(-2)
        spread = torch.take_along_dim(self.std, mode, dim=-2).squeeze(-2) if std is None else std
        return mean + spread * randn(mean.shape, generator, mean)


class MixtureHead(nn.Module):
    """Features to a `Mixture` with means in (-1, 1) (tanh) and standard deviations softplus(.) + min_std.

    Args:
        dim: features in.
        outputs: N.
        modes: K.
    """

    def __init__(self, dim: int, outputs: int, modes: int, min_std: float):
        super().__init__()
        self.outputs, self.modes, self.min_std = outputs, modes, min_std
        self.linear = nn.Linear(dim, modes * (2 * outputs + 1))

    def forward(self, features: Tensor) -> Mixture:
        """(..., dim) -> mixture of leading shape (...), in float32: log densities of narrow modes need it."""
        sizes = [self.modes, self.modes * self.outputs, self.modes * self.outputs]
        logits, mean, std = self.linear(features).to(torch.float32).split(sizes, dim=-1)
        mean, std = (part.unflatten(-1, (self.modes, self.outputs)) for part in (mean, std))
        return Mixture(logits, mean.tanh(), nn.functional.softplus(std) + self.min_std)
