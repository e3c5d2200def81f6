"""`robolearn dataset resize`: a dataset with images of another size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import tyro

from robolearn.cli.dataset.making import print_made, progress_bar
from robolearn.core.config import parse
from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class ResizeOptions:
    """Options of `robolearn dataset resize`."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL); it stays as it is."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    image_size: str
    """New HEIGHTxWIDTH in pixels, such as 96x128; one number for a square."""
    features: tuple[str, ...] = ()
    """Images to resize; all of them by default."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make a dataset with images of another size."""
    options = parse(ResizeOptions, argv, "robolearn dataset resize", "Make a dataset with images of another size.")
    size = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", options.image_size)
    if size is None:
        raise ConfigError(f"--image-size takes HEIGHTxWIDTH, such as 96x128; found {options.image_size!r}.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.resize import resize

    height, width = int(size[1]), int(size[2] or size[1])
    with progress_bar("Resizing") as progress:
        made = resize(Dataset(options.path), options.output, height, width, names=options.features, progress=progress)
    print_made([made], options.json)
    return 0
