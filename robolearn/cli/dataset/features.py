"""`robolearn dataset features`: a dataset whose features have other names, kinds, element names or meanings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robolearn.cli.dataset.making import element_names, pairs, print_made, progress_bar, ranges, robots_of
from robolearn.core.config import parse

SUMMARY = "Make a dataset whose features have other names, kinds, element names or meanings."


@dataclass(frozen=True)
class FeaturesOptions:
    """Options of `robolearn dataset features`."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL); it stays as it is."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    rename: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=NAME; what is called action becomes one. Once for each."""
    kind: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=KIND: state or action; image or depth makes pictures of an array of numbers. Once for each."""
    names: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=A,B,C: names of the elements of a vector. Once for each."""
    layout: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=LAYOUT: what its numbers mean, where the dataset does not say it: joints, pose.axis_angle, robosuite, ...
    or a json file with a layout. Once for each."""
    robot: tuple[str, ...] = ()
    """For --layout, which robot it is: NAME, or PREFIX=NAME for each of several arms."""
    drop: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A feature to leave out. Once for each."""
    range: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=LOW,HIGH: the values of black and white, where numbers become pictures; by default judged from them."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make a dataset whose features have other names, kinds, element names or meanings."""
    options = parse(FeaturesOptions, argv, "robolearn dataset features", SUMMARY)
    renamed, kinds = pairs(options.rename, "rename", "FEATURE=NAME"), pairs(options.kind, "kind", "FEATURE=KIND")
    labels, ends = element_names(options.names), ranges(options.range)
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.features import Changes, change_features

    layouts = pairs(options.layout, "layout", "FEATURE=LAYOUT")
    changes = Changes(renamed, kinds, labels, options.drop, ends, layouts, robots_of(options.robot))
    with progress_bar("Changing features") as progress:
        made = change_features(Dataset(options.path), options.output, changes, progress=progress)
    print_made([made], options.json)
    return 0
