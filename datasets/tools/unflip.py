"""A dataset whose quaternions do not flip their sign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError, FeatureError, unknown_name
from robolearn.core.feature import Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.quaternions import SIZE, Columns, Norms, flips, may_hold, names_of, steady
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, make_dataset


def unflip(
    parent: Dataset,
    output: Path,
    *,
    names: Sequence[str] = (),
    at: Mapping[str, int] | None = None,
    progress: Progress = no_progress,
) -> Made:
    """Make `output` of `parent` with quaternions of which each stays on the side of the one before it.

    The first of an episode is on the side of the first of the dataset, so that one pose has one sign wherever it is
    seen. Rotations stay what they are: only signs change, exactly. In the grid and in the streams.

    Args:
        parent: the dataset to make it of.
        output: dataset to make; must not exist.
        names: features to look at; all by default.
        at: feature -> first of four elements that are a quaternion although neither name nor value says so.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError when there is no quaternion or none of them flips, FeatureError for a name that is not there.
    """
    vectors = {n: f for n, f in {**parent.streams, **parent.features}.items() if may_hold(f)}
    for name in (*names, *(at or {})):
        if name not in vectors:
            raise FeatureError(f"{parent.name}: {unknown_name('vector of at least 4 floats', name, vectors)}")
    looked = {name: vectors[name] for name in names} if names else vectors
    episodes = parent.intact_episodes.tolist()
    given = _given(vectors, at or {})
    # what is given stands for whatever was found at or across its place
    own = [c for c in _columns(parent, looked, episodes) if not any(_overlap(c, g) for g in given)]
    found = dict.fromkeys(own) | given
    if not found:
        raise ConfigError(
            f"{parent.name}: no quaternion is found in {', '.join(looked) or 'it'}; --at FEATURE=FIRST says where "
            "one is."
        )
    starts, turned = _survey(parent, found, episodes)
    if not any(turned.values()):
        known = ", ".join(f"{c.feature} ({names_of(vectors[c.feature], c)})" for c in found)
        raise ConfigError(f"{parent.name}: no quaternion flips its sign; looked at {known}.")
    notes = [
        f"{c.feature} ({names_of(vectors[c.feature], c)}): {count} of {len(episodes)} episodes have other signs now"
        for c, count in turned.items()
    ]

    def change(dataset: Dataset, episode: EpisodeData) -> EpisodeData:
        values, streams = dict(episode.values), dict(episode.streams)
        for columns in found:
            name = columns.feature
            if name in streams:
                rows = streams[name].values
                assert rows is not None  # it is a vector
                streams[name] = replace(streams[name], values=_steady(rows, columns, starts[columns]))
            elif name in values:
                values[name] = _steady(values[name], columns, starts[columns])
        return replace(episode, values=values, streams=streams)

    options = {"quaternions": [{"feature": c.feature, "first": c.first} for c in found]}
    plan = Plan.like(parent, episodes, "unflip", options)
    return make_dataset(output, replace(plan, change=change, notes=(*plan.notes, *notes)), progress)


def _columns(parent: Dataset, looked: Features, episodes: Sequence[int]) -> dict[Columns, None]:
    found: dict[Columns, None] = {}
    for name, feature in looked.items():
        norms = Norms(feature)
        for episode in episodes:
            norms.add(_rows(parent, name, episode))
        found |= dict.fromkeys(norms.columns())
    return found


def _overlap(one: Columns, other: Columns) -> bool:
    return one.feature == other.feature and abs(one.first - other.first) < SIZE


def _given(vectors: Features, at: Mapping[str, int]) -> dict[Columns, None]:
    for name, first in at.items():
        if not 0 <= first <= vectors[name].shape[0] - SIZE:
            raise ConfigError(
                f"--at {name}={first}: it has {vectors[name].shape[0]} elements, and a quaternion takes {SIZE} of them."
            )
    return dict.fromkeys(Columns(name, first, named=True) for name, first in at.items())


def _survey(
    parent: Dataset, found: Mapping[Columns, None], episodes: Sequence[int]
) -> tuple[dict[Columns, np.ndarray], Counter[Columns]]:
    """(The first quaternion of the dataset, how many episodes have flips), for each quaternion."""
    starts: dict[Columns, np.ndarray] = {}
    turned: Counter[Columns] = Counter()
    for columns in found:
        for episode in episodes:
            rows = _rows(parent, columns.feature, episode)[:, columns.elements]
            if len(rows):
                start = starts.setdefault(columns, rows[0])
                turned[columns] += bool(flips(rows, columns, start).size)
    return starts, turned


def _rows(parent: Dataset, name: str, episode: int) -> np.ndarray:
    if name in parent.streams:
        stream = parent.stream(name)
        return stream.read_values(episode)
    steps = parent.episode_slice(episode)
    return parent.rows(name, steps.start, steps.stop)


def _steady(rows: np.ndarray, columns: Columns, start: np.ndarray) -> np.ndarray:
    mended = rows.copy()
    mended[:, columns.elements] = steady(rows[:, columns.elements], columns, start)
    return mended
