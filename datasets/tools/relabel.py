"""A dataset whose actions say the same in another layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.errors import DatasetError, FeatureError, LayoutError, unknown_name
from robolearn.core.feature import Feature, Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.format.alignment import nearest_earlier
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.arms import action_layout, layout_in, said_layout, with_robots
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, make_dataset
from robolearn.kinematics.conversion import Conversion, Mounted, conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.converter import ActionConverter
from robolearn.kinematics.episode import GoalErrors, compare_goals, convert_episode, observed_parts

ACTION = "action"


@dataclass(frozen=True)
class Relabelled:
    """Report of a relabelled dataset.

    Attributes:
        made: the new dataset.
        conversion: which one ran, in one line.
        counts: what is not exact.
        errors: how far the targets of the copy, as it stores them, are from those of the original.
    """

    made: Made
    conversion: str
    counts: Counts
    errors: GoalErrors


def relabel(
    parent: Dataset,
    output: Path,
    dialect: str,
    *,
    stored: str | None = None,
    robots: Mapping[str, str] | None = None,
    arm: str | None = None,
    mounted: Sequence[Mounted] = (),
    progress: Progress = no_progress,
) -> Relabelled:
    """Make `output` of `parent` with its actions written in another dialect; observations are the same.

    Actions follow from those of the original along each episode. What is relative to what is measured is relative to
    what was observed when the action was carried out. Where actions were recorded at a native rate and one of the two
    layouts is relative or a velocity, the copy has them at the rate of its steps, which a note says.

    Args:
        parent: the dataset to make it of.
        output: dataset to make; must not exist.
        dialect: of the new actions.
        stored: dialect of the old ones, where the dataset does not say it itself.
        robots: arm's prefix -> name of its robot, where the dataset does not say it itself.
        arm: of several arms the one that is kept; all by default.
        mounted: where arms stand, for actions in another frame than the arm's base.
        progress: called with (episodes done, episodes in all).

    Raises LayoutError where the dataset does not say what its actions mean, or they cannot be converted exactly.
    """
    features, robots = {**parent.streams, **parent.features}, dict(robots or {})
    if ACTION not in features:
        raise FeatureError(f"{parent.name}: {unknown_name('feature', ACTION, features)}")
    said_itself = features[ACTION].layout
    if stored is not None and said_itself is not None:
        raise LayoutError(
            f"{parent.name} says itself what its actions are: {said_itself.describe()}; no --stored then."
        )
    source = action_layout(parent) if stored is None else said_layout(parent, stored, robots)
    source = with_robots(source, robots)
    if arm is not None and (len(source.arms) < 2 or arm not in source.arms):
        raise LayoutError(f"--arm {arm}: {parent.name} has the arms {list(source.arms)}; of several one can be kept.")
    kept = source if arm is None else replace(
        source, parts=tuple(p for p in source.parts if p.arm == arm),
        robots=tuple(pair for pair in source.robots if pair[0] == arm),
    )  # fmt: skip
    target = layout_in(dialect, kept, parent.name)
    try:
        plan = conversion(source, target, arm, mounted=mounted, dt_s=1.0 / parent.fps)
    except LayoutError as error:
        raise LayoutError(f"{parent.name}: {error}") from error
    job = _Job(parent, features, plan, {"action": dialect, "stored": stored, "robots": robots, "arm": arm})
    made = make_dataset(output, job.plan(), progress)
    return Relabelled(made, plan.description, job.counts, job.errors)


class _Job:
    """What becomes of each episode, and what came of it so far."""

    def __init__(self, parent: Dataset, features: Features, plan: Conversion, options: Json):
        self.counts = Counts()
        self.errors = GoalErrors()
        self._parent = parent
        self._conversion = plan
        self._options = options
        self._observed = {name: features[name] for name in observed_parts(features)}
        self._feature = relabelled(features[ACTION], plan.target)
        parts = (*plan.source.parts, *plan.target.parts)
        # a step between two samples of a stream is none between two steps of the grid
        self._by_stream = ACTION in parent.streams and all(
            part.reference == "absolute" and part.kind != "velocity" for part in parts
        )

    def plan(self) -> Plan:
        """Of the new dataset."""
        plan = Plan.like(self._parent, self._parent.intact_episodes.tolist(), "relabel", self._options)
        notes = list(plan.notes)
        streams = dict(plan.streams)
        if ACTION in streams and self._by_stream:
            streams[ACTION] = relabelled(streams[ACTION], self._conversion.target)
        elif ACTION in streams:
            streams[ACTION] = replace(self._feature, rate_hz=self._parent.fps)
            notes.append(f"{ACTION} was recorded at its own rate; the copy has it at the rate of the steps")
        features = {**plan.features, ACTION: streams.get(ACTION, self._feature)}
        return replace(plan, features=features, streams=streams, change=self._changed, notes=tuple(notes))

    def _changed(self, dataset: Dataset, episode: EpisodeData) -> EpisodeData:
        try:
            if self._by_stream:
                own = episode.streams[ACTION]
                assert own.values is not None
                told = self._convert(own.values, self._seen(episode, own.timestamp))
                return replace(episode, streams={**episode.streams, ACTION: replace(own, values=told)})
            times = episode.timestamps
            if (rows := episode.streams.get(ACTION)) is None:
                told = self._convert(episode.values[ACTION], self._seen(episode, times))
                return replace(episode, values={**episode.values, ACTION: told})
            assert rows.values is not None and rows.at_step is not None
            told = self._convert(rows.values[rows.at_step], self._seen(episode, times))
            at_grid = StreamRows(
                times, np.full(len(told), np.nan), np.arange(len(told)), told, at_step=np.arange(len(told))
            )
            return replace(episode, streams={**episode.streams, ACTION: at_grid})
        except LayoutError as error:
            raise DatasetError(f"{dataset.name}: episode {episode.record['source_episode']}: {error}") from error

    def _convert(self, actions: np.ndarray, seen: dict[str, np.ndarray]) -> np.ndarray:
        converter = ActionConverter(self._conversion, self._observed)
        converter.counts = self.counts
        told = convert_episode(converter, actions, seen).astype(self._feature.dtype)
        compare_goals(self._conversion, self._observed, actions, told, seen, self.errors)
        return told

    def _seen(self, episode: EpisodeData, times: np.ndarray) -> dict[str, np.ndarray]:
        """What had been observed at each of `times`."""
        seen = {}
        for name in self._observed:
            if (rows := episode.streams.get(name)) is not None and rows.values is not None:
                seen[name] = rows.values[np.maximum(nearest_earlier(rows.timestamp, times), 0)]
            else:
                seen[name] = episode.values[name][np.maximum(nearest_earlier(episode.timestamps, times), 0)]
        return seen


def relabelled(feature: Feature, layout: ActionLayout) -> Feature:
    """The feature of actions in another layout."""
    return replace(feature, shape=(layout.size,), names=layout.names, layout=layout, unit=None)
