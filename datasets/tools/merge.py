"""One dataset of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature, Features
from robolearn.core.meaning import meaning_difference, means_the_same
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import (
    Made,
    Pick,
    Plan,
    make_dataset,
    plain_metadata,
    quarantine_notes,
    source_of,
    source_path,
    state_size,
)
from robolearn.datasets.write.sim_models import world_difference

COMMON = "--common keeps only what is the same in all"


def merge(parents: Sequence[Dataset], output: Path, *, common: bool = False, progress: Progress = no_progress) -> Made:
    """Make `output` of all episodes of `parents`, in the order given; quarantined ones are left out.

    Args:
        parents: at least two datasets with the same rate, and the same features unless `common`.
        output: dataset to make; must not exist.
        common: leave out the features, simulator states and native-rate streams that not all parents have alike.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError, FeatureError or DatasetError naming the first thing in which the parents differ.
    """
    if len(parents) < 2:
        raise ConfigError(f"merge needs at least two datasets, found {len(parents)}.")
    paths = [source_path(parent) for parent in parents]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is given twice; its episodes would be counted twice.")
    first = parents[0]
    for other in parents[1:]:
        if other.fps != first.fps:
            raise DatasetError(
                f"{other.name} has {other.fps:g} Hz, {first.name} has {first.fps:g} Hz; make them equal first: "
                f"robolearn dataset resample {other.name} --fps {first.fps:g} --output NEW.zarr"
            )
    notes = [*quarantine_notes(parents)]
    features = _agreed(parents, [parent.features for parent in parents], common, notes)
    if not features:
        raise FeatureError(f"{', '.join(parent.name for parent in parents)} have no feature in common.")
    if not any(name.startswith("observation") for name in features) and any(
        name.startswith("observation") for name in first.features
    ):
        notes.append(f"no observation is left, only {', '.join(features)}: nothing to train a policy on")
    same_simulator = _have_same_simulator(parents, common, notes)
    streams = _agreed_streams(parents, common, notes)
    picks = [Pick(parent, episode) for parent in parents for episode in parent.intact_episodes.tolist()]
    notes += _twice(picks)
    plan = Plan(
        "merge",
        picks,
        features,
        first.fps,
        _agreed_metadata(parents, notes),
        first.sim_env if same_simulator else None,
        same_simulator,
        streams,
        options={"common": common},
        notes=tuple(notes),
    )
    return make_dataset(output, plan, progress)


def _twice(picks: Sequence[Pick]) -> list[str]:
    """A note when the same recording came through two parents."""
    origins = [tuple(source_of(pick).values()) for pick in picks]
    number = len(origins) - len(set(origins))
    return [f"{number} of the {len(origins)} episodes are in more than one of the datasets"] if number else []


def _agreed(parents: Sequence[Dataset], declared: Sequence[Features], common: bool, notes: list[str]) -> Features:
    """The features that all parents declare alike."""
    agreed = dict(declared[0])
    for parent, theirs in zip(parents[1:], declared[1:], strict=True):
        for name in [*declared[0], *(name for name in theirs if name not in declared[0])]:
            difference = _difference(
                name, declared[0].get(name), theirs.get(name), parents[0].name, parent.name,
                rates=name in parents[0].streams and name in parent.streams,
            )  # fmt: skip
            if difference is None:
                if name in agreed:
                    agreed[name] = _united(agreed[name], theirs[name])
                continue
            if not common:
                raise FeatureError(f"{difference}; {COMMON}.")
            notes.append(f"{difference}: left out")
            agreed.pop(name, None)
    return agreed


def _united(ours: Feature, theirs: Feature) -> Feature:
    """One declaration of two that agree: with the layout of the one that has it, or knows its robots."""
    told = [feature for feature in (ours, theirs) if feature.layout is not None]
    # max takes the first of several
    united = max(told, key=lambda feature: len(feature.layout.robots)) if told else ours  # type: ignore[union-attr]
    return united if ours.rate_hz == theirs.rate_hz else replace(united, rate_hz=None)  # it has that of the steps


def _difference(
    name: str, ours: Feature | None, theirs: Feature | None, our_place: str, their_place: str, rates: bool
) -> str | None:
    """The first thing in which two declarations differ. `rates`: both are streams, so that their rates count."""
    if ours is None or theirs is None:
        has, lacks = (our_place, their_place) if theirs is None else (their_place, our_place)
        return f"{lacks} lacks feature {name!r} of {has}"
    if (meaning := meaning_difference(ours, theirs)) is not None:
        return f"Feature {name!r} is {meaning[1]} in {their_place}, {meaning[0]} in {our_place}"
    same = means_the_same(ours, theirs)
    for field in fields(Feature):
        if field.name == "layout" or (same and field.name in ("names", "unit", "frame")):
            continue  # a layout that only one of them has says what the names of the other say
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if mine != other and (rates or field.name != "rate_hz"):
            return f"Feature {name!r} has {field.name} {other!r} in {their_place}, {mine!r} in {our_place}"
    return None


def _have_same_simulator(parents: Sequence[Dataset], common: bool, notes: list[str]) -> bool:
    """Whether the simulator states of all parents mean the same and may stand in one array."""
    first = parents[0]
    for parent in parents[1:]:
        one, other = first.sim_env or {}, parent.sim_env or {}
        alike = state_size(first) == state_size(parent) and bool(one) == bool(other)
        if not alike or world_difference(one, other):
            difference = f"{parent.name} holds {_simulator(parent)}, {first.name} holds {_simulator(first)}"
            if not common:
                raise DatasetError(f"{difference}; {COMMON}.")
            notes.append(f"{difference}: simulator states left out")
            return False
    return True


def _simulator(parent: Dataset) -> str:
    env, size = parent.sim_env or {}, state_size(parent)
    states = f"simulator states of {size} numbers" if size else "no simulator states"
    robots = f" with {env['robots']}" if env.get("robots") else ""
    return f"{states} of {env.get('name')}{robots}, scene version {env.get('scene_version')}" if env else states


def _agreed_streams(parents: Sequence[Dataset], common: bool, notes: list[str]) -> Features:
    """The features recorded at native rate, when all parents have such streams."""
    with_streams = [bool(parent.streams) for parent in parents]
    if any(with_streams) and not all(with_streams):
        lacking, having = parents[with_streams.index(False)].name, parents[with_streams.index(True)].name
        difference = f"{having} has streams at native rates, {lacking} was recorded step by step"
        if not common:
            raise DatasetError(f"{difference}; --common keeps the aligned steps of both and leaves the streams out.")
        notes.append(f"{difference}: streams left out, the aligned steps are kept")
        return {}
    return _agreed(parents, [parent.streams for parent in parents], common, notes)


def _agreed_metadata(parents: Sequence[Dataset], notes: list[str]) -> Json:
    """What all parents say alike; what they do not stays in the provenance, under the parent it belongs to."""
    found = [plain_metadata(parent) for parent in parents]
    agreed: Json = {}
    for key in {key: None for metadata in found for key in metadata}:
        values = [metadata.get(key) for metadata in found]
        if all(value == values[0] for value in values):
            agreed[key] = values[0]
        else:
            notes.append(f"metadata {key!r} differs between the parents: kept with each in the provenance")
    return agreed
