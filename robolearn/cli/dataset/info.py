"""`robolearn dataset info`: what is in a dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass

import tyro

from robolearn.core.config import parse


@dataclass(frozen=True)
class InfoOptions:
    """Options of `robolearn dataset info`."""

    path: tyro.conf.Positional[str]
    """A dataset (a path or URL), or a folder or file of a format that can be converted."""
    json: bool = False
    """Print a machine-readable description."""


def main(argv: list[str]) -> int:
    """Print what is in a dataset."""
    options = parse(InfoOptions, argv, "robolearn dataset info", "What is in a dataset.")
    from robolearn.datasets.tools.info import describe, to_text

    described = describe(options.path)
    print(json.dumps(described, indent=1) if options.json else to_text(described))
    return 0
