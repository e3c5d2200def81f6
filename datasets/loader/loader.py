"""`Loader`: random batches of windows over datasets, the same for everyone who asks with the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import get_args

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.errors import ConfigError, DatasetError, unknown_name
from robolearn.datasets.format import layout
from robolearn.datasets.loader.action_view import ActionView
from robolearn.datasets.loader.buffers import Buffers
from robolearn.datasets.loader.collection import Collection, Source
from robolearn.datasets.loader.goals import Goal
from robolearn.datasets.loader.images import CacheMode, Images
from robolearn.datasets.loader.memory import MemoryEstimate, plan_memory
from robolearn.datasets.loader.order import BatchOrder
from robolearn.datasets.loader.prefetch import Prefetcher
from robolearn.datasets.loader.relative_actions import RelativeActions
from robolearn.datasets.loader.windows import WindowSpec
from robolearn.datasets.read.reader import Dataset

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Origin:
    """Where windows come from.

    Attributes:
        source: `(B,)` number of the dataset.
        episode: `(B,)` episode of that dataset.
        step: `(B,)` the window's current step in that dataset.
    """

    source: np.ndarray
    episode: np.ndarray
    step: np.ndarray


class Loader:
    """Batches of windows as numpy arrays.

    `at(step)` is the batch of training step `step`, whatever was asked before: the step number is all there is to save
    in order to go on in the middle of an epoch. A batch maps each feature of the windows to `(B, T, *shape)`: float32,
    or for images uint8 (depth uint16) as recorded; `goal.<feature>`, `(B, G, *shape)`; and `<feature>.is_pad`,
    `(B, T)` bool. Arrays are the caller's for as long as a reference to one of them, a view or a tensor of it is held.

    Args:
        sources: a dataset, or several with episodes and weights.
        windows: what a policy sees around a step.
        batch_size: windows in a batch, over all processes; smaller datasets give smaller batches.
        seed: of the order and of the goals.
        goals: how goals are chosen; None = there are none.
        cache: what is kept of images, see `Images`; `auto` = the most that needs at most half of the free memory.
            Either way `memory` says how much that will be.
        workers: threads that read and decode the next batches while one is in use; 0 = none. Batches do not depend
            on it.
        resize: image feature -> `(height, width)`.
        shifts: feature -> `(*shape)` float64 that is subtracted from it, before it becomes float32: of numbers far from
            0, float32 holds little. See `Normalizer.shift`.
        rank, world_size: of this process among those that train together; it gets every world_size-th window of
            each batch, so that together they see what one alone would.
        action: layout in which actions are shown, see `ActionView`, of sources that do not say it themselves; what is
            relative to the newest observation is formed in each window, from what is measured at its current step.

    Raises ConfigError, DatasetError or FeatureError for what does not fit together, among it a cache that needs more
    memory than there is.
    """

    def __init__(
        self,
        sources: Dataset | Sequence[Source],
        windows: WindowSpec,
        batch_size: int,
        seed: int = 0,
        *,
        goals: Goal | None = None,
        cache: CacheMode = "auto",
        workers: int = 0,
        resize: Mapping[str, tuple[int, int]] | None = None,
        shifts: Mapping[str, np.ndarray] | None = None,
        rank: int = 0,
        world_size: int = 1,
        action: str | ActionLayout | None = None,
    ):
        if workers < 0 or not 0 <= rank < world_size:
            raise ConfigError(
                f"A loader needs workers >= 0 and 0 <= rank < world_size, found workers={workers}, rank={rank}, "
                f"world_size={world_size}."
            )
        if cache not in get_args(CacheMode):
            raise ConfigError(f"The cache mode must be one of {', '.join(get_args(CacheMode))}, found {cache!r}.")
        self._windows, self._goals, self._seed = windows, goals, seed
        self._goal_features = tuple(goals.features) if goals else ()
        self._shard = slice(rank, None, world_size)
        if isinstance(sources, str | Path):
            raise ConfigError(f"A loader takes an open dataset, Dataset({str(sources)!r}); found the path only.")
        chosen = [Source(sources)] if isinstance(sources, Dataset) else list(sources)
        if action is not None:
            chosen = [s if s.action is not None else replace(s, action=ActionView(s.dataset, action)) for s in chosen]
        self._collection = Collection(chosen, dict.fromkeys([*windows.offsets, *self._goal_features]))
        self._sampler = windows.sampler(self._collection.episode_ends, self._collection.episodes)
        self._columns = {name: windows.columns(name) for name in windows.offsets}
        self._starts = np.concatenate([[0], self._collection.episode_ends])
        self._order = BatchOrder(self._windows_by_source(), self._collection.weights, batch_size, seed, world_size)
        self.batch_size, self.per_epoch = self._order.batch_size, self._order.per_epoch

        features, resize = self._collection.features, dict(resize or {})
        images = [name for name, feature in features.items() if layout.is_encoded(feature)]
        for name in resize:
            if name not in images:
                raise ConfigError("resize: " + unknown_name("image feature", name, images))
        self._images = {name: Images(self._collection, name, resize.get(name)) for name in images}
        shifts = dict(shifts or {})
        for name in shifts:
            if name not in features or name in images:
                raise ConfigError("shifts: " + unknown_name("feature", name, [n for n in features if n not in images]))
        self._workers = workers
        self._ahead = workers + 1 if workers else 0
        self.memory = self._plan_memory(cache, shifts)
        for image in self._images.values():
            image.keep(self.memory.mode)
        self._relative = self._relative_actions(shifts)
        kept = [n for n in features if n not in images and n not in self._relative]
        self._arrays = {n: self._collection.array(n, shifts.get(n)) for n in kept}
        # the batch in use, the one before it and those under way
        self._buffers = Buffers(limit=self._ahead + 2)
        self._prefetcher = Prefetcher(self._make, workers, self._ahead)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._sampler)

    def at(self, step: int) -> Batch:
        """The batch of training step `step`. Ask for one step after the other to have the next ones made ahead.

        Raises DatasetError naming a file that is missing or damaged.
        """
        return self._prefetcher.at(step)

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Batches of steps `start` to `stop`, or without end; nothing is made ahead from `stop` on."""
        for step in count(start) if stop is None else range(start, stop):
            yield self._prefetcher.at(step, stop)

    def all(self) -> Iterator[Batch]:
        """Every window once, in order; the last batch may be smaller."""
        number = -(-len(self) // self.batch_size)
        prefetcher = Prefetcher(self._make_in_order, self._workers, self._ahead)
        try:
            for batch in range(number):
                yield prefetcher.at(batch, number)
        finally:
            prefetcher.close()

    def windows(self, step: int) -> np.ndarray:
        """`(B,)` numbers of the windows in batch `step`; they are numbered as `all` shows them."""
        return self._order.at(step)[self._shard]

    def origin(self, windows: np.ndarray) -> Origin:
        """Where windows come from. Raises IndexError for numbers out of range."""
        steps = self._sampler.steps(windows)[:, -self._windows.first]
        source, episode = self._collection.locate_episodes(self._sampler.episode_of(windows))
        return Origin(source, episode, self._collection.locate(steps)[1])

    def close(self) -> None:
        """End the threads."""
        self._prefetcher.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _windows_by_source(self) -> list[int]:
        ends = np.cumsum(self._collection.episodes_by_source)
        by_source = [int(part.sum()) for part in np.split(self._sampler.windows_per_episode, ends[:-1])]
        for dataset, windows in zip(self._collection.datasets, by_source, strict=True):
            if windows == 0:
                raise DatasetError(
                    f"{dataset.name}: no episode is long enough for one window of {self._windows.horizon} steps."
                )
        return by_source

    def _relative_actions(self, shifts: Mapping[str, np.ndarray]) -> dict[str, RelativeActions]:
        """Actions that are relative to the newest observation, by name."""
        features = self._collection.features
        observed = [n for n in self._windows.offsets if features[n].kind == "state"]
        names = [n for n, feature in features.items() if feature.kind == "action"]
        found = {n: self._collection.relative_actions(n, observed, shifts.get(n)) for n in names}
        for name in (n for n in self._goal_features if found.get(n) is not None):
            raise ConfigError(
                f"Goals of {name!r}, which is relative to each window's newest observation, mean nothing."
            )
        return {n: relative for n, relative in found.items() if relative is not None}

    def _plan_memory(self, cache: CacheMode, shifts: Mapping[str, np.ndarray]) -> MemoryEstimate:
        collection, images = self._collection, self._images.values()
        row = {name: 4 * int(np.prod(feature.shape)) for name, feature in collection.features.items()}
        row |= {image.name: int(np.prod(image.shape)) * image.dtype.itemsize for image in images}
        arrays = sum(collection.array_bytes(name, name in shifts) for name in row if name not in self._images)
        window = sum(row[name] * len(offsets) for name, offsets in self._windows.offsets.items())
        window += sum(row[name] for name in self._goal_features) * (self._goals.horizon if self._goals else 0)
        batches = window * (self._ahead + 2) * len(range(self.batch_size)[self._shard])
        if not images:
            return plan_memory("none", {"none": lambda: 0}, arrays, batches)
        sizes = {
            "decoded": lambda: sum(image.decoded_bytes for image in images),
            "encoded": lambda: sum(image.encoded_bytes for image in images),
            "none": lambda: 0,
        }
        return plan_memory(cache, sizes, arrays, batches)

    def _make(self, step: int) -> Batch:
        return self._gather(self._order.at(step), [1, step])

    def _make_in_order(self, number: int) -> Batch:
        start = number * self.batch_size
        return self._gather(np.arange(start, min(start + self.batch_size, len(self))), [2, start])

    def _gather(self, whole: np.ndarray, stream: list[int]) -> Batch:
        """This process's share of the windows `whole` of a batch; `stream` names its random numbers."""
        steps = self._sampler.steps(whole[self._shard])
        current = steps[:, -self._windows.first]
        batch: Batch = {}
        for name, columns in self._columns.items():
            batch[name] = self._take(name, name, steps[:, columns], current)
        for name in self._windows.pad_masks:
            batch[f"{name}.is_pad"] = self._windows.padding(name, steps)
        if self._goals:
            uniform = np.random.default_rng([self._seed, *stream]).random(len(whole))[self._shard]
            episode = np.searchsorted(self._collection.episode_ends, current, side="right")
            first, last = self._starts[episode], self._starts[episode + 1] - 1
            goal = self._goals.steps(current, first, last, uniform)
            if (
                goal.shape != (len(steps), self._goals.horizon)
                or ((goal < first[:, None]) | (goal > last[:, None])).any()
            ):
                raise ConfigError(
                    f"{type(self._goals).__name__}.steps must give {(len(steps), self._goals.horizon)} steps within "
                    f"their episodes, found {goal.shape}, {goal.min(initial=0)} to {goal.max(initial=0)}."
                )
            for name in self._goal_features:
                batch[f"goal.{name}"] = self._take(f"goal.{name}", name, goal, current)
        return batch

    def _take(self, key: str, name: str, steps: np.ndarray, current: np.ndarray) -> np.ndarray:
        """`(B, T, *shape)`: a feature at `steps` `(B, T)`, in a buffer, of windows whose current steps are `(B,)`."""
        rows, length = steps.shape
        if name in self._images:
            images = self._images[name]
            out = self._buffers.take(key, rows, (length, *images.shape), images.dtype)
            images.gather(steps, out)
        elif name in self._relative:
            relative = self._relative[name]
            out = self._buffers.take(key, rows, (length, relative.size), np.dtype(np.float32))
            relative.windows(steps, current, out)
        else:
            array = self._arrays[name]
            out = self._buffers.take(key, rows, (length, *array.shape[1:]), array.dtype)
            np.take(array, steps, axis=0, out=out, mode="clip")  # the sampler gives no step out of range
        return out
