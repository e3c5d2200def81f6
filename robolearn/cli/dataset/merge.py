"""`robolearn dataset merge`: one dataset of several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from robolearn.cli.dataset.making import print_made, progress_bar
from robolearn.core.config import parse


@dataclass(frozen=True)
class MergeOptions:
    """Options of `robolearn dataset merge`."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Datasets (folders or URLs) with the same features and rate; their episodes follow one another in this order."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    common: bool = False
    """Keep only the features that all of them have alike."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make one dataset of several."""
    options = parse(MergeOptions, argv, "robolearn dataset merge", "Make one dataset of several.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.merge import merge

    parents = [Dataset(path) for path in options.paths]
    with progress_bar("Merging") as progress:
        made = merge(parents, options.output, common=options.common, progress=progress)
    print_made([made], options.json)
    return 0
