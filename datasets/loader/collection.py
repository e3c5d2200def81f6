"""`Collection`: several datasets seen as one, their episodes and steps numbered through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, FeatureError, LayoutError, unknown_name
from robolearn.core.feature import Features
from robolearn.core.meaning import meaning_difference, without_differing_robots
from robolearn.core.normalizer import shifted
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.loader.action_view import ActionView
from robolearn.datasets.loader.relative_actions import RelativeActions
from robolearn.datasets.loader.selection import select_episodes, steps_of
from robolearn.datasets.read.reader import Dataset
from robolearn.kinematics.observed import ObservedReference, relative_to_observation

SLAB = 1 << 16
_PLACES = 24
"""Numbers of two poses, that an action leads to and that was measured: position and rotation matrix."""


@dataclass(frozen=True)
class Source:
    """A dataset, or a part of one, to draw windows from.

    Attributes:
        episodes: indices of the episodes to use; None = all but those in quarantine.
        weight: share of the windows drawn, relative to the other sources; None for all = by their sizes.
        action: its actions in another layout; None = as they are stored.
    """

    dataset: Dataset
    episodes: Sequence[int] | np.ndarray | None = None
    weight: float | None = None
    action: ActionView | None = None

    @property
    def features(self) -> Features:
        """Those of the dataset, the action as it is seen."""
        changed = {} if self.action is None else {self.action.feature.name: self.action.feature}
        return {**self.dataset.features, **changed}

    def array(self, name: str, episodes: np.ndarray) -> np.ndarray:
        """`(N, *shape)`: a low-dimensional feature of all steps, read-only, right for these episodes at least.

        Actions relative to the newest observation are absolute in it.
        """
        if self.action is not None and name == self.action.feature.name:
            return self.action.column(episodes)
        return self.dataset.array(name)


class Collection:
    """The episodes chosen from one or more datasets.

    Args:
        sources: at least one.
        names: features that are going to be read; every dataset must have them alike.

    Attributes:
        features: those of `names`.
        episode_ends: `(E,)` of all episodes of all datasets, one dataset after the other.
        episodes: `(C,)` the chosen ones among them, source after source.
        episodes_by_source: how many of these are each source's.

    Raises FeatureError for features that are missing or differ, DatasetError for rates that differ or a source without
    episodes, ConfigError for weights given to some sources only.
    """

    def __init__(self, sources: Sequence[Source], names: Iterable[str]):
        if not sources:
            raise ConfigError("A loader needs at least one dataset, found none.")
        for source in sources:
            if not isinstance(source, Source) or not isinstance(source.dataset, Dataset):
                raise ConfigError(
                    f"A loader takes Dataset(path), or a list of Source(Dataset(path)); found {source!r}."
                )
        given = [source.weight for source in sources if source.weight is not None]
        if given and len(given) != len(sources):
            raise ConfigError(f"Give weights to all {len(sources)} datasets or to none, found {len(given)} weights.")
        self.weights = given or None
        self._sources = list(sources)
        self.datasets = [source.dataset for source in sources]
        self.features = _common_features(sources, list(names))
        self._first_step = np.cumsum([0, *(dataset.num_steps for dataset in self.datasets)])
        self._first_episode = np.cumsum([0, *(dataset.num_episodes for dataset in self.datasets)])
        self.episode_ends = np.concatenate(
            [dataset.episode_ends + first for dataset, first in zip(self.datasets, self._first_step, strict=False)]
        )
        self._chosen = [_episodes_of(source) for source in sources]
        self.episodes = np.concatenate(
            [chosen + first for chosen, first in zip(self._chosen, self._first_episode, strict=False)]
        )
        self.episodes_by_source = [len(chosen) for chosen in self._chosen]

    @property
    def name(self) -> str:
        """For messages."""
        return " + ".join(dataset.name for dataset in self.datasets)

    @property
    def num_steps(self) -> int:
        """Of all episodes, chosen or not."""
        return int(self._first_step[-1])

    def chosen_steps(self) -> np.ndarray:
        """`(N,)` bool: steps of the chosen episodes."""
        return steps_of(self.episode_ends, self.episodes)

    def array(self, name: str, shift: np.ndarray | None = None) -> np.ndarray:
        """`(N, *shape)` float32: a low-dimensional feature of all steps, `shift` subtracted in double precision.

        Raises DatasetError that names the first step of a chosen episode with NaN, infinity or too large a number.
        """
        parts = [
            finite_array(source, name, chosen, shift)
            for source, chosen in zip(self._sources, self._chosen, strict=True)
        ]  # fmt: skip
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def stored_array(self, name: str) -> np.ndarray:
        """`(n, *shape)`: the same of the chosen episodes' steps, in the dtype it is stored in.

        Raises DatasetError like `array`.
        """
        parts = []
        for source, chosen in zip(self._sources, self._chosen, strict=True):
            stored = source.array(name, chosen)
            _require_finite(source.dataset, name, chosen, stored, stored)
            parts.append(stored[steps_of(source.dataset.episode_ends, chosen)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def relative_actions(
        self, name: str, observations: Iterable[str], shift: np.ndarray | None = None
    ) -> RelativeActions | None:
        """The actions `name` of windows, where they are relative to the newest observation; else None.

        Raises LayoutError where none of `observations` says what they are relative to.
        """
        feature = self.features[name]
        if self._sources[0].action is None or not relative_to_observation(feature.layout):
            return None
        assert feature.layout is not None
        reference = ObservedReference(feature.layout, {n: self.features[n] for n in observations})
        states = {n: self.array(n) for n in reference.needs}
        return RelativeActions(reference, self.array(name), states, shift)

    def array_bytes(self, name: str, has_shift: bool = False) -> int:
        """Memory that `array` takes, with what the datasets themselves keep."""
        stored = np.dtype(self.features[name].dtype)
        shared = stored == np.float32 and len(self.datasets) == 1 and not has_shift
        if self._sources[0].action is not None and relative_to_observation(self.features[name].layout):
            return self.num_steps * 4 * (2 * int(np.prod(self.features[name].shape)) + _PLACES)
        return self.num_steps * int(np.prod(self.features[name].shape)) * (stored.itemsize + (0 if shared else 4))

    def encoded(self, name: str, steps: np.ndarray) -> list[bytes]:
        """Images of a feature at `steps`, which rise, as they are stored."""
        bounds = np.searchsorted(steps, self._first_step)
        found: list[bytes] = []
        for dataset, first, low, high in zip(self.datasets, self._first_step, bounds, bounds[1:], strict=False):
            if low < high:
                found += dataset.encoded_many(name, (steps[low:high] - first).tolist())
        return found

    def codecs(self, name: str) -> list[ImageCodec]:
        return [dataset.codec(name) for dataset in self.datasets]

    def locate(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which dataset each step is in, and its number there."""
        source = np.searchsorted(self._first_step, steps, side="right") - 1
        return source, steps - self._first_step[source]

    def locate_episodes(self, episodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which dataset each episode is in, and its number there."""
        source = np.searchsorted(self._first_episode, episodes, side="right") - 1
        return source, episodes - self._first_episode[source]

    def file(self, name: str, step: int) -> str:
        """Where an image is stored, for messages."""
        source, local = self.locate(np.array([step]))
        chunk = ".".join([str(local[0]), *("0" for _ in self.features[name].shape)])
        return f"{self.datasets[source[0]].name}/{layout.data_key(name)}/{chunk}"


def finite_array(source: Source, name: str, episodes: np.ndarray, shift: np.ndarray | None = None) -> np.ndarray:
    """`(N, *shape)` float32: a low-dimensional feature of all steps, `shift` subtracted in double precision.

    Raises DatasetError that names the first step of `episodes` with NaN, infinity or too large a number.
    """
    stored = source.array(name, episodes)
    if shift is None:
        array = shifted(stored, None)
    else:
        array = np.empty(stored.shape, np.float32)
        for start in range(0, len(stored), SLAB):  # double precision of a part at a time
            array[start : start + SLAB] = shifted(stored[start : start + SLAB], shift)
    _require_finite(source.dataset, name, episodes, array, stored)
    return array


def _require_finite(dataset: Dataset, name: str, episodes: np.ndarray, array: np.ndarray, stored: np.ndarray) -> None:
    """`array` is what was made of `stored`."""
    if array.dtype.kind != "f" or (finite := np.isfinite(array)).all():
        return
    bad = ~finite.reshape(len(array), -1).all(axis=1) & steps_of(dataset.episode_ends, episodes)
    if not bad.any():
        return
    step = int(bad.argmax())
    episode = int(np.searchsorted(dataset.episode_ends, step, side="right"))
    within = step - (int(dataset.episode_ends[episode - 1]) if episode else 0)
    what, expected = "a non-finite number", "finite data"
    if np.isfinite(stored[step]).all():
        what, expected = "a number too large for float32", "numbers below 1e37"
    raise DatasetError(
        f"{dataset.name}: feature {name!r} holds {what} in episode {episode} at its step {within} "
        f"(step {step} of all); training needs {expected}. Leave it out with: robolearn dataset drop"
    )


def _episodes_of(source: Source) -> np.ndarray:
    dataset = source.dataset
    if source.episodes is None:
        return select_episodes(dataset)
    chosen = np.asarray(source.episodes, np.int64)
    if not chosen.size:
        raise DatasetError(f"{dataset.name}: no episode was chosen; expected at least one.")
    if chosen.min() < 0 or chosen.max() >= dataset.num_episodes:
        raise ConfigError(
            f"{dataset.name} has episodes 0 to {dataset.num_episodes - 1}; found {chosen.min()} to {chosen.max()}."
        )
    return chosen


def _common_features(sources: Sequence[Source], names: Sequence[str]) -> Features:
    for source in sources:
        for name in names:
            if name not in source.dataset.features:
                raise FeatureError(f"{source.dataset.name}: " + unknown_name("feature", name, source.dataset.features))
    tables = [source.features for source in sources]
    first = sources[0].dataset
    for number, features in enumerate(tables[1:], 1):
        other = sources[number].dataset
        if other.fps != first.fps:
            raise DatasetError(
                f"{first.name} has {first.fps:g} steps a second, {other.name} {other.fps:g}; "
                "bring them to one rate with: robolearn dataset resample"
            )
        for name in names:
            ours, theirs = tables[0][name], features[name]
            fields = ["shape", "kind", "names", "unit", "frame"] + ["dtype"] * layout.is_encoded(ours)
            for field in fields:
                a, b = getattr(ours, field), getattr(theirs, field)
                if a != b:
                    raise FeatureError(
                        f"Feature {name!r} has {field} {a} in {first.name} but {b} in {other.name}; "
                        "datasets that are loaded together must agree."
                    )
            for source, earlier in zip(sources, tables[:number], strict=False):  # the first may not say what it means
                # a pose says the same of every robot
                if (difference := meaning_difference(earlier[name], theirs, whose_poses=False)) is not None:
                    raise LayoutError(
                        f"Feature {name!r} is {difference[0]} in {source.dataset.name} but {difference[1]} in "
                        f"{other.name}"
                        + ("; say to which layout both are brought, with --action." if ours.kind == "action" else ".")
                    )
    return {name: without_differing_robots([table[name] for table in tables]) for name in names}
