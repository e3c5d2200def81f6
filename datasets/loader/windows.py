"""`WindowSpec`: which steps around the current one a policy sees of each feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.datasets.loader.sampler import WindowSampler


@dataclass(frozen=True)
class WindowSpec:
    """Steps relative to the current one, t, by feature.

    `{"observation.state": (-1, 0), "action": range(-1, 3)}` is two observations and four actions. Near the ends of an
    episode (here its steps are 10, 11, 12) its first and last step are repeated:

        t     observation.state   action
        10    10 10               10 10 11 12
        11    10 11               10 11 12 12
        12    11 12               11 12 12 12

    Attributes:
        offsets: feature -> offsets that rise, the current step being 0.
        pad_before: how many steps a window may begin before its episode; None = as many as needed for every step to
            be a current one. 0 = t starts where the whole past is recorded.
        pad_after: the same at the end.
        pad_masks: features for which a batch also holds `<feature>.is_pad`, (B, T) bool: which steps are repeats.

    Raises ConfigError for offsets that do not rise and paddings that are negative or longer than the window.
    """

    offsets: Mapping[str, Sequence[int]]
    pad_before: int | None = None
    pad_after: int | None = None
    pad_masks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.offsets:
            raise ConfigError("A window needs at least one feature, found none.")
        for name, offsets in self.offsets.items():
            if not isinstance(name, str):
                raise ConfigError(f"A window needs names of features, such as 'action', found {name!r}.")
            if len(offsets) == 0 or (np.diff(offsets) < 1).any():
                raise ConfigError(f"The offsets of {name!r} must be whole numbers that rise, found {list(offsets)}.")
        object.__setattr__(self, "offsets", {name: tuple(map(int, o)) for name, o in self.offsets.items()})
        for name in self.pad_masks:
            if name not in self.offsets:
                raise ConfigError("pad_masks: " + unknown_name("feature", name, self.offsets))
        for name, most in (("pad_before", -self.first), ("pad_after", self.last)):
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, most)
            elif not 0 <= value <= most:
                raise ConfigError(f"{name} must be 0 to {most} with these offsets, found {value}.")

    @classmethod
    def chunks(cls, observations: Iterable[str], action: str, obs_horizon: int, action_horizon: int) -> WindowSpec:
        """What chunking policies train on: observations t-W+1..t, actions t-W+1..t+H-1.

        Raises ConfigError for names that are no text.
        """
        if isinstance(observations, str):
            raise ConfigError(f"A window needs a list of observations, such as [{observations!r}], found a text.")
        past = 1 - obs_horizon
        return cls({**{name: range(past, 1) for name in observations}, action: range(past, action_horizon)})

    @property
    def first(self) -> int:
        """Earliest offset of all, at most 0."""
        return min(0, *(offsets[0] for offsets in self.offsets.values()))

    @property
    def last(self) -> int:
        """Latest offset of all, at least 0."""
        return max(0, *(offsets[-1] for offsets in self.offsets.values()))

    @property
    def horizon(self) -> int:
        return self.last - self.first + 1

    def sampler(self, episode_ends: np.ndarray, episodes: np.ndarray) -> WindowSampler:
        """All windows of these episodes; column `-first` of a window is its current step."""
        assert self.pad_before is not None and self.pad_after is not None
        return WindowSampler(episode_ends, self.horizon, self.pad_before, self.pad_after, episodes)

    def columns(self, name: str) -> slice | np.ndarray:
        """Where the steps of a feature are in a row of `WindowSampler.steps`."""
        columns = np.asarray(self.offsets[name]) - self.first
        dense = columns[-1] - columns[0] + 1 == len(columns)
        return slice(int(columns[0]), int(columns[-1]) + 1) if dense else columns

    def padding(self, name: str, steps: np.ndarray) -> np.ndarray:
        """`(B, T)` bool: which of a feature's steps are repeats, given windows `(B, horizon)`."""
        current = steps[:, -self.first, None]
        return steps[:, self.columns(name)] != current + np.asarray(self.offsets[name])
