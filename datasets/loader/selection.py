"""Which episodes of a dataset take part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset


def select_episodes(dataset: Dataset, masks: Sequence[str] = (), successful: bool = False) -> np.ndarray:
    """Indices of the episodes that are in all of `masks`, sorted.

    Episodes that `robolearn dataset repair` found broken, the mask "quarantine", are left out unless `masks` names it.

    Args:
        masks: names of masks of the dataset; none = all episodes.
        successful: only episodes whose record says `success: true`.

    Raises DatasetError for a mask that does not exist and for a choice that leaves no episode.
    """
    chosen = np.ones(dataset.num_episodes, bool)
    if QUARANTINE not in masks:
        chosen &= ~dataset.mask(QUARANTINE)
    for name in masks:
        chosen &= dataset.mask(name)
    if successful:
        chosen &= np.array([record.get("success") is True for record in dataset.episodes], bool)
    if not chosen.any():
        wanted = [f"in mask {name!r}" for name in masks] + ["successful"] * successful
        condition = f" is {' and '.join(wanted)}" if wanted else " is usable"
        raise DatasetError(
            f"{dataset.name}: none of its {dataset.num_episodes} episodes{condition}; "
            f"see them with: robolearn dataset info {dataset.name}"
        )
    return np.flatnonzero(chosen)


def steps_of(episode_ends: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """`(N,)` bool: which steps belong to these episodes, given the cumulative ends `(E,)` of all."""
    starts = np.concatenate([[0], episode_ends])
    change = np.zeros(int(starts[-1]) + 1, np.int64)
    np.add.at(change, starts[episodes], 1)
    np.add.at(change, starts[np.asarray(episodes) + 1], -1)
    return np.cumsum(change[:-1]) > 0
