"""A dataset without some episodes or features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError, FeatureError, unknown_name
from robolearn.core.feature import Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, has_simulator, make_dataset
from robolearn.datasets.tools.select import Selection

SIM = "sim"


def drop(
    parent: Dataset,
    output: Path,
    *,
    selection: Selection | None = None,
    keep_mask: str | None = None,
    features: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Made:
    """Make `output` of `parent` without the selected episodes and without `features`.

    Args:
        parent: the dataset to make it of.
        output: dataset to make; must not exist.
        selection: episodes to leave out; all its parts must hold. Quarantined episodes are left out in any case.
        keep_mask: leave out all episodes that are not in this mask, too.
        features: names of features to leave out; `sim` stands for simulator states and models.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError for an unknown name, or when nothing or everything would be left out.
    """
    kept = ~parent.mask(QUARANTINE)
    selects = selection is not None and not selection.is_all
    if selection is not None and selects:
        kept &= ~selection.find(parent)
    if keep_mask is not None:
        kept &= parent.mask(keep_mask)
    if kept.all() and not features:
        if selects or keep_mask is not None:
            raise ConfigError(f"{parent.name}: nothing to leave out; none of its {len(kept)} episodes is meant.")
        raise ConfigError(
            f"{parent.name}: nothing to leave out; give --episodes, --where, --mask, --keep-mask or --features."
        )
    if not kept.any():
        raise ConfigError(f"{parent.name}: all {parent.num_episodes} episodes would be left out; nothing would remain.")
    options = {
        "episodes_left_out": [int(i) for i in np.flatnonzero(~kept)],
        "features_left_out": list(features),
    }
    plan = Plan.like(parent, [int(i) for i in np.flatnonzero(kept)], "drop", options)
    remaining = _without(parent, parent.features, features)
    plan = replace(
        plan,
        features=remaining,
        streams={name: feature for name, feature in parent.streams.items() if name not in features},
        sim_env=None if SIM in features else plan.sim_env,
        sim_states=SIM not in features,
    )
    return make_dataset(output, plan, progress)


def _without(parent: Dataset, present: Features, names: Sequence[str]) -> Features:
    known = {*present, *parent.streams} | ({SIM} if has_simulator(parent) else set())
    for name in names:
        if name not in known:
            raise FeatureError(f"{parent.name}: {unknown_name('feature', name, known)}")
    remaining = {name: feature for name, feature in present.items() if name not in names}
    if not remaining:
        raise ConfigError(f"{parent.name}: all features would be left out; nothing would remain.")
    return remaining
