"""Numbers: finite, alive, and not cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from robolearn.core.feature import Feature
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding, Severity
from robolearn.datasets.checks.survey import EpisodeView, Survey

LONG_ENOUGH = 20  # steps below which standing still says nothing
RARE = 0.1  # share of episodes in which a signal may stand still for that to be strange
LEVELS = 16  # values up to which a signal is a switch, not a quantity
SATURATED = 0.25  # share of steps at one end of the range
NOISE = 1e-4  # range below which an action is still: of a rotation that is never commanded only rounding is left


def label(feature: Feature, element: int) -> str:
    return feature.names[element] if feature.names else f"element {element}"


def listed(feature: Feature, elements: np.ndarray) -> str:
    """`x, y` or `elements 3, 5`; all of several `all elements`; the only one, without a name, `value`."""
    width = int(np.prod(feature.shape))
    if len(elements) == width > 1:
        return "all elements"
    if width == 1 and not feature.names:
        return "value"
    names = [feature.names[i] if feature.names else str(i) for i in elements[:8].tolist()]
    return ("" if feature.names else "elements ") + ", ".join(names) + ", ..." * (len(elements) > 8)


class Finite(Check):
    name = "finite"

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        keys = [*view.signals()]
        for name, feature in view.survey.features.items():
            key = f"streams/{name}/value"
            if key in view.survey.metadata.arrays and feature.dtype.startswith("float"):
                keys.append((name, key))
        for name, key in keys:
            rows = view.rows(key)
            if rows is None or rows.dtype.kind != "f" or np.isfinite(rows).all():
                continue
            flat = rows.reshape(len(rows), -1)
            step, element = (int(n) for n in np.argwhere(~np.isfinite(flat))[0])
            count = int((~np.isfinite(flat)).any(1).sum())
            where = label(view.survey.features[name], element)
            message = f"{flat[step, element]} at {where}" + (f", and {count - 1} more steps" if count > 1 else "")
            yield Finding(
                severity="error",
                check=self.name,
                message=message,
                file=key,
                episode=view.index,
                feature=name,
                step=step,
            )


@dataclass
class _Range:
    """Extremes of each element over all episodes, and how often they are taken."""

    low: np.ndarray
    high: np.ndarray
    at_low: np.ndarray
    at_high: np.ndarray
    levels: list[set[float]]
    steps: int = 0
    still: list[int] = field(default_factory=list)
    long_episodes: int = 0

    @classmethod
    def of(cls, width: int) -> _Range:
        zeros = np.zeros(width, np.int64)
        return cls(np.full(width, np.inf), np.full(width, -np.inf), zeros, zeros.copy(), [set() for _ in range(width)])

    def add(self, flat: np.ndarray, episode: int) -> None:
        low, high = flat.min(0), flat.max(0)
        at_low, at_high = (flat == low).sum(0), (flat == high).sum(0)
        self.at_low = np.where(low < self.low, at_low, self.at_low + np.where(low == self.low, at_low, 0))
        self.at_high = np.where(high > self.high, at_high, self.at_high + np.where(high == self.high, at_high, 0))
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.steps += len(flat)
        for element, seen in enumerate(self.levels):
            if len(seen) <= LEVELS:
                seen.update(np.unique(flat[:, element])[: LEVELS + 1].tolist())
        if len(flat) >= LONG_ENOUGH:
            self.long_episodes += 1
            if (low == high).all():
                self.still.append(episode)


class _RangeCheck(Check):
    """Collects the ranges of the signals on the grid."""

    def __init__(self) -> None:
        self.ranges: dict[str, _Range] = {}

    def wants(self, feature: Feature) -> bool:
        return True

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        for name, key in view.signals():
            rows = view.rows(key) if self.wants(view.survey.features[name]) else None
            if rows is not None and len(rows) and (rows.dtype.kind != "f" or np.isfinite(rows).all()):
                flat = rows.reshape(len(rows), -1)
                flat = flat.astype(np.uint8) if flat.dtype.kind == "b" else flat
                self.ranges.setdefault(name, _Range.of(flat.shape[1])).add(flat, view.index)
        return iter(())


class Constant(_RangeCheck):
    name = "constant"

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for name, found in self.ranges.items():
            feature, constant = survey.features[name], np.flatnonzero(found.low == found.high)
            if len(constant) and found.steps >= LONG_ENOUGH:
                severity: Severity = "warning" if feature.kind == "action" else "info"
                message = f"constant over all {found.steps} steps: {listed(feature, constant)}"
                yield Finding(severity=severity, check=self.name, message=message, feature=name, file=f"data/{name}")
            alive = len(constant) < len(found.low) and len(found.still) <= RARE * found.long_episodes
            for episode in found.still if alive and feature.kind == "state" else ():
                message = "does not change in this episode as it does in others: was the sensor alive?"
                yield Finding(
                    severity="warning",
                    check=self.name,
                    message=message,
                    episode=episode,
                    feature=name,
                    file=f"data/{name}",
                )


class Saturated(_RangeCheck):
    name = "saturated"

    def wants(self, feature: Feature) -> bool:
        return feature.kind == "action" and feature.dtype.startswith("float")

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for name, found in self.ranges.items():
            for element, levels in enumerate(found.levels):
                if found.high[element] - found.low[element] < NOISE:
                    continue
                for end, value, count in (
                    ("lowest", found.low[element], found.at_low[element]),
                    ("highest", found.high[element], found.at_high[element]),
                ):
                    share = count / found.steps
                    if (
                        value and len(levels) > LEVELS and share > SATURATED and found.steps >= LONG_ENOUGH
                    ):  # 0 is at rest
                        message = (
                            f"{label(survey.features[name], element)} is at its {end} value {value:.4g} in "
                            f"{100 * share:.0f} % of the steps: is the action cut off there?"
                        )
                        yield Finding(
                            severity="warning", check=self.name, message=message, feature=name, file=f"data/{name}"
                        )
