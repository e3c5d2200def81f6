"""`robolearn dataset validate`: look for damage and for what spoils training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from robolearn.cli.dataset.making import progress_bar
from robolearn.core.config import parse


@dataclass(frozen=True)
class ValidateOptions:
    """Options of `robolearn dataset validate`."""

    path: tyro.conf.Positional[Path]
    """A dataset: folder or URL."""
    images: Literal["sample", "all", "none"] = "sample"
    """Checksums of all frames and a look at some of each episode, a look at all, or nothing of images."""
    strict: bool = False
    """Exit with 1 for warnings, too."""
    json: bool = False
    """Print the findings as json."""


def main(argv: list[str]) -> int:
    """Print one line a finding. Returns 0 without errors, 1 with; 2 when it is no dataset (as for every error)."""
    options = parse(
        ValidateOptions, argv, "robolearn dataset validate", "Look for damage and for what spoils training."
    )
    from robolearn.datasets.checks import summary, validate
    from robolearn.datasets.checks.run import counted, holds_images

    with progress_bar("Checking") as progress:
        findings = validate(options.path, options.images, progress)
    if options.json:
        print(json.dumps(counted(findings), indent=1))
    else:
        for finding in findings:
            print(finding.line())
        told = {
            "sample": "checksums of all frames compared, some of each episode looked at (--images all for every one)",
            "all": "every frame looked at",
            "none": "frames were not read",
        }
        images = f" Images: {told[options.images]}." if holds_images(options.path) else ""
        print(f"{summary(findings)}.{images}")
    bad = {"error", "warning"} if options.strict else {"error"}
    return int(any(finding.severity in bad for finding in findings))
