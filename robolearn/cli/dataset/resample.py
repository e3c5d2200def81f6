"""`robolearn dataset resample`: a dataset at another rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from robolearn.cli.dataset.making import print_made, progress_bar
from robolearn.core.config import parse


@dataclass(frozen=True)
class ResampleOptions:
    """Options of `robolearn dataset resample`."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL); it stays as it is."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    fps: float
    """Rate of the new steps in Hz. Each shows the newest sample that there was; gaps stay gaps."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make a dataset at another rate."""
    options = parse(ResampleOptions, argv, "robolearn dataset resample", "Make a dataset at another rate.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.resample import resample

    with progress_bar("Resampling") as progress:
        made = resample(Dataset(options.path), options.output, options.fps, progress=progress)
    print_made([made], options.json)
    return 0
