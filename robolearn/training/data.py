"""Batches for training: the loader's, as torch tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from robolearn.datasets.loader import Batch, CacheMode, FutureGoal, Loader, Origin, Source, WindowSpec
from robolearn.datasets.loader.memory import MemoryEstimate
from robolearn.datasets.read.reader import Dataset
from robolearn.execution.policy_spec import PolicySpec


class WindowBatches:
    """Random batches of the windows a policy trains on.

    A window at step t has observations t-W+1..t and actions t-W+1..t+H-1, edge values repeated beyond the
    episode's ends, `action.is_pad` saying where; with a goal-conditioned policy also `goal.<feature>`, from later in
    the episode. Batches of an epoch are a permutation drawn from (seed, epoch), so training can be resumed at any
    step and sees the same batches. Vectors are float32 `(B, T, *shape)` without their shift, images uint8
    `(B, T, H, W, C)`, depth int32 `(B, T, H, W)`.

    Args:
        dataset: one opened dataset, or several with episodes and weights.
        spec: features and horizons of the policy.
        episodes: which episodes of a single dataset to use; several say it themselves.
        batch_size: windows in a batch, over all processes; smaller datasets give smaller batches.
        cache, workers, resize, shifts, rank, world_size: see `Loader`.
    """

    def __init__(
        self,
        dataset: Dataset | Sequence[Source],
        spec: PolicySpec,
        episodes: Sequence[int] | np.ndarray | None,
        batch_size: int,
        seed: int,
        *,
        cache: CacheMode = "auto",
        workers: int = 0,
        resize: Mapping[str, tuple[int, int]] | None = None,
        shifts: Mapping[str, np.ndarray] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ):
        action = spec.action_feature.name
        windows = WindowSpec.chunks(spec.observation_features, action, spec.obs_horizon, spec.action_horizon)
        windows = dataclasses.replace(windows, pad_masks=(action,))
        goals = FutureGoal(tuple(spec.goal_features), spec.goal_horizon) if spec.goal_horizon else None
        sources = [Source(dataset, episodes)] if isinstance(dataset, Dataset) else dataset
        self.loader = Loader(
            sources, windows, batch_size, seed, goals=goals, cache=cache, workers=workers, resize=resize, shifts=shifts,
            rank=rank, world_size=world_size,
        )  # fmt: skip
        self.batch_size, self.per_epoch = self.loader.batch_size, self.loader.per_epoch

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.loader)

    @property
    def memory(self) -> MemoryEstimate:
        """What the loader will take."""
        return self.loader.memory

    def at(self, step: int) -> dict[str, Tensor]:
        """The batch of training step `step`."""
        return _tensors(self.loader.at(step))

    def origin(self, step: int) -> Origin:
        """Where the windows of that batch come from."""
        return self.loader.origin(self.loader.windows(step))

    def all(self) -> Iterator[dict[str, Tensor]]:
        """Every window once, in order."""
        return map(_tensors, self.loader.all())

    def close(self) -> None:
        """End the loader's threads."""
        self.loader.close()


def _tensors(batch: Batch) -> dict[str, Tensor]:
    # torch can store uint16 but hardly compute with it
    wide = {name: value.astype(np.int32) if value.dtype == np.uint16 else value for name, value in batch.items()}
    return {name: torch.from_numpy(value) for name, value in wide.items()}


def on_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The same batch on a device; on a graphics card it is copied while that works on."""
    if device.type != "cuda":
        return {name: value.to(device) for name, value in batch.items()}
    return {name: value.pin_memory().to(device, non_blocking=True) for name, value in batch.items()}
