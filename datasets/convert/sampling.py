"""Which of many are looked at to find out what something holds, where looking at all would take too long."""

from __future__ import annotations

import numpy as np


def spread(count: int, at_most: int) -> list[int]:
    """Numbers of `at_most` things, or of all where there are no more, evenly from the first of `count` to the last."""
    return np.unique(np.linspace(0, count - 1, at_most).astype(int)).tolist() if count else []


def first_middle_last(count: int) -> list[int]:
    """The numbers of these among `count` things: fewer where they coincide, none of none."""
    return sorted({0, count // 2, count - 1}) if count else []
