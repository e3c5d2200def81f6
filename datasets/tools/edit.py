"""Labels and masks of episodes: chosen by the grammar of `select.py`, journaled by `datasets/write/edits.py`."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.write import edits


def edit_labels(dataset: Dataset, selection: Selection, fields: Json) -> list[int]:
    """Set fields of the records of the selected episodes; returns their indices.

    Raises ConfigError when no episode is selected, DatasetError for a field that is no label, a wrong type or a
    dataset that is not on this machine.
    """
    if selection.is_all:
        raise ConfigError("--set needs --episodes, --where or --in-mask; all episodes are --episodes 0--1.")
    episodes = _selected(dataset, selection)
    edits.edit_episodes(dataset.path, episodes, fields)
    return episodes


def edit_mask(dataset: Dataset, name: str, selection: Selection) -> list[int]:
    """Make mask `name` hold exactly the selected episodes; returns their indices.

    Raises ConfigError for the reserved name or when no episode is selected, DatasetError for a name that cannot be
    used or a dataset that is not on this machine.
    """
    if name == QUARANTINE:
        raise ConfigError(f"The mask {name!r} is kept by robolearn dataset repair; choose another name.")
    if selection.is_all:
        raise ConfigError(f"--mask {name} needs --episodes, --where or --in-mask for its episodes, or --remove.")
    episodes = _selected(dataset, selection)
    edits.set_mask(dataset.path, name, episodes)
    return episodes


def _selected(dataset: Dataset, selection: Selection) -> list[int]:
    episodes = [int(index) for index in np.flatnonzero(selection.find(dataset))]
    if not episodes:
        raise ConfigError(f"{dataset.name}: no episode is selected; choose others.")
    return episodes


def history(dataset: Dataset) -> list[Json]:
    """All edits, oldest first, json-ready; `episodes` are ranges [start, stop), or None where a mask was removed."""
    return [asdict(edit) for edit in dataset.edits]


def history_text(entries: list[Json]) -> str:
    """The record of `history`, a line an edit, for people."""
    lines = []
    for entry in entries:
        ranges = ",".join(f"{a}-{b - 1}" if b - a > 1 else f"{a}" for a, b in entry["episodes"] or ())
        if entry["labels"] is not None:
            labels = ", ".join(f"{key} = {json.dumps(value)}" for key, value in entry["labels"].items())
            what = f"{labels} for episodes {ranges}"
        elif entry["episodes"] is None:
            what = f"mask {entry['mask']!r} removed"
        else:
            what = f"mask {entry['mask']!r} = episodes {ranges or 'none'}"
        lines.append(f"{entry['at']}  {entry['by']}  {what}")
    return "\n".join(lines) or "No edits."
