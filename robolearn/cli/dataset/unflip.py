"""`robolearn dataset unflip`: a dataset whose quaternions do not flip their sign."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robolearn.cli.dataset.making import pairs, print_made, progress_bar
from robolearn.core.config import parse
from robolearn.core.errors import ConfigError

SUMMARY = "Make a dataset whose quaternions do not flip their sign."


@dataclass(frozen=True)
class UnflipOptions:
    """Options of `robolearn dataset unflip`."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL); it stays as it is."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    features: tuple[str, ...] = ()
    """Features to look for quaternions in; all of them by default."""
    at: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=FIRST: the first of four elements that are a quaternion, where neither names nor values tell. Once for
    each."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make a dataset whose quaternions do not flip their sign."""
    options = parse(UnflipOptions, argv, "robolearn dataset unflip", SUMMARY)
    places = pairs(options.at, "at", "FEATURE=FIRST")
    for name, text in places.items():
        if not text.isdecimal():
            raise ConfigError(f"--at takes FEATURE=FIRST, such as observation.state=3; found {name}={text}.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.unflip import unflip

    at = {name: int(text) for name, text in places.items()}
    with progress_bar("Unflipping") as progress:
        made = unflip(Dataset(options.path), options.output, names=options.features, at=at, progress=progress)
    print_made([made], options.json)
    return 0
