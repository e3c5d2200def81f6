"""`validate`: run all checks over a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, unknown_name
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.registry import CHECKS
from robolearn.datasets.checks.survey import METADATA_CHECK, EpisodeView, Survey, holds_dataset
from robolearn.datasets.read.store import open_store

Images = Literal["sample", "all", "none"]


def validate(
    path: str | Path, images: Images = "sample", progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """Everything that is wrong, or worth knowing, in a dataset, worst first.

    One episode at a time is in memory. Damage of any kind is a finding, not an exception.

    Args:
        path: folder or URL.
        images: of all frames the checksums are compared, and `sample` decodes eight of each camera and episode and
            those that are oddly small, `all` decodes every one; `none` reads no frame at all.
        progress: called with (episodes done, episodes) after each.

    Raises DatasetError when there is no dataset at `path`, ConfigError for another value of `images`.
    """
    if images not in get_args(Images):
        raise ConfigError(unknown_name("choice of images", images, get_args(Images)))
    store = open_store(path)
    try:
        survey = Survey.open(store, images)
    except DatasetError as error:
        if not holds_dataset(store):
            raise
        return [Finding(severity="error", check=METADATA_CHECK, message=str(error), file=".zmetadata")]
    findings: list[Finding] = []
    checks = [kind() for kind in CHECKS]
    with np.errstate(all="ignore"):
        for check in checks:
            findings += _guarded(check, check.start(survey))
        for episode in range(survey.num_episodes):
            if episode not in survey.quarantined:
                view = EpisodeView(survey, episode)
                for check in checks:
                    findings += _guarded(check, check.episode(view), episode)
            if progress:
                progress(episode + 1, survey.num_episodes)
        for check in checks:
            findings += _guarded(check, check.finish(survey))
    unique = dict.fromkeys(findings + [f for f in survey.drain() if f.episode not in survey.quarantined])
    return sorted(unique, key=lambda finding: finding.order)


def holds_images(path: str | Path) -> bool:
    """Whether the dataset has features that are stored as images; False where nothing readable tells."""
    try:
        return bool(Survey.open(open_store(path), "none").codecs)
    except DatasetError:
        return False


def _guarded(check: Check, found: Iterable[Finding], episode: int | None = None) -> Iterator[Finding]:
    """A check that fails at damage nobody thought of says so, and the others go on."""
    try:
        yield from found
    except Exception as error:
        message = f"the check {check.name!r} failed ({type(error).__name__}: {error}); please report it"
        yield Finding(severity="error", check="internal", message=message, episode=episode)


def counted(findings: list[Finding]) -> dict[str, Any]:
    """Json-ready: number of findings of each severity, and the findings."""
    numbers = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning", "info")}
    return {**numbers, "findings": [finding.to_dict() for finding in findings]}
