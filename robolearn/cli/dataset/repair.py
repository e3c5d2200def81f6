"""`robolearn dataset repair`: salvage unfinished episodes, quarantine broken ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from robolearn.cli.dataset.making import progress_bar
from robolearn.core.config import parse


@dataclass(frozen=True)
class RepairOptions:
    """Options of `robolearn dataset repair`."""

    path: tyro.conf.Positional[Path]
    """A dataset on this machine."""
    dry_run: bool = False
    """Change nothing; print what would be done."""
    json: bool = False
    """Print what was done as json."""


def main(argv: list[str]) -> int:
    """Print one line for each thing that was done."""
    options = parse(
        RepairOptions, argv, "robolearn dataset repair", "Salvage unfinished episodes, quarantine broken ones."
    )
    from robolearn.datasets.repair.run import repair

    with progress_bar("Looking") as progress:
        actions = repair(options.path, options.dry_run, progress)
    if options.json:
        print(json.dumps({"dry_run": options.dry_run, "actions": [action.to_dict() for action in actions]}, indent=1))
        return 0
    for action in actions:
        print(action.line())
    if not actions:
        print("Nothing to repair.")
    elif options.dry_run:
        print("Nothing was changed (--dry-run).")
    return 0
