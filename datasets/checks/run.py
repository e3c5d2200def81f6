"""`validate`: run all checks over a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, unknown_name
from robolearn.core.failure import line_of
from robolearn.core.interrupt import StoppedError
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.registry import CHECKS, make_check
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
    checks = [_Guarded(name, findings) for name in CHECKS]
    with np.errstate(all="ignore"):
        for check in checks:
            check.run(methodcaller("start", survey))
        for episode in range(survey.num_episodes):
            if episode not in survey.quarantined:
                view = EpisodeView(survey, episode)
                for check in checks:
                    check.run(methodcaller("episode", view), episode)
            if progress:
                progress(episode + 1, survey.num_episodes)
        for check in checks:
            check.run(methodcaller("finish", survey))
    unique = dict.fromkeys(findings + [f for f in survey.drain() if f.episode not in survey.quarantined])
    return sorted(unique, key=lambda finding: finding.order)


def holds_images(path: str | Path) -> bool:
    """Whether the dataset has features that are stored as images; False where nothing readable tells."""
    try:
        return bool(Survey.open(open_store(path), "none").codecs)
    except DatasetError:
        return False


class _Guarded:
    """A check whose failure is a finding, and the others go on.

    One of ours fails at damage nobody thought of, and looks at the next episode all the same. One of another package
    that cannot be made or has failed is not run again: its finding says of which package it is, and where it failed.
    """

    def __init__(self, name: str, findings: list[Finding]):
        self._name, self._findings = name, findings
        self._package = CHECKS.package(name)
        self._check: Check | None = None
        if self._package is None:
            self._check = make_check(name)
            return
        try:
            self._check = make_check(name)
        except StoppedError:
            raise
        except (Exception, SystemExit) as error:
            self._findings.append(self._not_run(error, None))

    def run(self, look: Callable[[Check], Iterable[Finding] | None], episode: int | None = None) -> None:
        """Add what the check finds."""
        if self._check is None:
            return
        try:
            for found in look(self._check) or ():
                if not isinstance(found, Finding):
                    raise ConfigError(
                        f"it gave a {type(found).__name__}; expected a Finding of robolearn.datasets.checks"
                    )
                self._findings.append(found)
        except StoppedError:
            raise
        except (Exception, SystemExit) as error:
            self._findings.append(self._not_run(error, episode))

    def _not_run(self, error: BaseException, episode: int | None) -> Finding:
        if self._package is None:
            message = f"the check {self._name!r} failed ({type(error).__name__}: {error}); please report it"
            return Finding(severity="error", check="internal", message=message, episode=episode)
        self._check = None
        told = line_of(error, f"the check of the package {self._package!r} could not be run")
        return Finding(severity="error", check=self._name, message=told, episode=episode)


def counted(findings: list[Finding]) -> dict[str, Any]:
    """Json-ready: number of findings of each severity, and the findings."""
    numbers = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning", "info")}
    return {**numbers, "findings": [finding.to_dict() for finding in findings]}
