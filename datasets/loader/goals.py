"""Goals by hindsight: a window's goal is something that happened later in its own episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robolearn.core.errors import ConfigError


class Goal(Protocol):
    """Chooses the steps that are shown as goals. A batch then holds `goal.<feature>`, `(B, G, *shape)`."""

    @property
    def features(self) -> tuple[str, ...]:
        """Whose later samples are shown."""

    @property
    def horizon(self) -> int:
        """G, how many of them."""

    def steps(self, current: np.ndarray, first: np.ndarray, last: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """`(B, G)` global steps, each within `first..last`.

        Args:
            current: `(B,)` the windows' current steps.
            first, last: `(B,)` first and last step of their episodes.
            uniform: `(B,)` random numbers in [0, 1), the only source of chance: drawn from seed and step.
        """


@dataclass(frozen=True)
class FutureGoal:
    """`horizon` consecutive steps that start uniformly after the current one and end within the episode.

    Near the end these are the episode's last `horizon` steps; an episode shorter than that repeats its first one.

    Attributes:
        features: whose future is the goal.
        horizon: steps of a goal.
        within: the goal starts at most so many steps after the current one; None = anywhere later.
    """

    features: tuple[str, ...]
    horizon: int = 1
    within: int | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1 or (self.within is not None and self.within < 1):
            raise ConfigError(f"Goals need horizon and within >= 1, found {self.horizon} and {self.within}.")

    def steps(self, current: np.ndarray, first: np.ndarray, last: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        latest = last + 1 - self.horizon
        earliest = np.minimum(current + 1, latest)
        if self.within is not None:
            latest = np.maximum(earliest, np.minimum(latest, current + self.within))
        start = earliest + np.floor(uniform * (latest - earliest + 1)).astype(np.int64)
        return np.maximum(start[:, None] + np.arange(self.horizon), first[:, None])


@dataclass(frozen=True)
class FinalGoal:
    """The last `horizon` steps of the episode: what it was for."""

    features: tuple[str, ...]
    horizon: int = 1

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(f"Goals need horizon >= 1, found {self.horizon}.")

    def steps(self, current: np.ndarray, first: np.ndarray, last: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return np.maximum(last[:, None] + np.arange(1 - self.horizon, 1), first[:, None])
