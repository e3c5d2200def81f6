"""`robolearn dataset split`: several datasets of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from robolearn.cli.dataset.making import print_made, progress_bar
from robolearn.core.config import parse
from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class SplitOptions:
    """Options of `robolearn dataset split`. Give one of --by, --mask and --by-task."""

    path: tyro.conf.Positional[str]
    """A dataset (folder or URL)."""
    output_dir: Path
    """Folder to make, with a dataset NAME.zarr for each part."""
    by: str | None = None
    """Parts and their shares of the episodes, such as train=0.9,val=0.1; alike in task and success."""
    mask: str | None = None
    """Two parts: the episodes of this mask, and the rest."""
    by_task: bool = False
    """A part for each task text."""
    seed: int = 0
    """Of the choice of episodes with --by."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Make several datasets of one."""
    options = parse(SplitOptions, argv, "robolearn dataset split", "Make several datasets of one.")
    if (options.by is not None) + (options.mask is not None) + options.by_task != 1:
        raise ConfigError("split needs one of --by train=0.9,val=0.1, --mask NAME and --by-task.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.split import by_mask, by_share, by_task, parse_shares, split

    shares = parse_shares(options.by) if options.by is not None else {}
    dataset = Dataset(options.path)
    if shares:
        parts, asked = by_share(dataset, shares, options.seed), {"by": shares, "seed": options.seed}
    elif options.mask is not None:
        parts, asked = by_mask(dataset, options.mask), {"mask": options.mask}
    else:
        parts, asked = by_task(dataset), {"by_task": True}
    with progress_bar("Splitting") as progress:
        made = split(dataset, options.output_dir, parts, asked, progress)
    print_made(made, options.json)
    return 0
