"""`robolearn dataset stats`: statistics of every feature."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from robolearn.core.config import parse


@dataclass(frozen=True)
class StatsOptions:
    """Options of `robolearn dataset stats`."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL)."""
    episodes: str | None = None
    """Of these episodes only, such as 0-9,12,-1."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Of episodes of which this holds, such as success=true."""
    mask: str | None = None
    """Of the episodes of this mask."""
    features: tuple[str, ...] = ()
    """Of these features only."""
    json: bool = False
    """Print a machine-readable record."""


def main(argv: list[str]) -> int:
    """Print statistics of every feature."""
    options = parse(StatsOptions, argv, "robolearn dataset stats", "Statistics of every feature.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.select import Selection
    from robolearn.datasets.tools.stats import dataset_stats, to_text

    selection = Selection(options.episodes, options.where, options.mask)
    stats = dataset_stats(Dataset(options.path), selection, options.features)
    print(json.dumps(stats) if options.json else to_text(stats))
    return 0
