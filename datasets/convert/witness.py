"""The second reader of a source, by which an import is checked: what its feature claims to hold, and what is there.

A `Witness` finds episodes, rows and frames by a path of its own. It shares no code of index or time with the importer
of the format: where that looks frames up by time, the witness counts them, and so on. `check.py` asks it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.datasets.convert.pictures import Pixels

Label = int | str
SEEDED = 3  # frames of an episode and camera that are compared, beside the first and the last


@dataclass(frozen=True)
class Claim:
    """Where the values of a feature come from, and what was changed about them on the way.

    Attributes:
        keys: of the source, as its witness calls them: the flattened rows of these, side by side. None at all for a
            feature that is computed, which then has nothing to be compared with.
        first, stop: elements of those rows that the feature holds.
        dtype: of the numbers, where the source holds them as bytes.
        shape: of a picture that the source holds as numbers.
        axes: order of its axes, `(1, 2, 0)` where the source has channels first.
        channels: of a picture, the first so many; None for all.
        range: the values that become 0 and 255; None where values stay as they are.
        why: for a computed feature, how; one short phrase.
    """

    keys: tuple[str, ...] = ()
    first: int = 0
    stop: int | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None
    channels: int | None = None
    range: tuple[float, float] | None = None
    why: str = ""

    def of_rows(self, parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        """`(T, *shape)` of what the rows of `keys` say, in the source's own type."""
        flat = [np.ascontiguousarray(part).reshape(len(part), -1) for part in parts]
        flat = flat if self.dtype is None else [part.view(self.dtype) for part in flat]
        rows = (flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1))[:, self.first : self.stop]
        return rows.reshape(len(rows), *shape)

    def of_picture(self, picture: np.ndarray) -> np.ndarray:
        """The picture as `(H, W[, C])`, in the source's own type, or as float64 where it is scaled."""
        if self.shape is not None:
            picture = picture.reshape(self.shape)
        if self.axes is not None:
            picture = np.transpose(picture, self.axes)
        if self.channels is not None and picture.ndim == 3:
            picture = picture[..., : self.channels]
        if self.range is None or self.range == (0.0, 255.0):
            return picture
        low, high = self.range
        return (picture.astype(np.float64) - low) * (255.0 / (high - low))


def claim(*keys: str, pixels: Pixels | None = None, **where: Any) -> Claim:
    """The claim of a feature that holds `keys` as they are, or pictures made of them as `pixels` says."""
    if pixels is None:
        return Claim(keys, **where)
    where |= {"shape": pixels.shape, "range": pixels.range}
    where["axes"] = pixels.axes
    where["channels"] = 3 if pixels.alpha else None
    return Claim(keys, **{name: value for name, value in where.items() if name not in ("first", "stop")})


class Witness(ABC):
    """A second reader of one source. Every method raises DatasetError for what cannot be read.

    Labels are what the source calls its episodes: a number, `demo_3`, `train/0`.

    Attributes:
        notes: one line for each thing that makes it less independent of the importer.
    """

    notes: Sequence[str] = ()

    @abstractmethod
    def episodes(self) -> Sequence[Label]:
        """All episodes that the source lists or holds, in its order."""

    @abstractmethod
    def length(self, label: Label) -> int:
        """Steps of an episode, by the source's own count."""

    @abstractmethod
    def times(self, label: Label) -> np.ndarray | None:
        """`(T,)` float64 seconds since the first step (or as an export of ours stored them); None where it has none."""

    def rate(self) -> float | None:
        """Steps a second, where the source itself says it."""
        return None

    @abstractmethod
    def rows(self, label: Label, key: str) -> np.ndarray:
        """`(T, ...)` of a low-dimensional key, in the type in which the source holds it."""

    @abstractmethod
    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        """The pictures of these steps (rising): encoded where the source holds them so, else numbers, RGB."""

    def sample(self, label: Label, key: str, count: int, rng: np.random.Generator) -> list[int]:
        """The steps to compare of an episode of `count`: first, last and `SEEDED` others.

        A format in which some frames cost much more than others chooses among the cheap ones.
        """
        inner = np.arange(1, max(1, count - 1))
        chosen = rng.choice(inner, min(SEEDED, len(inner)), replace=False)
        return sorted({0, count - 1, *chosen.tolist()})

    def close(self) -> None:  # noqa: B027 - most hold nothing open
        """Let go of files."""
