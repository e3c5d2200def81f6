"""Which elements of a vector are a quaternion, and where its sign flips: q and -q are the same rotation.

Elements are judged by their names (`qw, qx, qy, qz`, in either order) or the feature's (`..._quat`, four numbers each),
where their values agree, and by their values alone: four neighbours whose norm is 1 all the time, of which at least
three change and none is always 0 (a direction beside a zero has the same norm, but its opposite is another one), and
that are not named as a part of a rotation matrix (`rot6d`). The order of the elements does not matter for the sign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from robolearn.core.feature import Feature

SIZE = 4
ORDERS = ("wxyz", "xyzw")
LABEL = re.compile(r"(?P<prefix>.*?)(?P<of>q|quat|quaternion|rot|rotation|ori|orientation)?[._ -]?(?P<axis>[wxyz])")
UNIT, NAMED_UNIT = 1e-3, 0.05  # how far from 1 the norm may be: without a name, with one
WIDEST = 256  # elements of a vector that is looked at; more are a picture or an embedding
OPPOSITE = -0.7  # dot product of neighbours, of values without a name: 90 degrees apart and the sign turned


@dataclass(frozen=True)
class Columns:
    """Four elements of a feature, from `first` on.

    Attributes:
        named: a name says that they are a quaternion; else their values do.
    """

    feature: str
    first: int
    named: bool

    @property
    def elements(self) -> slice:
        return slice(self.first, self.first + SIZE)

    @property
    def threshold(self) -> float:
        """Dot product with the one before below which the sign has turned."""
        return 0.0 if self.named else OPPOSITE


def may_hold(feature: Feature) -> bool:
    """Whether the feature is a vector of floats of a size that may hold one."""
    floats = feature.kind in ("state", "action") and feature.dtype.startswith("float")
    return floats and SIZE <= _width(feature) <= WIDEST


def _width(feature: Feature) -> int:
    return feature.shape[0] if len(feature.shape) == 1 else 0


def named_columns(feature: Feature) -> list[Columns]:
    """The quaternions that names tell of."""
    if not may_hold(feature):
        return []
    if feature.names:
        return _by_elements(feature)
    if re.search(r"quat", feature.name, re.IGNORECASE) and _width(feature) % SIZE == 0:
        return [Columns(feature.name, first, True) for first in range(0, _width(feature), SIZE)]
    return []


def _by_elements(feature: Feature) -> list[Columns]:
    labels = [LABEL.fullmatch(name.lower()) for name in feature.names or ()]
    found: list[Columns] = []
    for first in range(len(labels) - SIZE + 1):
        four = [label for label in labels[first : first + SIZE] if label]
        if len(four) < SIZE or (found and first < found[-1].first + SIZE):
            continue
        alike = len({(label["prefix"], label["of"]) for label in four}) == 1
        if alike and "".join(label["axis"] for label in four) in ORDERS:
            found.append(Columns(feature.name, first, True))
    return found


class Norms:
    """Finds the quaternions of a vector, from the rows of one episode after the other."""

    def __init__(self, feature: Feature):
        self._feature = feature
        self._named = {columns.first: columns for columns in named_columns(feature)}
        self._unit = np.ones(_width(feature) - SIZE + 1, bool)
        self._near = self._unit.copy()
        rotation = np.array(["rot6d" in name for name in feature.names or [""] * _width(feature)])
        self._unit &= ~np.lib.stride_tricks.sliding_window_view(rotation, SIZE).any(1)
        self._low, self._high = np.full(_width(feature), np.inf), np.full(_width(feature), -np.inf)

    def add(self, rows: np.ndarray) -> None:
        """`(T, D)`, finite."""
        rows = rows.astype(np.float64)
        norms = np.linalg.norm(np.lib.stride_tricks.sliding_window_view(rows, SIZE, axis=1), axis=2)
        self._unit &= (np.abs(norms - 1) < UNIT).all(0)
        self._near &= ((np.abs(norms - 1) < NAMED_UNIT) | (norms == 0)).all(0)
        if len(rows):
            self._low, self._high = np.minimum(self._low, rows.min(0)), np.maximum(self._high, rows.max(0))

    def columns(self) -> list[Columns]:
        """Named ones whose values agree, and what else behaves as a quaternion."""
        found = [columns for first, columns in self._named.items() if self._near[first]]
        changes, empty = self._high - self._low > UNIT, (self._low == 0) & (self._high == 0)
        for first in np.flatnonzero(self._unit).tolist():
            taken = any(abs(first - other.first) < SIZE for other in found)
            if not taken and changes[first : first + SIZE].sum() >= 3 and not empty[first : first + SIZE].any():
                found.append(Columns(self._feature.name, first, False))
        return sorted(found, key=lambda columns: columns.first)

    def possible(self) -> list[Columns]:
        """All that may still turn out to be one."""
        unnamed = [Columns(self._feature.name, first, False) for first in np.flatnonzero(self._unit).tolist()]
        named = [columns for first, columns in self._named.items() if self._near[first]]
        return named + [columns for columns in unnamed if columns.first not in self._named]


def flips(quaternions: np.ndarray, columns: Columns, before: np.ndarray | None = None) -> np.ndarray:
    """Rows of `(T, 4)` whose sign is not that of the row before; row 0 is compared with `before`, if it is given."""
    rows = quaternions.astype(np.float64)
    earlier = np.concatenate([rows[:1] if before is None else before[None].astype(np.float64), rows[:-1]])
    return np.flatnonzero((rows * earlier).sum(1) < columns.threshold)


def steady(quaternions: np.ndarray, columns: Columns, before: np.ndarray | None = None) -> np.ndarray:
    """The same rotations with a sign that never flips, beginning on the side of `before`."""
    signs = np.ones(len(quaternions))
    for row in flips(quaternions, columns, before).tolist():
        signs[row:] *= -1
    return (quaternions * signs[:, None]).astype(quaternions.dtype)


def names_of(feature: Feature, columns: Columns) -> str:
    """`qw, qx, qy, qz`, or `elements 3 to 6`."""
    if feature.names:
        return ", ".join(feature.names[columns.elements])
    return f"elements {columns.first} to {columns.first + SIZE - 1}"
