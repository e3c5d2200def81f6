"""What is said of the numbers that a run is about to learn from: which do not move, are cut off, or look odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from robolearn.core.feature import Features
from robolearn.datasets.normalizer import Normalizer, span_of

STILL = 1e-3
"""Of a normalised range that should be 2: what spans less was treated as constant."""
OUTLYING = 20.0
SMALL = 1e-4
FEW_LEVELS = 256
SAMPLED_NUMBERS = 1 << 21
NAMED = 6


@dataclass(frozen=True)
class Elements:
    """Elements of the vectors of a run, by what is to be said of them.

    Attributes:
        constant: feature -> `(prod(shape),)` bool, true where nothing moves and so nothing is learnt.
        still_actions, still, clipped, unusual: in words, an entry for each element; the first are those of the action.
    """

    constant: dict[str, np.ndarray] = field(default_factory=dict)
    still_actions: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    unusual: list[str] = field(default_factory=list)

    def note(self) -> str | None:
        """One line, or None where there is nothing to say."""
        parts = {
            "treated as constant, so neither learnt nor counted by action_error": self.still_actions,
            "treated as constant, so not learnt from": self.still,
            "clipped when sampled": self.clipped,
            "unusual": self.unusual,
        }
        return "; ".join(f"{what}: {_listed(found)}" for what, found in parts.items() if found) or None


def survey(
    arrays: Mapping[str, np.ndarray], features: Features, normalizer: Normalizer, action: str, clip: float | None
) -> Elements:
    """Look at the vectors that a normaliser was fitted to.

    Args:
        arrays: feature -> `(N, *shape)` in the dtype it is stored in.
        action: which of them is the action.
        clip: bound of sampled actions, normalised; None = they have none.
    """
    elements = Elements()
    for name, array in arrays.items():
        rows = array.reshape(len(array), -1)
        low, high = rows.min(axis=0), rows.max(axis=0)
        span = span_of(low, high)
        ends = np.stack([normalizer.normalize(name, end.reshape(features[name].shape)).ravel() for end in (low, high)])
        constant = span * np.ravel(normalizer.scale[name]) < STILL
        elements.constant[name] = constant
        sample = rows[:: max(1, rows.size // SAMPLED_NUMBERS)].astype(np.float64)
        inner = np.quantile(sample, [0.01, 0.99], axis=0)
        shift = np.ravel(normalizer.shift.get(name, np.zeros(features[name].shape)))
        names = features[name].names or [str(i) for i in range(rows.shape[1])]
        for i, label in enumerate(names):
            element = f"{name} {label}" if features[name].shape else name
            if constant[i]:
                still = elements.still_actions if name == action else elements.still
                still.append(f"{element} ({f'within {span[i]:.3g} of ' if span[i] else ''}{low[i]:.6g})")
                continue
            if name == action and clip is not None and np.abs(ends[:, i]).max() > clip * (1 + 1e-5):
                elements.clipped.append(f"{element} ({low[i]:.4g} to {high[i]:.4g})")
            if odd := _odd(rows[:, i], float(span[i]), inner[:, i], float(shift[i])):
                elements.unusual.append(f"{element} {odd}")
    return elements


def _odd(column: np.ndarray, span: float, inner: np.ndarray, shift: float) -> str | None:
    low, high = column.min(), column.max()
    within = float(inner[1] - inner[0])
    if span > OUTLYING * within and (within > 0 or _is_rare(column)):
        return f"has outliers ({low:.4g} to {high:.4g}, 98 % of it {inner[0]:.4g} to {inner[1]:.4g})"
    if column.dtype.kind == "f":
        levels = span / float(np.spacing(np.maximum(abs(low), abs(high))))
        if levels < FEW_LEVELS:
            return f"moves by {span:.3g} at {high:.6g}, {levels:.0f} steps of {column.dtype}: little is left of it"
    if shift:
        return f"moves by {span:.3g} around {shift:.6g}, which is taken off in double precision"
    if span < SMALL:
        return f"moves by {span:.3g} only and is learnt as any other: leave it out if that is noise"
    return None


def _is_rare(column: np.ndarray) -> bool:
    """Whether all but one step in a thousand have the same number."""
    return np.count_nonzero(column != np.sort(column)[len(column) // 2]) < len(column) / 1000


def _listed(found: list[str]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
