"""`Check`: looks at a dataset one episode at a time and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.survey import EpisodeView, Survey


class Check:
    """Base of all checks. To add one: subclass it in a file of its own and name it in `registry.py`, or in the entry
    points `robolearn.checks` of a package of your own. It is made without arguments, once for each dataset.

    `start`, then `episode` for every episode in order (not for those in quarantine), then `finish`. A check keeps what
    it needs over episodes in itself: sums and extremes, never the data.

    Attributes:
        name: shown with its findings.
    """

    name: str

    def start(self, survey: Survey) -> Iterable[Finding]:
        """Look at what is there before any episode."""
        return ()

    def episode(self, view: EpisodeView) -> Iterable[Finding]:
        """Look at one episode."""
        return ()

    def finish(self, survey: Survey) -> Iterable[Finding]:
        """Say what only all episodes together show."""
        return ()
