"""Diffusion in the formulation of Karras et al. 2022 ("Elucidating the Design Space", EDM): what is around the network.

A network F becomes a denoiser of x = a + sigma eps by

    D(x, sigma) = c_skip x + c_out F(c_in x, c_noise),

and is trained on F = (a - c_skip x) / c_out, which has unit variance at every noise level. Samplers are in
`samplers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from robolearn.policies.samplers import Denoiser

Value = Callable[[Tensor, float], Tensor]


Level = TypeVar("Level", float, Tensor)


def precondition(sigma: Level, sigma_data: float) -> tuple[Level, Level, Level, Level]:
    """c_skip, c_out, c_in and c_noise of EDM table 1, elementwise in sigma."""
    total = sigma**2 + sigma_data**2
    log = sigma.log() if isinstance(sigma, Tensor) else math.log(sigma)
    return sigma_data**2 / total, sigma * sigma_data / total**0.5, total**-0.5, log / 4


def log_logistic(uniform: Tensor, sigma_data: float, sigma_min: float, sigma_max: float) -> Tensor:
    """Training noise levels from numbers in [0, 1): log-logistic, truncated to [sigma_min, sigma_max].

    It lies around sigma_data with scale 0.5; the distribution function is inverted, as BESO does (Reuss et al. 2023).
    """
    location, scale = math.log(sigma_data), 0.5
    low, high = (1 / (1 + math.exp(-(math.log(s) - location) / scale)) for s in (sigma_min, sigma_max))
    return torch.exp(torch.logit(uniform * (high - low) + low) * scale + location)


def guided_by_value(denoise: Denoiser, value: Value, weight: float) -> Denoiser:
    """D(x, sigma) + weight sigma^2 grad_x Q(x, sigma): samples from p(a) exp(weight Q(a)) instead of p(a).

    That is exact when Q(x, sigma) = log E[exp(weight Q(a)) | x] / weight, the value of what x will become; a value
    of clean actions is its usual approximation for small sigma.

    Args:
        denoise: D.
        value: Q, (B, ...) noisy actions and their noise level -> (B,); differentiated by autograd.
        weight: of Q; 0 leaves D unchanged.
    """

    def guided(x: Tensor, sigma: float) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            action = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(value(action, sigma).sum(), action)
        return denoise(x, sigma) + weight * sigma**2 * gradient

    return guided
