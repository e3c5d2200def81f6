"""Quaternions whose sign flips: the same rotation, but to a policy a jump from one end of the range to the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.survey import EpisodeView, Survey
from robolearn.datasets.format.quaternions import OPPOSITE, Columns, Norms, flips, may_hold, names_of

MEND = "the same rotation, but a jump to a policy; robolearn dataset unflip mends it"


@dataclass
class _Seen:
    """What the four elements from one place on did over all episodes."""

    turns: int = 0
    episodes: int = 0
    place: tuple[int, int] | None = None
    other_side: list[int] = field(default_factory=list)
    start: np.ndarray | None = None

    def add(self, rows: np.ndarray, columns: Columns, episode: int) -> None:
        if self.start is None:
            self.start = rows[0]
        elif float(rows[0].astype(np.float64) @ self.start) < OPPOSITE:
            self.other_side.append(episode)
        found = flips(rows, columns)
        if found.size:
            self.turns += len(found)
            self.episodes += 1
            self.place = self.place or (episode, int(found[0]))


class QuaternionSign(Check):
    name = "quaternion"

    def __init__(self) -> None:
        self._norms: dict[str, Norms] = {}
        self._seen: dict[Columns, _Seen] = {}

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        for name, key in view.signals():
            feature = view.survey.features[name]
            rows = view.rows(key) if may_hold(feature) else None
            if rows is None or not len(rows) or not np.isfinite(rows).all():
                continue
            norms = self._norms.setdefault(name, Norms(feature))
            norms.add(rows)
            for columns in norms.possible():
                self._seen.setdefault(columns, _Seen()).add(rows[:, columns.elements], columns, view.index)
        return iter(())

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for norms in self._norms.values():
            for columns in norms.columns():
                yield from self._told(survey, columns, self._seen[columns])

    def _told(self, survey: Survey, columns: Columns, seen: _Seen) -> Iterator[Finding]:
        what = f"the quaternion {names_of(survey.features[columns.feature], columns)}"
        file = f"data/{columns.feature}"
        if seen.place is not None:
            episode, step = seen.place
            more = f", {seen.turns} times in {seen.episodes} episode{'s' * (seen.episodes != 1)}"
            message = f"{what} turns its sign{more if seen.turns > 1 else ''}: {MEND}"
            yield Finding(
                severity="warning", check=self.name, message=message, feature=columns.feature, file=file,
                episode=episode, step=step,
            )  # fmt: skip
        if seen.other_side:
            count = len(seen.other_side)
            message = (
                f"{what} begins with the other sign in {count} episode{'s' * (count != 1)} than in the first: {MEND}"
            )
            yield Finding(
                severity="warning", check=self.name, message=message, feature=columns.feature, file=file,
                episode=seen.other_side[0],
            )  # fmt: skip
