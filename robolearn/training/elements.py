"""What is said of the numbers that a run is about to learn from: which do not move, are cut off, or look odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robolearn.core.feature import Features
from robolearn.core.normalizer import Normalizer, span_of

STILL = 1e-3
"""Of a normalised range that should be 2: what spans less was treated as constant."""
OUTLYING = 20.0
SMALL = 1e-4
FEW_LEVELS = 256
SAMPLED_NUMBERS = 1 << 21
NAMED = 6
OUTLIERS = "with outliers"
COARSE = "of which their dtype leaves little"
FAR = "far from 0, which is taken off in double precision"
SMALL_RANGE = "small, learnt as any other (leave out what is noise)"
APART = "small beside what tells the datasets apart"


@dataclass(frozen=True)
class Elements:
    """Elements of the vectors of a run, by what is to be said of them.

    Attributes:
        constant: feature -> `(prod(shape),)` bool, true where nothing moves and so nothing is learnt.
        still_actions, still, clipped: in words, an entry for each element; the first are those of the action.
        unusual: what is odd -> the same of the elements that are.
    """

    constant: dict[str, np.ndarray] = field(default_factory=dict)
    still_actions: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    unusual: dict[str, list[str]] = field(default_factory=dict)

    def note(self) -> str | None:
        """One line, or None where there is nothing to say."""
        parts = {
            "treated as constant, so neither learnt nor counted by action_error": self.still_actions,
            "treated as constant, so not learnt from": self.still,
            "clipped when sampled": self.clipped,
            **{f"unusual, {what}": found for what, found in self.unusual.items()},
        }
        return "; ".join(f"{what}: {_listed(found)}" for what, found in parts.items() if found) or None


def survey(
    arrays: Mapping[str, np.ndarray],
    features: Features,
    normalizer: Normalizer,
    action: str,
    clip: float | None,
    rows: Sequence[int] = (),
) -> Elements:
    """Look at the vectors that a normaliser was fitted to.

    Args:
        arrays: feature -> `(N, *shape)` in the dtype it is stored in.
        action: which of them is the action.
        clip: bound of sampled actions, normalised; None = they have none.
        rows: how many rows of the arrays come from each dataset; none = all from one. Of an array with other rows it
            is not known.
    """
    elements = Elements()
    for name, array in arrays.items():
        flat = array.reshape(len(array), -1)
        low, high = flat.min(axis=0), flat.max(axis=0)
        span = span_of(low, high)
        ends = np.stack([normalizer.normalize(name, end.reshape(features[name].shape)).ravel() for end in (low, high)])
        constant = span * np.ravel(normalizer.scale[name]) < STILL
        elements.constant[name] = constant
        sample = flat[:: max(1, flat.size // SAMPLED_NUMBERS)].astype(np.float64)
        inner = np.quantile(sample, [0.01, 0.99], axis=0)
        shift = np.ravel(normalizer.shift.get(name, np.zeros(features[name].shape)))
        names = features[name].names or [str(i) for i in range(flat.shape[1])]
        within = span
        if len(rows) > 1 and len(flat) == sum(rows):
            parts = [part for part in np.split(flat, np.cumsum(rows)[:-1]) if len(part)]
            within = np.max([span_of(part.min(axis=0), part.max(axis=0)) for part in parts], axis=0)
        for i, label in enumerate(names):
            element = f"{name} {label}" if features[name].shape else name
            if constant[i]:
                still = elements.still_actions if name == action else elements.still
                still.append(f"{element} ({f'within {span[i]:.3g} of ' if span[i] else ''}{low[i]:.6g})")
                continue
            if name == action and clip is not None and np.abs(ends[:, i]).max() > clip * (1 + 1e-5):
                elements.clipped.append(f"{element} ({low[i]:.4g} to {high[i]:.4g})")
            odd = _odd(flat[:, i], float(span[i]), inner[:, i], float(shift[i]), float(within[i]))
            if odd is not None:
                elements.unusual.setdefault(odd[0], []).append(f"{element} ({odd[1]})")
    return elements


def _odd(column: np.ndarray, span: float, inner: np.ndarray, shift: float, within: float) -> tuple[str, str] | None:
    """What is odd, and the numbers that show it; `within` is the largest range that one dataset has."""
    low, high = column.min(), column.max()
    middle = float(inner[1] - inner[0])
    if within > 0 and span > OUTLYING * within:
        return APART, f"moves by {within:.3g} in one of them, by {span:.3g} in all"
    if span > OUTLYING * middle and (middle > 0 or _is_rare(column)):
        return OUTLIERS, f"{low:.4g} to {high:.4g}, 98 % of it {inner[0]:.4g} to {inner[1]:.4g}"
    if column.dtype.kind == "f":
        levels = span / float(np.spacing(np.maximum(abs(low), abs(high))))
        if levels < FEW_LEVELS:
            return COARSE, f"moves by {span:.3g} at {high:.6g}, {levels:.0f} steps of {column.dtype}"
    if shift:
        return FAR, f"moves by {span:.3g} around {shift:.6g}"
    if span < SMALL:
        return SMALL_RANGE, f"moves by {span:.3g}"
    return None


def _is_rare(column: np.ndarray) -> bool:
    """Whether all but one step in a thousand have the same number."""
    return np.count_nonzero(column != np.sort(column)[len(column) // 2]) < len(column) / 1000


def _listed(found: list[str]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
