"""`robolearn dataset drop`: a dataset without some episodes or features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robolearn.cli.dataset.making import print_made, progress_bar
from robolearn.core.config import parse


@dataclass(frozen=True)
class DropOptions:
    """Options of `robolearn dataset drop`. Episodes are left out that all of --episodes, --where and --mask mean."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL); it stays as it is."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    episodes: str | None = None
    """Episodes to leave out, such as 3,5-9,-1; counted from 0, and -1 is the last."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Leave out episodes of which this holds, such as success=false or num_steps<20."""
    mask: str | None = None
    """Leave out the episodes of this mask."""
    keep_mask: str | None = None
    """Leave out all episodes that are not in this mask."""
    features: tuple[str, ...] = ()
    """Features to leave out; sim stands for simulator states and models."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make a dataset without some episodes or features."""
    options = parse(DropOptions, argv, "robolearn dataset drop", "Make a dataset without some episodes or features.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.drop import drop
    from robolearn.datasets.tools.select import Selection

    with progress_bar("Dropping") as progress:
        made = drop(
            Dataset(options.path),
            options.output,
            selection=Selection(options.episodes, options.where, options.mask),
            keep_mask=options.keep_mask,
            features=options.features,
            progress=progress,
        )
    print_made([made], options.json)
    return 0
