"""Simulator models of recorded episodes, and the one environment that the simulated episodes of a dataset are of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.write.commit import write_atomically


def store_sim_model(root: Path, xml: str, flush: bool) -> str:
    """Keep a model in the dataset at `root`, equal ones once. Returns the sha256 that names it. Raises OSError."""
    digest = hashlib.sha256(xml.encode()).hexdigest()
    file = root / layout.SIM_MODELS / f"{digest}.xml"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(root, file, xml.encode(), flush)
    return digest


def check_sim_env(root: Path, metadata: Metadata, env: Mapping[str, Any]) -> None:
    """Raises DatasetError when the dataset holds episodes of another environment or version, or without states."""
    if metadata.num_steps and layout.SIM_STATE not in metadata.arrays:
        raise DatasetError(
            f"{root} holds no simulator states: it was converted, or they were dropped. Record into a new "
            "dataset, and make one of both with: robolearn dataset merge --common"
        )
    stored = _env_of(metadata)
    if stored is None or not metadata.num_episodes:
        return
    if key := world_difference(stored, env):
        raise DatasetError(
            f"{root} was recorded with {key} {stored.get(key)!r}, found {env.get(key)!r}; record into a new dataset."
        )


def world_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first key in which the environments of two datasets differ, so that the same actions lead elsewhere.

    `robots`, the models of the robots, counts where both name them: older datasets do not.
    """
    keys = ("name", "scene_version", *(("robots",) if "robots" in one and "robots" in other else ()))
    return next((key for key in keys if one.get(key) != other.get(key)), None)


def with_sim_env(metadata: Metadata, env: Mapping[str, Any]) -> Metadata:
    """The metadata, saying which environment the episodes are of; of a dataset that holds some the first word stays."""
    if _env_of(metadata) is not None and metadata.num_episodes:
        return metadata
    return Metadata({**metadata.attributes, "sim": {"env": dict(env)}}, metadata.arrays)


def _env_of(metadata: Metadata) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = metadata.attributes.get("sim", {}).get("env")
    return found
