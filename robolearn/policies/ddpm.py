"""Denoising diffusion in discrete steps: DDPM (Ho et al. 2020) and DDIM (Song et al. 2021), as tables.

A chunk x is noised at step k = 0..K-1 to x_k = sqrt(abar_k) x + sqrt(1 - abar_k) eps. A network predicts from x_k

    eps ("epsilon"),   x ("sample"),   or   v = sqrt(abar_k) eps - sqrt(1 - abar_k) x ("v_prediction").

For all three, estimates of x and eps are linear in (x_k, prediction), and so is every step of both samplers once the
estimate of x is clipped. With l the step that follows k (abar = 1 after the last) and sigma^2 the posterior variance

    DDIM:  x_l = sqrt(abar_l) clip(x) + sqrt(1 - abar_l) eps
    DDPM:  x_l = sqrt(abar_l) beta / (1 - abar_k) clip(x) + sqrt(1 - beta) (1 - abar_l) / (1 - abar_k) x_k + sigma z,
           beta = 1 - abar_k / abar_l,  sigma^2 = beta (1 - abar_l) / (1 - abar_k)

Six numbers a step hold all of it; they are computed once. With "leading" levels the values are those of diffusers'
DDPMScheduler (variance "fixed_small") and DDIMScheduler (eta 0), which the tests compare step by step; diffusers is
not needed for them. With "trailing" ones its DDIMScheduler goes K // n levels down whichever level comes
next; the two agree where n steps divide K. `table_from_diffusers` makes the table of a scheduler that is handed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.policies.draws import randn

Betas = Literal["squaredcos_cap_v2", "linear", "scaled_linear"]
Prediction = Literal["epsilon", "sample", "v_prediction"]
Scheduler = Literal["ddim", "ddpm"]
Spacing = Literal["leading", "trailing"]

BETA_START, BETA_END = 1e-4, 0.02  # of the linear schedules


def alphas_bar(steps: int, betas: Betas, beta_start: float = BETA_START, beta_end: float = BETA_END) -> Tensor:
    """(K,) float64 products of 1 - beta. The cosine schedule of Nichol and Dhariwal 2021 ignores start and end."""
    if betas == "squaredcos_cap_v2":
        level = torch.cos((torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
        beta = (1 - level[1:] / level[:-1]).clamp(max=0.999)
    elif betas == "linear":
        beta = torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)
    else:
        beta = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    return (1 - beta).cumprod(0)


def sampling_steps(training_steps: int, steps: int, spacing: Spacing) -> list[int]:
    """The noise levels visited, falling. "leading" ends at 0, "trailing" begins at K - 1 (better for few steps).

    Raises ConfigError when there are more than the network was trained on.
    """
    if not 1 <= steps <= training_steps:
        raise ConfigError(f"sampling_steps must lie in 1..{training_steps} (the training steps), found {steps}.")
    if spacing == "leading":
        return [i * (training_steps // steps) for i in reversed(range(steps))]
    return [round(training_steps - i * training_steps / steps) - 1 for i in range(steps)]


@dataclass(frozen=True)
class Step:
    """x <- p clip(a x + b m) + c x + d m + s z for the network's prediction m and standard normal z."""

    a: float
    b: float
    p: float
    c: float
    d: float
    s: float
    clip: float

    def __call__(self, x: Tensor, prediction: Tensor, generator: torch.Generator | None) -> Tensor:
        clean = torch.mul(x, self.a).add_(prediction, alpha=self.b)
        if self.clip < math.inf:
            clean = clean.clamp_(-self.clip, self.clip)
        clean = clean.mul_(self.p).add_(x, alpha=self.c)
        if self.d:
            clean.add_(prediction, alpha=self.d)
        if self.s:
            clean.add_(randn(x.shape, generator, x), alpha=self.s)
        return clean


@dataclass(frozen=True)
class SamplingTable:
    """A whole sampling run: the noise level of each network call, and what to do with its answer."""

    levels: tuple[int, ...]
    steps: tuple[Step, ...]

    def __call__(
        self, predict: Callable[[Tensor, int], Tensor], x: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Denoise standard normal x; `predict(x, i)` is the network at `levels[i]`."""
        for i, step in enumerate(self.steps):
            x = step(x, predict(x, i), generator)
        return x


def sampling_table(
    alphas: Tensor, levels: list[int], scheduler: Scheduler, prediction: Prediction, clip: float, final: float = 1.0
) -> SamplingTable:
    """The table of a sampler over falling `levels`, for (K,) `alphas` = abar; `final` is abar after the last step."""
    bars = [float(alphas[k]) for k in levels] + [final]
    rows = []
    for now, then in zip(bars[:-1], bars[1:], strict=True):
        signal, noise = math.sqrt(now), math.sqrt(1 - now)
        # clean = a x + b m and eps = c x + d m
        if prediction == "epsilon":
            (a, b), (c, d) = (1 / signal, -noise / signal), (0.0, 1.0)
        elif prediction == "sample":
            (a, b), (c, d) = (0.0, 1.0), (1 / noise, -signal / noise)
        else:
            (a, b), (c, d) = (signal, -noise), (noise, signal)
        if scheduler == "ddim":
            ahead = math.sqrt(1 - then)
            rows.append(Step(a, b, math.sqrt(then), ahead * c, ahead * d, 0.0, clip))
        else:
            beta = 1 - now / then
            mix = math.sqrt(then) * beta / (1 - now)
            keep = math.sqrt(now / then) * (1 - then) / (1 - now)
            rows.append(Step(a, b, mix, keep, 0.0, math.sqrt(beta * (1 - then) / (1 - now)), clip))
    return SamplingTable(tuple(levels), tuple(rows))


def fits_table(scheduler: Any) -> bool:
    """Whether `table_from_diffusers` knows this kind of scheduler with these options."""
    return _unheld(scheduler) is None


def _unheld(scheduler: Any) -> str | None:
    """Why a scheduler of diffusers cannot be a table, as far as that is not a matter of its levels."""
    kind, config = type(scheduler).__name__, scheduler.config
    if kind not in ("DDPMScheduler", "DDIMScheduler"):
        return f"Expected a DDPMScheduler or DDIMScheduler of diffusers, found {kind}."
    if config.thresholding or config.get("variance_type", "fixed_small") != "fixed_small":
        return f"{kind}: expected variance_type fixed_small without thresholding, found {dict(config)}."
    if config.rescale_betas_zero_snr:
        return f"{kind}: expected rescale_betas_zero_snr False, found True."
    return None


def table_from_diffusers(scheduler: Any) -> SamplingTable:
    """The table of a diffusers DDPMScheduler or DDIMScheduler (eta 0) after its `set_timesteps`.

    Raises ConfigError for schedulers and options that the table cannot hold.
    """
    if (reason := _unheld(scheduler)) is not None:
        raise ConfigError(reason)
    kind, config = type(scheduler).__name__, scheduler.config
    levels, name = [int(k) for k in scheduler.timesteps], "ddim" if kind == "DDIMScheduler" else "ddpm"
    stride = config.num_train_timesteps // len(levels)
    ends = [k - stride for k in levels]  # of a DDIMScheduler's steps
    if name == "ddim" and (ends[:-1] != levels[1:] or ends[-1] >= 0):
        raise ConfigError(f"{kind}: expected levels {stride} apart that end below {stride}, found {levels}.")
    final = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
    clip = config.clip_sample_range if config.clip_sample else math.inf
    return sampling_table(scheduler.alphas_cumprod.double(), levels, name, config.prediction_type, clip, final)  # type: ignore[arg-type]


class NoiseSchedule(nn.Module):
    """The training side: noised chunks and what the network has to predict of them.

    Args:
        steps: K, noise levels.
        betas: how fast the noise grows.
        prediction: what the network predicts.
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, steps: int, betas: Betas, prediction: Prediction):
        super().__init__()
        self.steps, self.betas, self.prediction = steps, betas, prediction
        self.alphas = alphas_bar(steps, betas)
        self.register_buffer("signal", self.alphas.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - self.alphas).sqrt().float(), persistent=False)

    def add_noise(self, x: Tensor, eps: Tensor, k: Tensor) -> Tensor:
        """x_k of (B, T, A) clean chunks and noise at (B,) levels."""
        signal, noise = self._at(k)
        return signal * x + noise * eps

    def target(self, x: Tensor, eps: Tensor, k: Tensor) -> Tensor:
        """What the network should predict from `add_noise(x, eps, k)`."""
        if self.prediction == "epsilon":
            return eps
        if self.prediction == "sample":
            return x
        signal, noise = self._at(k)
        return signal * eps - noise * x

    def table(self, steps: int, scheduler: Scheduler, spacing: Spacing, clip: float) -> SamplingTable:
        """How to sample in `steps` network calls. Raises ConfigError when that is more than K."""
        levels = sampling_steps(self.steps, steps, spacing)
        return sampling_table(self.alphas, levels, scheduler, self.prediction, clip)

    def _at(self, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.signal[k][:, None, None], self.noise[k][:, None, None]
