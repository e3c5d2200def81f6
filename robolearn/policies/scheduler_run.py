"""A scheduler of diffusers as a sampling run: a pure function, as the tables of `ddpm` are.

A scheduler counts its steps and keeps former estimates while it steps. It is prepared once (`set_timesteps`); every
run works on a copy of what it holds then, so that nothing of one chunk reaches another, nor one thread the other.

Two kinds of noisy chunk occur: x_k = sqrt(abar) x + sqrt(1 - abar) eps, which the network was trained on, and
x + sigma eps with sigma^2 = 1 / abar - 1, which `scale_model_input` divides by sqrt(sigma^2 + 1) to get the former.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from robolearn.core.errors import ConfigError, one_line
from robolearn.policies.ddpm import NoiseSchedule, SamplingTable, fits_table, table_from_diffusers

T = TypeVar("T")

KNOWN, TOLERANCE = 0.1, 0.2  # answer of the network in the rehearsal; some schedulers end with a little noise
DRIFT, ROUNDED = 0.1, 1e-5  # standard deviations; what begins at a large sigma loses digits of single precision
FAR = 3.0  # an answer in multiples of the bound, to see whether the scheduler clips it


class SchedulerRun:
    """A prepared scheduler with the noise level of each network call.

    Args:
        scheduler: after its `set_timesteps`.
        schedule: what the network was trained with.
        clip: bound of the estimates of the clean chunk where the scheduler does not clip them itself.
        options: further arguments of the scheduler's `step`, such as the `eta` of a DDIMScheduler.

    Attributes:
        levels: of the network calls, whole numbers or between two of those trained on.

    Raises ConfigError for a scheduler that cannot step, or that does not end at what a network predicts that knows the
    answer: it is for another kind of noise or another prediction.
    """

    def __init__(
        self,
        scheduler: Any,
        schedule: NoiseSchedule,
        clip: float = math.inf,
        options: Mapping[str, Any] | None = None,
    ):
        self._scheduler, self._prediction, self._options = scheduler, schedule.prediction, dict(options or {})
        self._name, takes = type(scheduler).__name__, inspect.signature(scheduler.step).parameters
        self._draws, self._needs_following = "generator" in takes, "prev_timestep" in takes
        self._times = list(scheduler.timesteps.cpu())
        self.levels: tuple[float, ...] = tuple(scheduler.timesteps.tolist())
        self._start, self._clip = float(getattr(scheduler, "init_noise_sigma", 1.0)), math.inf
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)  # otherwise each run searches for its first step
        sigmas = self._noise_levels()
        self._check_levels(sigmas, schedule)
        self._signal = [1 / math.sqrt(1 + sigma**2) for sigma in sigmas]
        self._noise = [sigma / math.sqrt(1 + sigma**2) for sigma in sigmas]
        self._rehearse(min(KNOWN, clip / 2), schedule)
        if clip < math.inf and not abs(self._rehearsed(FAR * clip)[0]) < (1 + FAR) / 2 * clip:
            self._clip = clip

    def __call__(
        self, predict: Callable[[Tensor, int], Tensor], x: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Denoise standard normal x; `predict(x, i)` is the network at `levels[i]`."""
        scheduler, options = self._fresh(), self._options
        if self._draws:
            options = {**options, "generator": generator}
        if self._start != 1:
            x = x * self._start
        for i, time in enumerate(self._times):
            seen = scheduler.scale_model_input(x, time)
            prediction = predict(seen, i)
            if self._clip < math.inf:
                prediction = self._clipped(prediction, seen, i)
            if self._needs_following:
                options = {**options, "prev_timestep": self._times[i + 1] if i + 1 < len(self._times) else None}
            x = scheduler.step(prediction, time, x, **options, return_dict=False)[0]
        return x

    def _fresh(self) -> Any:
        """The scheduler as it was prepared; it replaces tensors, but changes its lists in place."""
        scheduler = copy.copy(self._scheduler)
        for name, value in vars(scheduler).items():
            if isinstance(value, list):
                setattr(scheduler, name, list(value))
        return scheduler

    def _clipped(self, prediction: Tensor, seen: Tensor, i: int) -> Tensor:
        """The prediction whose estimate of the clean chunk lies within the bound; unchanged where it does already."""
        signal, noise = self._signal[i], self._noise[i]
        if self._prediction == "sample":
            return prediction.clamp(-self._clip, self._clip)
        if self._prediction == "epsilon":
            clean, share = (seen - noise * prediction) / signal, signal / noise
        else:
            clean, share = signal * seen - noise * prediction, 1 / noise
        return prediction + share * (clean - clean.clamp(-self._clip, self._clip))

    def _noise_levels(self) -> list[float]:
        """sigma of each network call, as the scheduler counts it."""
        scheduler, one = self._fresh(), torch.ones(1, 2, 1, dtype=torch.float64)
        options = {"generator": torch.Generator().manual_seed(0)} if self._draws else {}

        def level(i: int, time: Tensor) -> float:
            scaled = float(scheduler.scale_model_input(one, time).max())
            if scaled == 1 and not hasattr(scheduler, "sigmas"):
                return math.sqrt(1 / float(scheduler.alphas_cumprod[int(time)]) - 1)
            sigma = float(scheduler.sigmas[i]) if scaled == 1 else math.sqrt(1 / scaled**2 - 1)
            scheduler.step(
                one, time, one, **options, return_dict=False
            )  # second-order ones then take a level in between
            return sigma

        return self._or_refused(lambda: [level(i, time) for i, time in enumerate(self._times)])

    def _check_levels(self, sigmas: list[float], schedule: NoiseSchedule) -> None:
        """Raise ConfigError where the network would be told another level than that of the noise in its input."""
        trained = (1 / schedule.alphas - 1).sqrt().log().double()
        if not all(map(math.isfinite, (*self.levels, *sigmas))):
            raise ConfigError(
                f"{self._name} has noise levels that are not finite in {len(self.levels)} network calls; take other "
                "scheduler_options or sampling_steps."
            )
        for level, sigma in zip(self.levels, sigmas, strict=True):
            # schedulers round levels down: what they tell may be one off
            low, high = (min(max(int(level) + near, 0), schedule.steps - 1) for near in (-1, 2))
            if not trained[low] - 0.01 <= math.log(max(sigma, 1e-12)) <= trained[high] + 0.01:
                raise ConfigError(
                    f"{self._name} tells the network noise level {level:.4g}, found noise of {sigma:.4g} times the "
                    f"clean chunk, which is not that of this level in the policy's {schedule.steps}."
                )

    def _rehearse(self, known: float, schedule: NoiseSchedule) -> None:
        """Raise ConfigError unless it ends at what a network predicts that knows the clean chunk. A run that draws no
        noise must also keep that which it began with: then each step ends at the level where the next one begins."""
        found, drift = self._rehearsed(known)
        if not abs(found - known) < TOLERANCE:
            raise ConfigError(
                f"{self._name} made {found:.3g} in {len(self.levels)} network calls of what a network that knows the "
                f"answer predicted, {known:g}; take other scheduler_options or sampling_steps (as many as were "
                f"trained, {schedule.steps}, are too many for some)."
            )
        if drift > DRIFT + ROUNDED * self._start:
            raise ConfigError(
                f"{self._name} does not end its steps at the noise levels where the next ones begin, "
                f"{', '.join(f'{level:g}' for level in self.levels[:4])} and so on; take another timestep_spacing, "
                "steps_offset or number of sampling_steps."
            )

    def _rehearsed(self, answer: float) -> tuple[float, float]:
        """What becomes of a network that always knows the clean chunk, `answer`: of many numbers the one furthest, and
        by how much the noise changed under way where none was drawn."""
        x = torch.randn(2, 8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        noise: list[Tensor] = []
        draws = torch.Generator().manual_seed(1)
        before = draws.get_state()

        def perfect(seen: Tensor, i: int) -> Tensor:
            noise.append((seen - self._signal[i] * answer) / self._noise[i])
            if self._prediction == "epsilon":
                return noise[-1]
            if self._prediction == "sample":
                return torch.full_like(seen, answer)
            return self._signal[i] * noise[-1] - self._noise[i] * answer

        found = self._or_refused(lambda: self(perfect, x, draws))
        kept = draws.get_state().equal(before)
        changed = max(float((eps - noise[0]).abs().max()) for eps in noise) if kept else 0.0
        return float(found.flatten()[(found - answer).abs().argmax()]), changed

    def _or_refused(self, doing: Callable[[], T]) -> T:
        """What it gives; ConfigError for whatever a scheduler, which is another package's, raises."""
        try:
            return doing()
        except Exception as error:
            raise ConfigError(
                f"{self._name} fails at a step with predictions of {self._prediction!r}: {one_line(error)}"
            ) from error


def sampler_of(
    scheduler: Any, schedule: NoiseSchedule, clip: float = math.inf, options: Mapping[str, Any] | None = None
) -> SamplingTable | SchedulerRun:
    """How to sample as a prepared scheduler does: our table where it can be one, or else the scheduler itself.

    Raises ConfigError for a scheduler that expects another network than the one trained with `schedule`, or that cannot
    sample from it.
    """
    config, alphas = scheduler.config, getattr(scheduler, "alphas_cumprod", None)
    expected = config.get("prediction_type", "no type that is known")
    if alphas is None or expected != schedule.prediction:
        raise ConfigError(
            f"The scheduler expects predictions of {expected!r}, found a policy that predicts "
            f"{schedule.prediction!r}; make the scheduler with prediction_type={schedule.prediction!r}."
        )
    alphas = alphas.to(schedule.alphas)
    if alphas.shape != schedule.alphas.shape or not torch.allclose(alphas, schedule.alphas, atol=1e-5):
        raise ConfigError(
            f"The scheduler's {len(alphas)} noise levels are not the {schedule.steps} of {schedule.betas!r} that "
            f"the policy was trained with; expected num_train_timesteps={schedule.steps} and "
            f"beta_schedule={schedule.betas!r}."
        )
    if fits_table(scheduler) and not options:
        return table_from_diffusers(scheduler)
    return SchedulerRun(scheduler, schedule, clip, options)
