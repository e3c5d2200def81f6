"""What `robolearn doctor` finds of robots' models. Nothing is downloaded, and nothing here raises."""

from __future__ import annotations

import os
from collections.abc import Iterator

from robolearn.core.errors import RobolearnError
from robolearn.core.health import HealthCheck
from robolearn.kinematics.robots import ROBOTS, robot
from robolearn.kinematics.sources import PackageData

_GROUP = "Robots"


def robot_checks() -> Iterator[HealthCheck]:
    """One for each robot of the registry: where its files are, or how to get them."""
    for name in ROBOTS:
        try:
            found = robot(name)
            folders = [model.present() for model in found.models]
        except (RobolearnError, OSError) as error:
            yield HealthCheck(_GROUP, name, "warn", str(error), "mend or remove the package that brings it")
            continue
        there = [str(folder) for folder in folders if folder is not None]
        if len(there) == len(folders):
            yield HealthCheck(_GROUP, name, "ok", f"{found.title}: {', '.join(there)}")
            continue
        missing = [model for model, folder in zip(found.models, folders, strict=True) if folder is None]
        lacking = ", ".join(model.name for model in missing)
        packages = [place for place in missing[0].places if isinstance(place, PackageData)]
        if packages and len(packages) == len(missing[0].places):
            where = f"not in the package {packages[-1].package}"
            yield HealthCheck(_GROUP, name, "warn", f"{found.title}: files of {lacking} {where}", packages[-1].remedy)
            continue
        root = os.environ.get("MENAGERIE_ROOT")
        where = f"not in MENAGERIE_ROOT={root}" if root else "not on this machine: downloaded when first used"
        advice = f"python -m robolearn.kinematics.prefetch {name}"
        yield HealthCheck(
            _GROUP, name, "info", f"{found.title}: files of {lacking} {where}",
            f"unset MENAGERIE_ROOT, or check out that model there; then {advice}" if root else f"now: {advice}",
        )  # fmt: skip
