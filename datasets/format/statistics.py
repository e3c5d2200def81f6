"""Statistics kept while recording: exact per episode for numbers, histograms of sampled pixels for images.

Merging over episodes is exact for count, minimum, maximum, mean and standard deviation and never touches the data
(Chan, Golub, LeVeque 1983: the sum of squared deviations of a union from those of its parts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.feature import Feature

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
ROWS = ("min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99")

# of an image feature, every 10th frame is looked at, and of that every 8th pixel of every 8th line
SAMPLED_FRAMES = 10
SAMPLED_PIXELS = 8
BINS = 256


@dataclass(frozen=True)
class Statistics:
    """Of all elements of a feature, over steps.

    Attributes:
        count: steps.
        min, max, mean, std: `(D,)` float64, D = prod(shape); std is that of the population.
        quantiles: `(5, D)` at 1, 10, 50, 90 and 99 %, or None where they are not known.
    """

    count: int
    min: np.ndarray
    max: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    quantiles: np.ndarray | None = None


def episode_statistics(rows: np.ndarray) -> np.ndarray:
    """`(9, D)` float64, in the order of `ROWS`, of `(T, *shape)` numbers with T >= 1. Exact."""
    flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
    ordered = np.sort(flat, axis=0)
    place = np.array(QUANTILES) * (len(flat) - 1)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, len(flat) - 1)
    share = (place - low)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):  # finite numbers near the largest float64
        quantiles = ordered[low] * (1 - share) + ordered[high] * share
        # around the median, so that numbers far from 0 do not lose to rounding what they differ by
        middle = ordered[len(flat) // 2]
        moved = flat - middle
        return np.concatenate([ordered[[0, -1]], [middle + moved.mean(0), moved.std(0)], quantiles])


def array_statistics(rows: np.ndarray) -> Statistics:
    """Exact statistics of `(T, *shape)` numbers with T >= 1."""
    return merge_statistics(episode_statistics(rows)[None], np.array([len(rows)]))


def merge_statistics(rows: np.ndarray, lengths: np.ndarray) -> Statistics:
    """Statistics of the union of episodes.

    Args:
        rows: `(E, 9, D)` as kept in `statistics/<feature>`, E >= 1.
        lengths: `(E,)` steps of each episode, all at least 1.

    Quantiles of a union do not follow from those of its parts: they are None unless E is 1.
    """
    weights = np.asarray(lengths, np.float64)[:, None]
    count = int(np.sum(lengths))
    # around one of the means, so that numbers far from 0 do not lose to rounding what they differ by
    mean = rows[0, 2] + ((rows[:, 2] - rows[0, 2]) * weights).sum(0) / count
    squares = (weights * (rows[:, 3] ** 2 + (rows[:, 2] - mean) ** 2)).sum(0)
    return Statistics(
        count,
        rows[:, 0].min(0),
        rows[:, 1].max(0),
        mean,
        np.sqrt(squares / count),
        rows[0, 4:].copy() if len(rows) == 1 else None,
    )


def image_channels(feature: Feature) -> int:
    """Channels that the histogram of an image or depth feature has."""
    return feature.shape[2] if len(feature.shape) == 3 else 1


def pixel_histogram(feature: Feature, frame: np.ndarray) -> np.ndarray:
    """`(C, 256)` uint32 histogram of the sampled pixels of one frame; of depth, `value >> 8`."""
    offset = SAMPLED_PIXELS // 2 if min(feature.shape[:2]) > SAMPLED_PIXELS else 0
    pixels = frame.reshape(*feature.shape[:2], image_channels(feature))[offset::SAMPLED_PIXELS, offset::SAMPLED_PIXELS]
    if feature.kind == "depth":
        pixels = pixels >> 8
    channels = pixels.reshape(-1, pixels.shape[2]).T
    return np.stack([np.bincount(channel, minlength=BINS) for channel in channels]).astype(np.uint32)


def histogram_statistics(histogram: np.ndarray) -> Statistics:
    """Statistics of the sampled pixels of a `(C, 256)` histogram, one element a channel; exact to the bin.

    Raises ValueError for a histogram of nothing.
    """
    totals = histogram.sum(1, dtype=np.int64)
    if not totals.all():
        raise ValueError("the histogram is empty")
    bins = np.arange(BINS, dtype=np.float64)
    mean = histogram @ bins / totals
    spread = histogram @ bins**2 / totals - mean**2
    cumulative = np.cumsum(histogram, axis=1, dtype=np.int64)
    quantiles = [[np.searchsorted(row, q * row[-1]) for row in cumulative] for q in QUANTILES]
    present = histogram > 0
    return Statistics(
        int(totals[0]),
        present.argmax(1).astype(np.float64),
        (BINS - 1 - present[:, ::-1].argmax(1)).astype(np.float64),
        mean,
        np.sqrt(np.maximum(spread, 0)),
        np.array(quantiles, np.float64),
    )
