"""Batches for training: windows of a dataset, in an order that depends on the seed and the step only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robolearn.core.errors import DatasetError
from robolearn.datasets.reader import Dataset
from robolearn.datasets.sampler import WindowSampler
from robolearn.policies.base import Policy


def finite_array(dataset: Dataset, name: str) -> np.ndarray:
    """(N, *shape): a feature of all steps. Raises DatasetError that names the first step with NaN or infinity."""
    array = dataset.array(name)
    if not np.isfinite(array).all():
        step = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DatasetError(
            f"{dataset.path}: feature {name!r} holds a non-finite number at step {step}; training needs finite data."
        )
    return array


class WindowBatches:
    """Random batches of the windows a policy trains on.

    A window at step t has observations t-W+1..t and actions t-W+1..t+H-1, edge values repeated beyond the
    episode's ends. Batches of an epoch are a permutation drawn from (seed, epoch), so training can be resumed at
    any step and sees the same batches.

    Args:
        dataset: opened dataset; low-dim features are held in RAM.
        policy: gives features and horizons.
        episodes: which episodes to use.
        batch_size: windows in a batch; smaller datasets give smaller batches.
    """

    def __init__(
        self, dataset: Dataset, policy: Policy, episodes: Sequence[int] | np.ndarray, batch_size: int, seed: int
    ):
        spec = policy.spec
        self._w, self._g = spec.obs_horizon, policy.goal_horizon
        self._observations = list(spec.observation_features)
        action = spec.action_feature.name
        names = (*self._observations, action)
        self._arrays = {name: finite_array(dataset, name).astype(np.float32) for name in names}
        self._lengths = dict.fromkeys(self._observations, self._w)
        horizon = self._w - 1 + spec.action_horizon
        self._sampler = WindowSampler(
            dataset.episode_ends, horizon, self._w - 1, spec.action_horizon - 1, episodes=episodes
        )
        if len(self._sampler) == 0:
            raise DatasetError(f"{dataset.path}: no episode is long enough for one window of {horizon} steps.")
        self._ends = dataset.episode_ends
        self.batch_size = min(batch_size, len(self._sampler))
        self.per_epoch = len(self._sampler) // self.batch_size
        self._seed = seed
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._sampler)

    def at(self, step: int) -> dict[str, Tensor]:
        """The batch of training step `step`."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._sampler))
            self._epoch = epoch
        index = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        return self._gather(index, np.random.default_rng([self._seed, 1, step]))

    def all(self) -> Iterator[dict[str, Tensor]]:
        """Every window once, in order."""
        for start in range(0, len(self._sampler), self.batch_size):
            index = np.arange(start, min(start + self.batch_size, len(self._sampler)))
            yield self._gather(index, np.random.default_rng([self._seed, 2, start]))

    def _gather(self, index: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        batch: dict[str, Any] = self._sampler.gather(self._arrays, index, self._lengths)
        if self._g:
            steps = self._goal_steps(index, rng)
            for name in self._observations:
                batch[f"goal.{name}"] = self._arrays[name][steps]
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()}

    def _goal_steps(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B, G) steps of hindsight goals: G consecutive steps that start uniformly after the window's newest
        observation and end within its episode; near the end, the episode's last G steps. An episode shorter
        than G repeats its first step."""
        newest = self._sampler.steps(index)[:, self._w - 1]
        episode = np.searchsorted(self._ends, newest, side="right")
        begin = np.concatenate([[0], self._ends])[episode]
        last = self._ends[episode] - self._g
        first = np.minimum(newest + 1, last)
        start = first + np.floor(rng.random(len(index)) * (last - first + 1)).astype(np.int64)
        return np.maximum(start[:, None] + np.arange(self._g), begin[:, None])
