"""What records and notes say of an episode: texts that change within it, numbers and rates in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
OFF_RATE = 0.1  # of a period, in the median of an episode
SHOWN = 5  # names of episodes in a note


def changes(values: Sequence[T]) -> list[tuple[int, T]]:
    """(step, value) for the first step and for every step whose value differs from the one before."""
    return [(k, value) for k, value in enumerate(values) if k == 0 or value != values[k - 1]]


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in words: `0-9, 11, 13-20`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def listed(labels: Sequence[object]) -> str:
    """Episodes in words: ranges of numbers, else names, up to a number that can still be read."""
    names = [str(label) for label in labels]
    if all(name.isdigit() for name in names):
        return ranges(map(int, names))
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def rate_note(times: np.ndarray, fps: float) -> str | None:
    """A line, where the steps of an episode are another time apart than the source's rate says.

    Args:
        times: `(T,)` seconds.
        fps: in Hz.
    """
    if len(times) < 2:
        return None
    apart = float(np.median(np.diff(times)))
    if abs(apart * fps - 1) <= OFF_RATE:
        return None
    return f"by their times steps are {apart:.3g} s apart, by the rate of the source ({fps:g} Hz) {1 / fps:.3g} s"


def spelt(noun: str, first: int, last: int) -> str:
    """`step 3`, or `steps 3 to 7`."""
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"
