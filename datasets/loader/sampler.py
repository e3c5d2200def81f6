"""`WindowSampler`: fixed-length windows over episodes, gathered a whole batch at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, unknown_name


class WindowSampler:
    """All windows of `horizon` consecutive steps that stay within one episode.

    A window may begin up to `pad_before` steps before its episode and end up to `pad_after` steps after it; steps
    outside repeat the episode's first or last step. Both paddings are clipped to `horizon - 1`, so that every window
    holds a real step. An episode of length T has `max(0, T + pad_before + pad_after - horizon + 1)` windows, in order
    of their start. An episode of 3 steps (10, 11, 12) with horizon 3, pad_before 1, pad_after 1:

        window   steps
        0        10 10 11
        1        10 11 12
        2        11 12 12

    Source of the rules: diffusion policy (Chi et al. 2023), `research/anchors.md` section 7.

    Args:
        episode_ends: `(E,)` cumulative ends.
        horizon: steps in a window.
        pad_before, pad_after: steps a window may reach over the episode's edges.
        episodes: indices of the episodes to draw from, all by default.

    Attributes:
        windows_per_episode: `(C,)` number of windows of each of `episodes`.

    Raises ConfigError for a horizon below 1, a negative padding or an episode that does not exist.
    """

    def __init__(
        self,
        episode_ends: np.ndarray,
        horizon: int,
        pad_before: int = 0,
        pad_after: int = 0,
        episodes: Sequence[int] | np.ndarray | None = None,
    ):
        if horizon < 1 or pad_before < 0 or pad_after < 0:
            raise ConfigError(
                f"Windows need horizon >= 1 and paddings >= 0, found horizon={horizon}, pad_before={pad_before}, "
                f"pad_after={pad_after}."
            )
        ends = np.asarray(episode_ends, np.int64)
        chosen = np.arange(len(ends)) if episodes is None else np.asarray(episodes, np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(ends)):
            raise ConfigError(f"Episodes must be 0 to {len(ends) - 1}, found {chosen.min()} to {chosen.max()}.")
        self.horizon = horizon
        self.pad_before = min(pad_before, horizon - 1)
        self.pad_after = min(pad_after, horizon - 1)
        self.episodes = chosen
        self._starts = np.concatenate([[0], ends])[chosen]
        self._lasts = ends[chosen] - 1
        lengths = ends[chosen] - self._starts
        counts = np.maximum(0, lengths + self.pad_before + self.pad_after - horizon + 1)
        self.windows_per_episode = counts
        self._window_ends = np.cumsum(counts)
        # window i of the episode at position e begins at step i + shift[e], padding included
        self._shift = self._starts - self.pad_before - (self._window_ends - counts)
        self._within = np.arange(horizon)

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._window_ends[-1]) if self._window_ends.size else 0

    def window(self, index: int) -> np.ndarray:
        """`(horizon,)` global step numbers of one window."""
        return self.steps(np.array([index]))[0]

    def steps(self, index: np.ndarray) -> np.ndarray:
        """`(B, horizon)` global step numbers of windows `(B,)`. Raises IndexError for a number out of range.

        Computed when asked for: the memory of a sampler grows with the number of episodes, not of windows.
        """
        index = np.asarray(index, np.int64)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"Windows are numbered 0 to {len(self) - 1}, found {index.min()} to {index.max()}.")
        position = np.searchsorted(self._window_ends, index, side="right")
        steps = (index + self._shift[position])[:, None] + self._within
        np.maximum(steps, self._starts[position, None], out=steps)
        return np.minimum(steps, self._lasts[position, None], out=steps)

    def episode_of(self, index: np.ndarray) -> np.ndarray:
        """`(B,)` dataset episode that each window belongs to."""
        return self.episodes[np.searchsorted(self._window_ends, index, side="right")]

    def gather(
        self,
        arrays: Mapping[str, np.ndarray],
        index: np.ndarray,
        lengths: Mapping[str, int] | None = None,
    ) -> dict[str, np.ndarray]:
        """Windows of several arrays at once.

        Args:
            arrays: name -> `(N, ...)`, indexed by global step.
            index: `(B,)` window numbers.
            lengths: name -> number of leading steps of the window to take; the whole window where a name is absent.

        Returns name -> `(B, horizon or lengths[name], ...)`. Raises ConfigError for a length that is not
        1 to horizon, DatasetError for an array that is shorter than the episodes.
        """
        steps = self.steps(index)
        lengths = lengths or {}
        for name, length in lengths.items():
            if name not in arrays:
                raise ConfigError(unknown_name("array", name, arrays))
            if not 1 <= length <= self.horizon:
                raise ConfigError(f"The length of {name!r} must be 1 to {self.horizon}, found {length}.")
        try:
            return {
                name: np.take(array, steps[:, : lengths.get(name, self.horizon)], axis=0)
                for name, array in arrays.items()
            }
        except IndexError as error:
            sizes = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
            raise DatasetError(
                f"An array is shorter than the episodes: {sizes} steps, need {steps.max() + 1}."
            ) from error


def split_episodes(num_episodes: int, val_ratio: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and validation episodes, each sorted.

    `max(1, round(num_episodes * val_ratio))` episodes drawn without replacement by `default_rng(seed)` validate; none
    for a ratio of 0. At least one episode is left for training. Raises ConfigError for a ratio outside [0, 1).
    """
    if not 0 <= val_ratio < 1:
        raise ConfigError(f"The validation ratio must be at least 0 and below 1, found {val_ratio}.")
    held_out = np.zeros(num_episodes, bool)
    if val_ratio > 0 and num_episodes > 1:
        count = min(max(1, round(num_episodes * val_ratio)), num_episodes - 1)
        held_out[np.random.default_rng(seed).choice(num_episodes, size=count, replace=False)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
