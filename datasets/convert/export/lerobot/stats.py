"""Statistics as LeRobot stores them for every episode and for the whole: min, max, mean, std, count and quantiles.

Vectors over their last axis; images for each channel, of sampled frames, in [0, 1] and of shape (C, 1, 1). The whole is
put together from the episodes as LeRobot does: quantiles are the mean of the episodes' quantiles, weighted by length.
"""

from __future__ import annotations

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
MIN_SAMPLES, MAX_SAMPLES, SAMPLES_POWER = 100, 10_000, 0.75
LARGE_SIDE, SAMPLED_SIDE = 300, 150

Stats = dict[str, np.ndarray]


def of_rows(rows: np.ndarray) -> Stats:
    """Statistics of `(T, ..., D)`, or of `(T,)` as `(T, 1)`: arrays of shape (D,)."""
    flat = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else 1)
    numbers = flat.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        found = {
            "mean": numbers.mean(axis=0),
            "std": numbers.std(axis=0),
            **dict(zip(QUANTILES, np.quantile(numbers, list(QUANTILES.values()), axis=0), strict=True)),
        }
    return {"min": flat.min(axis=0), "max": flat.max(axis=0), "count": np.array([len(rows)]), **_finite(found)}


def _finite(stats: Stats) -> Stats:
    """The largest number instead of infinity, which json does not have: squares of 1e200 overflow."""
    return {name: v if np.isfinite(v).all() else np.nan_to_num(v) for name, v in stats.items()}


def sampled_steps(length: int) -> np.ndarray:
    """Which frames of an episode are looked at: all of up to 100, then ever fewer of more."""
    wanted = max(min(length, MIN_SAMPLES), min(int(length**SAMPLES_POWER), MAX_SAMPLES))
    return np.unique(np.round(np.linspace(0, length - 1, wanted)).astype(np.int64))


def thinned(image: np.ndarray) -> np.ndarray:
    """Every n-th pixel of a large image."""
    side = max(image.shape[:2])
    step = side // SAMPLED_SIDE if side >= LARGE_SIDE else 1
    return image[::step, ::step]


class ImageStats:
    """Statistics of a stream of images, from one histogram a channel: exact for the pixels that were looked at."""

    def __init__(self, channels: int, levels: int):
        self._histograms = np.zeros((channels, levels), np.int64)
        self._images = 0

    def add(self, image: np.ndarray) -> None:
        """Count an image `(H, W, C)` or `(H, W)` of unsigned integers."""
        pixels = thinned(image).reshape(-1, len(self._histograms))
        for histogram, channel in zip(self._histograms, pixels.T, strict=True):
            histogram += np.bincount(channel, minlength=len(histogram))
        self._images += 1

    def result(self) -> Stats:
        """Statistics of shape (C, 1, 1); 8-bit images are scaled to [0, 1]."""
        levels = np.arange(self._histograms.shape[1]) / (255.0 if self._histograms.shape[1] == 256 else 1.0)
        found: dict[str, list[float]] = {name: [] for name in ("min", "max", "mean", "std", *QUANTILES)}
        for histogram in self._histograms:
            total, seen = histogram.sum(), np.flatnonzero(histogram)
            mean = float(histogram @ levels / total)
            ranks = np.cumsum(histogram)
            found["min"].append(levels[seen[0]])
            found["max"].append(levels[seen[-1]])
            found["mean"].append(mean)
            found["std"].append(float(np.sqrt(histogram @ (levels - mean) ** 2 / total)))
            for name, quantile in QUANTILES.items():
                found[name].append(levels[np.searchsorted(ranks, quantile * total)])
        stats = {name: np.array(values).reshape(-1, 1, 1) for name, values in found.items()}
        return {**stats, "count": np.array([self._images])}


class Aggregate:
    """Statistics of the whole from those of its episodes; holds one set of numbers whatever their number."""

    def __init__(self) -> None:
        self._count = 0
        self._stats: Stats = {}

    def add(self, stats: Stats) -> None:
        """Count one more episode."""
        count = int(stats["count"][0])
        if not self._count:
            self._count, self._stats = count, {k: np.asarray(v) for k, v in stats.items() if k != "count"}
            return
        old, total = self._stats, self._count + count
        share = count / total
        with np.errstate(over="ignore", invalid="ignore"):
            gap = stats["mean"] - old["mean"]
            variance = (1 - share) * old["std"] ** 2 + share * stats["std"] ** 2 + share * (1 - share) * gap**2
            merged = {name: old[name] + share * (stats[name] - old[name]) for name in ("mean", *QUANTILES)}
        extremes = {"min": np.minimum(old["min"], stats["min"]), "max": np.maximum(old["max"], stats["max"])}
        self._count, self._stats = total, {**_finite({**merged, "std": np.sqrt(variance)}), **extremes}

    def result(self) -> Stats:
        return {**self._stats, "count": np.array([self._count])}
