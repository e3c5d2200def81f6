"""What of a dataset is exported, as the exporters see it: episodes and steps counted from 0 without gaps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature, Features
from robolearn.datasets.convert.origin import Origin
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.reader import Dataset

TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class ExportedDataset:
    """Some episodes of a dataset.

    Attributes:
        dataset: the open dataset.
        episodes: index in the dataset of each exported episode, in its order.
    """

    dataset: Dataset
    episodes: tuple[int, ...]

    @classmethod
    def open(cls, path: Path | str, mask: str | None) -> ExportedDataset:
        """All episodes of the dataset, or those in `mask`; never those in quarantine.

        Raises ConfigError for an unknown mask, DatasetError when nothing is left.
        """
        dataset = Dataset(path)
        episodes = dataset.intact_episodes
        if mask is not None:
            if mask not in dataset.masks:
                raise ConfigError(f"{path}: " + unknown_name("mask", mask, dataset.masks))
            episodes = episodes[dataset.mask(mask)[episodes]]
        if not len(episodes):
            raise DatasetError(f"{path} has no episode to export: {dataset.num_episodes} recorded, none chosen.")
        return cls(dataset, tuple(episodes.tolist()))

    @property
    def features(self) -> Features:
        """What every step holds."""
        return {name: feature for name, feature in self.dataset.features.items() if not layout.is_event(feature)}

    @property
    def fps(self) -> float:
        return self.dataset.fps

    @property
    def metadata(self) -> Json:
        """Facts about the whole dataset."""
        return dict(self.dataset.attributes.get("metadata", {}))

    @property
    def num_episodes(self) -> int:
        return len(self.episodes)

    @cached_property
    def ends(self) -> np.ndarray:
        """`(E,)` int64: the step after the last one of each exported episode."""
        lengths = np.diff(self.dataset.episode_ends, prepend=0)
        return np.cumsum(lengths[list(self.episodes)], dtype=np.int64)

    @property
    def num_steps(self) -> int:
        return int(self.ends[-1])

    def length(self, episode: int) -> int:
        """Steps of exported episode number `episode`."""
        return int(self.ends[episode] - (self.ends[episode - 1] if episode else 0))

    def slice(self, episode: int) -> slice:
        """The dataset's steps of exported episode number `episode`."""
        return self.dataset.episode_slice(self.episodes[episode])

    def rows(self, name: str, episode: int) -> np.ndarray:
        """`(T, *shape)` of a low-dimensional feature, or `(T,)` float64 true times for `timestamp`."""
        steps = self.slice(episode)
        return self.dataset.rows(name, steps.start, steps.stop)

    def require(self, name: str, fits: Callable[[np.ndarray], np.ndarray], limit: str) -> None:
        """Check every value of a low-dimensional feature: `fits` says of `(T, *shape)` which ones a format can hold.

        Raises FeatureError naming feature, value, episode and step, and `limit`, for the first that it cannot.
        """
        for episode in range(self.num_episodes):
            rows = self.rows(name, episode)
            misfits = np.argwhere(~fits(rows))
            if len(misfits):
                step = int(misfits[0][0])
                raise FeatureError(
                    f"{limit}; {name!r} holds {rows[tuple(misfits[0])]} at step {step} of episode "
                    f"{self.episodes[episode]}. Leave the feature out first: robolearn dataset drop"
                )

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """`(stop - start, *shape)` of exported steps, across episodes; images decoded."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        pieces = []
        for episode in range(first, self.num_episodes):
            begin = int(self.ends[episode]) - self.length(episode)
            if begin >= stop:
                break
            steps = self.slice(episode)
            low = steps.start + max(start - begin, 0)
            high = steps.start + min(stop, int(self.ends[episode])) - begin
            if name != TIMESTAMP and layout.is_encoded(self.features[name]):
                pieces.append(np.stack([self.dataset.image(name, step) for step in range(low, high)]))
            else:
                pieces.append(self.dataset.rows(name, low, high))
        return np.concatenate(pieces)

    @cached_property
    def records(self) -> list[Json]:
        """The record of each exported episode, label edits applied, without what a writer fills in."""
        records = self.dataset.episodes
        return [{k: v for k, v in records[i].items() if k not in layout.RESERVED} for i in self.episodes]

    @cached_property
    def masks(self) -> dict[str, list[int]]:
        """Masks as lists of exported episodes; those without any are left out."""
        chosen = {name: np.flatnonzero(self.dataset.mask(name)[list(self.episodes)]) for name in self.dataset.masks}
        return {name: [int(i) for i in members] for name, members in chosen.items() if members.size}

    @property
    def has_sim_states(self) -> bool:
        return self.dataset.sim_states(self.episodes[0]) is not None

    def keys(self, rule: Callable[[Feature], str], rename: Mapping[str, str], taken: tuple[str, ...]) -> dict[str, str]:
        """Name of each feature in the other format: what `rename` says, else what `rule` says.

        Raises ConfigError for an unknown feature, a name that is not one, and two features with one name.
        """
        for name in rename:
            if name not in self.features:
                raise ConfigError("--rename: " + unknown_name("feature", name, self.features))
        names = {name: rename.get(name, rule(feature)) for name, feature in self.features.items()}
        for name, key in names.items():
            if not key or "/" in key or key.startswith(".") or key in taken:
                raise ConfigError(f"Feature {name!r} cannot be called {key!r} there; choose with --rename {name}=NAME.")
        for name, key in names.items():
            twin = next(other for other, found in names.items() if found == key)
            if twin != name:
                raise ConfigError(f"{twin!r} and {name!r} would both be called {key!r}; use --rename {name}=NAME.")
        return names

    def origin(self, keys: Mapping[str, str], timestamp: str, with_episodes: bool = True) -> Origin:
        """The document that travels along; `keys` is feature name -> name in the other format."""
        return Origin(
            self.fps,
            self.features,
            {key: name for name, key in keys.items()},
            timestamp,
            self.metadata,
            self.dataset.sim_env,
            self.masks,
            list(self.episodes),
            self.records if with_episodes else [],
        )

    def fingerprint(self) -> str:
        """sha256 of all that an export depends on, data (by its checksums), labels and masks."""
        content = {
            "data": self.dataset.checksum(),
            "metadata": self.metadata,
            "episodes": self.episodes,
            "records": self.records,
            "masks": self.masks,
        }
        return hashlib.sha256(layout.to_json(content)).hexdigest()

    def notes(self, carries_sim: bool) -> list[str]:
        """What no format, or this one, can hold."""
        found = []
        left_out = self.dataset.num_episodes - self.num_episodes
        if left_out:
            found.append(f"{left_out} of {self.dataset.num_episodes} episodes are left out (quarantine or mask)")
        if self.dataset.attributes.get("recorded") == "streams":
            found.append(f"streams at their own rates are not carried over, only the steps at {self.fps:g} Hz")
        if self.has_sim_states and not carries_sim:
            found.append("simulator states and models are not carried over")
        return found
