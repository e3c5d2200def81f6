"""Diffusion in the formulation of Karras et al. 2022 ("Elucidating the Design Space", EDM): preconditioning,
noise levels and samplers. Knows tensors only; a denoiser is any function `(x, sigma) -> estimate of clean x`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]


def precondition(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise of EDM table 1, elementwise in sigma."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4


def log_logistic_sigma(
    n: int, sigma_data: float, sigma_min: float, sigma_max: float, generator: torch.Generator | None = None
) -> Tensor:
    """(n,) training noise levels: log-logistic around sigma_data with scale 0.5, truncated to [sigma_min, sigma_max].

    Drawn by inverting the distribution function, as BESO does (Reuss et al. 2023).
    """
    location, scale = math.log(sigma_data), 0.5
    low, high = (1 / (1 + math.exp(-(math.log(s) - location) / scale)) for s in (sigma_min, sigma_max))
    u = torch.rand(n, generator=generator) * (high - low) + low
    return torch.exp(torch.logit(u) * scale + location)


def exponential_sigmas(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """n levels, evenly spaced in log sigma from sigma_max to sigma_min, then 0."""
    if n == 1:
        return [sigma_max, 0.0]
    ratio = math.log(sigma_min / sigma_max) / (n - 1)
    return [sigma_max * math.exp(ratio * i) for i in range(n)] + [0.0]


def linear_sigmas(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """n levels, evenly spaced from sigma_max to sigma_min, then 0."""
    if n == 1:
        return [sigma_max, 0.0]
    return [sigma_max + (sigma_min - sigma_max) * i / (n - 1) for i in range(n)] + [0.0]


def karras_sigmas(n: int, sigma_min: float, sigma_max: float, rho: float = 5.0) -> list[float]:
    """n levels after EDM eq. 5, then 0."""
    if n == 1:
        return [sigma_max, 0.0]
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return [(high + i / (n - 1) * (low - high)) ** rho for i in range(n)] + [0.0]


SCHEDULES = {"exponential": exponential_sigmas, "linear": linear_sigmas, "karras": karras_sigmas}


def sample_ddim(denoise: Denoiser, x: Tensor, sigmas: list[float], generator: torch.Generator | None = None) -> Tensor:
    """First-order exponential integrator (DDIM): x <- (s'/s) x + (1 - s'/s) D(x, s). Deterministic."""
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        estimate = denoise(x, x.new_full((x.shape[0],), sigma))
        ratio = following / sigma
        x = torch.lerp(estimate, x, ratio)
    return x


def sample_heun(denoise: Denoiser, x: Tensor, sigmas: list[float], generator: torch.Generator | None = None) -> Tensor:
    """Second-order Heun (EDM algorithm 1 without churn): 2n - 1 network calls. Deterministic."""
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        slope = (x - denoise(x, x.new_full((x.shape[0],), sigma))) / sigma
        euler = x + (following - sigma) * slope
        if following == 0:
            x = euler
        else:
            second = (euler - denoise(euler, x.new_full((x.shape[0],), following))) / following
            x = x + (following - sigma) * (slope + second) / 2
    return x


def sample_euler_ancestral(
    denoise: Denoiser, x: Tensor, sigmas: list[float], generator: torch.Generator | None = None
) -> Tensor:
    """Euler steps down to s_down, then fresh noise s_up, with s_down^2 + s_up^2 = s'^2. Stochastic."""
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        estimate = denoise(x, x.new_full((x.shape[0],), sigma))
        up = min(following, math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2))
        down = math.sqrt(following**2 - up**2)
        x = torch.lerp(estimate, x, down / sigma)
        if up > 0:
            x = x + up * randn(x.shape, generator, x)
    return x


SAMPLERS = {"ddim": sample_ddim, "heun": sample_heun, "euler_ancestral": sample_euler_ancestral}


def randn(shape: torch.Size | tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard normal noise drawn on the generator's device (CPU by default), then moved to `like`'s device."""
    device = generator.device if generator is not None else like.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
