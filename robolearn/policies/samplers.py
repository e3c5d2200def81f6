"""Noise schedules and samplers of the probability-flow ODE and SDE, in the variance-exploding form x = a + sigma eps.

A denoiser D(x, sigma) estimates the clean a from x; all rows share one noise level. Every sampler is built from

    step(D, s'/s) = (s'/s) x + (1 - s'/s) D                                                            (1)

the exact solution of dx/dsigma = (x - D) / sigma for constant D. It is at once DDIM, Euler's step (the two are the
same in this form) and first-order DPM-Solver++. What a table entry adds to it:

| sampler              | order | D in (1)                                     | eta | network calls  |
|----------------------|-------|----------------------------------------------|-----|----------------|
| `ddim`, `euler`      | 1     | D(x, s)                                      | 0   | n              |
| `heun`               | 2     | mean slope at s and s' (EDM, algorithm 1)    | 0   | 2n - 1         |
| `dpmpp_2m`           | 2     | extrapolated from this and the last D        | 0   | n              |
| `dpmpp_2s`           | 2     | at the midpoint of log s                     | 0   | 2n - 1         |
| `euler_ancestral`    | 1     | D(x, s)                                      | 1   | n              |
| `dpmpp_2s_ancestral` |       | as `dpmpp_2s`                                | 1   | 2n - 1         |
| `dpmpp_2m_sde`       |       | as `dpmpp_2m`, over s and s': see below      | 1   | n              |

eta = 1 steps down to s_down = s'^2 / s and adds fresh noise s_up, s_down^2 + s_up^2 = s'^2. `dpmpp_2m_sde` is
SDE-DPM-Solver++(2M) of Lu et al.: it steps like that too, but extrapolates to half of the step from s to s', not to
s_down. Its noise needs no Brownian tree: steps are fixed, so no path is ever revisited. Not here: k-diffusion's
`dpmpp_sde` (a single-step solver, two network calls a step), EDM's churn, and solvers that choose their own steps.

Sources: Karras et al. 2022 (EDM); Song et al. 2021 (DDIM); Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095);
Nichol & Dhariwal 2021 (cosine).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.policies.draws import randn

Denoiser = Callable[[Tensor, float], Tensor]

SamplerName = Literal[
    "ddim", "euler", "heun", "dpmpp_2m", "dpmpp_2s", "euler_ancestral", "dpmpp_2s_ancestral", "dpmpp_2m_sde"
]
ScheduleName = Literal["exponential", "linear", "karras", "vp", "cosine"]

KARRAS_RHO = 5.0
VP_BETA_D, VP_BETA_MIN = 19.9, 0.1


def _vp_time(sigma: float) -> float:
    """t with sigma(t)^2 = exp(beta_d t^2 / 2 + beta_min t) - 1."""
    return (math.sqrt(VP_BETA_MIN**2 + 2 * VP_BETA_D * math.log1p(sigma**2)) - VP_BETA_MIN) / VP_BETA_D


def _vp_sigma(time: float) -> float:
    return math.sqrt(math.expm1(VP_BETA_D * time**2 / 2 + VP_BETA_MIN * time))


SCHEDULES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "exponential": (math.log, math.exp),
    "linear": (float, float),
    "karras": (lambda sigma: sigma ** (1 / KARRAS_RHO), lambda y: y**KARRAS_RHO),
    "vp": (_vp_time, _vp_sigma),
    "cosine": (math.atan, math.tan),
}
"""Noise levels are evenly spaced in y: (sigma -> y, y -> sigma)."""


def noise_levels(schedule: str, steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """`steps` levels from sigma_max down to sigma_min, then 0; a single one is sigma_max.

    `vp` and `cosine` are cut to [sigma_min, sigma_max], the levels a network was trained on; with the end points of
    the continuous VP process (152.2 and 0.01049) `vp` is the usual one. Raises ConfigError.
    """
    if schedule not in SCHEDULES:
        raise ConfigError(unknown_name("schedule", schedule, SCHEDULES))
    if steps < 1 or not 0 < sigma_min < sigma_max < math.inf:
        raise ConfigError(
            "Expected at least 1 step and 0 < sigma_min < sigma_max, both finite, "
            f"found {steps}, {sigma_min} and {sigma_max}."
        )
    warp, unwarp = SCHEDULES[schedule]
    first, last = warp(sigma_max), warp(sigma_min)
    inner = [unwarp(first + (last - first) * i / (steps - 1)) for i in range(1, steps - 1)]
    return [sigma_max, *inner, *([sigma_min] if steps > 1 else []), 0.0]


@dataclass(frozen=True)
class _Step:
    """From noise level `sigma` to `target`, where `following` >= `target` is the level once noise is added."""

    sigma: float
    target: float
    following: float

    def towards(self, x: Tensor, estimate: Tensor) -> Tensor:
        """Equation (1)."""
        return torch.lerp(estimate, x, self.target / self.sigma)


History = list[tuple[float, Tensor]]
"""(sigma, D) of the steps done."""


def _first_order(denoise: Denoiser, x: Tensor, step: _Step, history: History) -> Tensor:
    return step.towards(x, denoise(x, step.sigma))


def _heun(denoise: Denoiser, x: Tensor, step: _Step, history: History) -> Tensor:
    estimate = denoise(x, step.sigma)
    predicted = step.towards(x, estimate)
    if step.target == 0:
        return predicted
    slope = (x - estimate) / step.sigma + (predicted - denoise(predicted, step.target)) / step.target
    return x + (step.target - step.sigma) / 2 * slope


def _two_step(denoise: Denoiser, x: Tensor, step: _Step, history: History) -> Tensor:
    estimate = denoise(x, step.sigma)
    extrapolated = estimate
    if history and step.following > 0:
        before, earlier = history[-1]
        r = math.log(before / step.sigma) / math.log(step.sigma / step.following)
        extrapolated = torch.lerp(earlier, estimate, 1 + 1 / (2 * r))
    history.append((step.sigma, estimate))
    return step.towards(x, extrapolated)


def _midpoint(denoise: Denoiser, x: Tensor, step: _Step, history: History) -> Tensor:
    estimate = denoise(x, step.sigma)
    if step.target == 0:
        return estimate
    middle = math.sqrt(step.sigma * step.target)
    return step.towards(x, denoise(torch.lerp(estimate, x, middle / step.sigma), middle))


SAMPLERS: dict[str, tuple[Callable[[Denoiser, Tensor, _Step, History], Tensor], float]] = {
    "ddim": (_first_order, 0.0),
    "euler": (_first_order, 0.0),
    "heun": (_heun, 0.0),
    "dpmpp_2m": (_two_step, 0.0),
    "dpmpp_2s": (_midpoint, 0.0),
    "euler_ancestral": (_first_order, 1.0),
    "dpmpp_2s_ancestral": (_midpoint, 1.0),
    "dpmpp_2m_sde": (_two_step, 1.0),
}
"""(how one step is done, eta = share of the noise that is drawn anew)."""


def sample(
    sampler: str, denoise: Denoiser, x: Tensor, sigmas: list[float], generator: torch.Generator | None = None
) -> Tensor:
    """Follow `sigmas` from x at noise level sigmas[0] to sigmas[-1], 0 for clean data.

    Args:
        sampler: name in SAMPLERS.
        x: (B, ...), sigmas[0] times standard normal noise to begin with.
        sigmas: strictly falling, as from `noise_levels`.
        generator: of the noise added by the ancestral and SDE samplers; None = torch's global one.

    Raises ConfigError for an unknown name.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(unknown_name("sampler", sampler, SAMPLERS))
    advance, eta = SAMPLERS[sampler]
    history: History = []
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        up = min(following, eta * following * math.sqrt(1 - (following / sigma) ** 2))
        x = advance(denoise, x, _Step(sigma, math.sqrt(following**2 - up**2), following), history)
        if up > 0:
            x = x + up * randn(x.shape, generator, x)
    return x
