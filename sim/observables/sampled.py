"""How often, how late and how exactly something is seen: `Sensing` says it, `Sampled` and `Schedule` do it.

A camera of 10 Hz that is 60 ms late, asked 20 times a second, physics at 500 Hz:

    asked at      0 ms   50   100   150   200   250   300
    sampled at    0           100         200         300
    given         v0     v0   v0    v0    v100  v100  v200     the sample of 100 ms is there from 160 ms on: at 200

(at 150 ms that sample is only 50 ms old). Before the first sample is old enough it is given all the same. Without a
rate a sample is taken whenever it is asked. Samples are taken between physics steps and change nothing of the
simulation. Noise is drawn from the start state's number and the time of the sample: the same episode is seen the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import ConfigError

Noise = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""(value, random numbers) -> what is measured of it, an array of the same shape."""


@dataclass(frozen=True)
class Gaussian:
    """Noise of a standard deviation, the same for all numbers of a feature or one for each."""

    deviation: float | tuple[float, ...]

    def __call__(self, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noisy = value + np.asarray(self.deviation) * rng.standard_normal(value.shape)
        if value.dtype.kind not in "ui":
            return noisy
        limits = np.iinfo(value.dtype)
        return np.clip(np.rint(noisy), limits.min, limits.max)


@dataclass(frozen=True)
class Sensing:
    """See the module's text.

    Attributes:
        rate_hz: samples per second; None = one whenever it is asked.
        delay_s: how old a sample is, at least, when it is given.
        noise: None = none.

    Raises ConfigError for a rate that is not above 0 and a delay below 0.
    """

    rate_hz: float | None = None
    delay_s: float = 0.0
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not 0 < self.rate_hz < math.inf:
            raise ConfigError(f"A sensor's rate must be above 0 Hz, found {self.rate_hz}.")
        if not 0 <= self.delay_s < math.inf:
            raise ConfigError(f"A sensor's delay must be at least 0 s, found {self.delay_s}.")


class Sampled:
    """What is given of one feature, by physics steps since the episode began.

    Args:
        name: of the feature; its noise is its own.
        read: the value now.
        timestep_s: of a physics step.
    """

    def __init__(self, name: str, read: Callable[[], np.ndarray], dtype: str, sensing: Sensing, timestep_s: float):
        self._name, self._read, self._dtype, self._noise = name, read, np.dtype(dtype), sensing.noise
        self._per_step = sensing.rate_hz and sensing.rate_hz * timestep_s  # samples
        self._delay = math.ceil(sensing.delay_s / timestep_s - 1e-6)
        self._seed: Sequence[int] = ()
        self._held: deque[tuple[int, np.ndarray]] = deque()  # (step, value), the oldest is what is given

    def begin(self, step: int, seed: Sequence[int]) -> None:
        """An episode begins, or goes on from a state: nothing is remembered, what is seen now has been so before."""
        self._seed = (*seed, *self._name.encode())
        self._held.clear()
        self._take(step)

    def next_due(self, step: int) -> int | None:
        """The first step after `step` at which a sample is taken."""
        if not self._per_step:
            return None
        # sample n is taken at the first step that is not before n / rate
        return math.ceil((math.floor(step * self._per_step + 1e-6) + 1) / self._per_step - 1e-6)

    def sample(self, step: int) -> None:
        """Take the sample of this step."""
        if self._held[-1][0] != step:
            self._take(step)

    def given(self, step: int) -> np.ndarray:
        """The newest sample that is old enough."""
        if not self._held:  # looked at before the first episode
            self._take(step)
        if not self._per_step:
            self.sample(step)
        while len(self._held) > 1 and self._held[1][0] + self._delay <= step:
            self._held.popleft()
        return self._held[0][1]

    def _take(self, step: int) -> None:
        value = np.asarray(self._read(), self._dtype)
        if self._noise is not None:
            rng = np.random.default_rng([*self._seed, step])
            value = np.asarray(self._noise(value, rng)).astype(self._dtype)
        self._held.append((step, np.array(value)))


class Schedule:
    """All that is sampled of an environment."""

    def __init__(self, sampled: Sequence[Sampled]):
        self._sampled = tuple(sampled)

    def begin(self, step: int, seed: Sequence[int]) -> None:
        for sampled in self._sampled:
            sampled.begin(step, seed)

    def next_due(self, step: int, end: int) -> int:
        """The first step after `step` at which something is sampled, at most `end`."""
        return min([end, *(due for sampled in self._sampled if (due := sampled.next_due(step)) is not None)])

    def sample(self, step: int) -> None:
        """Take the samples of this step."""
        for sampled in self._sampled:
            if sampled.next_due(step - 1) == step:
                sampled.sample(step)
