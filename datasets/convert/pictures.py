"""How arrays of numbers become pictures: layout and range as data, judged from the values and checked in every episode.

Our pictures are uint8, rows first, channels last. Sources hold floats in [0, 1], [-1, 1] or [0, 255], 10 to 16 bits,
channels first, or a fourth channel. `judge` says which, from frames of many episodes; `Pixels` does it, and refuses an
episode that does not fit by name instead of cutting its values off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError

Range = tuple[float, float]
FLOAT_RANGES: tuple[Range, ...] = ((0.0, 255.0), (-1.0, 1.0), (0.0, 1.0))
BITS = (8, 10, 12, 14, 16)
LEVELS = 255.0
HALF_LEVEL = 0.5 / LEVELS  # of the range: what rounds to black or white
DIM = 0.1  # of 255: a picture in [0, 255] has a brighter pixel somewhere, or whole numbers


@dataclass(frozen=True)
class Span:
    """What some frames hold: the extremes, and whether all values are whole numbers."""

    low: float = np.inf
    high: float = -np.inf
    whole: bool = True

    @classmethod
    def of(cls, frames: np.ndarray) -> Span:
        """Of at least one value; NaN makes both ends NaN."""
        whole = frames.dtype.kind in "biu" or bool((frames == np.rint(frames)).all())
        return cls(float(frames.min()), float(frames.max()), whole)

    def __or__(self, other: Span) -> Span:
        return Span(
            float(np.minimum(self.low, other.low)), float(np.maximum(self.high, other.high)), self.whole and other.whole
        )

    @property
    def range(self) -> Range | None:
        """The range of floats that these look like; None when they look like none, or are all zeros."""
        if self.low == self.high == 0 or not np.isfinite(self.low + self.high):
            return None
        if self.low < -HALF_LEVEL:
            return (-1.0, 1.0) if _within(self, (-1.0, 1.0)) else None
        if _within(self, (0.0, 1.0)):
            return 0.0, 1.0
        bright = self.whole or self.high >= DIM * LEVELS
        return (0.0, 255.0) if bright and _within(self, (0.0, 255.0)) else None

    def __str__(self) -> str:
        return f"{self.low:.6g} to {self.high:.6g}"


def _within(span: Span, wanted: Range) -> bool:
    slack = HALF_LEVEL * (wanted[1] - wanted[0])
    return wanted[0] - slack <= span.low and span.high <= wanted[1] + slack


def judge(dtype: np.dtype[Any], spans: Sequence[Span]) -> Range | None:
    """The values that become 0 and 255, from what frames of some episodes hold; None when they fit no known range.

    Floats: the range of most episodes. Integers: the fewest bits that hold all.
    """
    if dtype.kind == "f":
        votes = Counter(span.range for span in spans if span.low != 0 or span.high != 0)
        if not votes:  # black, whatever the range
            return 0.0, 255.0
        most = max(votes.values())
        # where two are as common, the wider one: one episode without a dark pixel is nothing strange
        return next((r for r in FLOAT_RANGES if votes[r] == most), None)
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    bits = next((bits for bits in BITS if high < 2**bits), None)
    return (0.0, float(2**bits - 1)) if bits and low >= 0 else None


@dataclass(frozen=True)
class Pixels:
    """What is done to the pictures of one array. It is data: whoever checks the result applies it to the source anew.

    Attributes:
        key: what the source calls the array.
        shape: of one picture in the source.
        range: the values that become 0 and 255; None where values stay as they are (uint8 and depth).
        channels_first: (C, H, W) becomes (H, W, C).
        alpha: a fourth channel is left out.
        dtype: of the result, uint8 or uint16 (depth).
        judged: the range was judged from the values; else the user gave it.
    """

    key: str
    shape: tuple[int, ...]
    range: Range | None = None
    channels_first: bool = False
    alpha: bool = False
    dtype: str = "uint8"
    judged: bool = True

    @property
    def placed_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        shape = (*self.shape[1:], self.shape[0]) if self.channels_first else self.shape
        channels = 1 if len(shape) == 2 else shape[2]
        return shape[0], shape[1], 3 if self.alpha else channels

    def place(self, frames: np.ndarray) -> np.ndarray:
        """`(N, *shape)` with channels last and without alpha; the values stay as they are."""
        frames = frames.reshape(len(frames), *self.shape)
        if self.channels_first:
            frames = np.moveaxis(frames, 1, -1)
        if len(self.shape) == 2:
            frames = frames[..., None]
        return frames[..., :3] if self.alpha else frames

    @property
    def axes(self) -> tuple[int, ...] | None:
        """Order of the axes of one picture of the source; None where it stays."""
        return (1, 2, 0) if self.channels_first else None

    @property
    def gain(self) -> float:
        """Ours = source * gain + offset, rounded."""
        return 1.0 if self.range is None else LEVELS / (self.range[1] - self.range[0])

    @property
    def offset(self) -> float:
        """See `gain`."""
        return 0.0 if self.range is None else -self.range[0] * self.gain

    def scale(self, frames: np.ndarray) -> np.ndarray:
        """Values of the source as the nearest of our levels. What lies outside the range has no meaning here."""
        if self.range is None:
            return frames.astype(self.dtype, copy=False)
        if (self.gain, self.offset) != (1.0, 0.0):
            frames = frames.astype(np.float64) * self.gain + self.offset
        return np.clip(np.rint(frames), 0, LEVELS).astype(self.dtype)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """`(N, *shape)` of the source as `(N, H, W, C)` (depth with one channel: `(N, H, W)`)."""
        placed = self.scale(self.place(frames))
        return placed[..., 0] if self.dtype == "uint16" else placed

    def reader(self) -> PixelReader:
        """For the frames of one episode."""
        return PixelReader(self)


class PixelReader:
    """The pictures of one episode, block by block."""

    def __init__(self, pixels: Pixels):
        self.pixels, self._span, self._steps = pixels, Span(), 0

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The next frames as ours. Raises DatasetError naming the step for a value that is outside the range."""
        pixels = self.pixels
        if frames.dtype != pixels.dtype or pixels.range is not None:
            placed = pixels.place(frames)
            low, high = pixels.range or (0.0, float(np.iinfo(pixels.dtype).max))
            slack = HALF_LEVEL * (high - low) if frames.dtype.kind == "f" else 0.0
            fits = (placed >= low - slack) & (placed <= high + slack)  # false for NaN
            if not fits.all():
                place = tuple(np.argwhere(~fits)[0])
                step = self._steps + place[0]
                if not np.isfinite(placed[place]):
                    raise DatasetError(f"step {step}: {pixels.key} holds {placed[place]}; expected finite numbers.")
                raise DatasetError(
                    f"step {step}: {pixels.key} holds {placed[place]:.6g}, outside {low:g} to "
                    f"{high:g}; --range {pixels.key}=LOW,HIGH says which values are black and white."
                )
            self._span |= Span.of(placed)
        self._steps += len(frames)
        return pixels(frames)

    def finish(self) -> None:
        """Raises DatasetError for an episode that looks like another range than the one that was judged."""
        found, judged = self._span.range, self.pixels.range
        if self.pixels.judged and judged in FLOAT_RANGES and found not in (None, judged) and not self._span.whole:
            raise DatasetError(
                f"{self.pixels.key} holds {self._span}, where others hold {judged[0]:g} to {judged[1]:g}; "
                f"--range {self.pixels.key}={judged[0]:g},{judged[1]:g} takes it as it is."
            )


def joined(spans: Iterable[Span]) -> Span:
    """What all of them hold together."""
    total = Span()
    for span in spans:
        total |= span
    return total
