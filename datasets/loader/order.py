"""`BatchOrder`: which windows make up a batch, as a function of the seed and the number of the batch only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from robolearn.core.errors import ConfigError


class BatchOrder:
    """Epoch after epoch of random batches; nothing is remembered, so any batch can be asked for at any time.

    One source: an epoch is a permutation of its windows. Several sources with weights: an epoch has as many windows
    as the sources have together, shared out by weight; a source with a smaller share than it has windows goes on in
    the next epoch where it stopped, one with a larger share repeats. Each has at least one window in an epoch, and
    goes through all of its windows, in an order of its own, before it repeats one. What does not fill a batch at the
    end of an epoch is left out.

    Args:
        counts: windows of each source; they are numbered through, source after source.
        weights: share of each source; None = by its size, which makes all sources one.
        batch_size: windows in a batch; no more than there are.
        multiple_of: batches are made of so many equal shards.

    Raises ConfigError for weights that are not positive, batch sizes below 1 or not divisible.
    """

    def __init__(
        self, counts: Sequence[int], weights: Sequence[float] | None, batch_size: int, seed: int, multiple_of: int = 1
    ):
        self._total = int(sum(counts))
        if batch_size < 1 or batch_size % multiple_of:
            raise ConfigError(f"The batch size must be a positive multiple of {multiple_of}, found {batch_size}.")
        if self._total < multiple_of:
            raise ConfigError(f"There are {self._total} windows for {multiple_of} processes; use fewer.")
        self.batch_size = min(batch_size, self._total // multiple_of * multiple_of)
        self.per_epoch = self._total // self.batch_size
        self._seed = seed
        self._counts = [self._total] if weights is None else list(counts)
        self._shares = [self._total] if weights is None else _apportion(self._total, weights)
        # two, because batches made ahead reach into the next epoch
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, step: int) -> np.ndarray:
        """`(batch_size,)` window numbers of batch `step`. Raises ConfigError for a negative step."""
        if step < 0:
            raise ConfigError(f"Batches are numbered from 0, found {step}.")
        epoch, position = divmod(step, self.per_epoch)
        return self._epoch(epoch)[position * self.batch_size : (position + 1) * self.batch_size]

    def _shuffle(self, epoch: int) -> np.ndarray:
        slots = np.random.default_rng([self._seed, epoch]).permutation(self._total)
        if len(self._counts) == 1:
            return slots
        first = np.cumsum([0, *self._counts[:-1]])
        drawn = [start + self._draw(source, epoch) for source, start in enumerate(first)]
        return np.concatenate(drawn)[slots]

    def _draw(self, source: int, epoch: int) -> np.ndarray:
        """`(share,)` windows of one source: a piece of its endless row of permutations."""
        count, share = self._counts[source], self._shares[source]
        first_pass, skip = divmod(epoch * share, count)
        passes = range(first_pass, first_pass + -(-(skip + share) // count))
        order = [np.random.default_rng([self._seed, 3, source, number]).permutation(count) for number in passes]
        return np.concatenate([*order, np.zeros(0, np.int64)])[skip : skip + share]


def _apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Whole shares of `total` in proportion to `weights`, by largest remainder; at least 1 each."""
    share = np.asarray(weights, np.float64)
    if not (np.isfinite(share).all() and (share > 0).all()):
        raise ConfigError(f"Weights of datasets must be positive numbers, found {list(weights)}.")
    exact = total * share / share.sum()
    whole = np.floor(exact).astype(np.int64)
    rest = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:rest]] += 1
    for missed in np.flatnonzero(whole == 0):
        whole[whole.argmax()] -= 1
        whole[missed] = 1
    return [int(count) for count in whole]
