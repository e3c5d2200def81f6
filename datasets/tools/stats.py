"""Statistics of every element of every feature, of all episodes or of some, without decoding an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.core.errors import ConfigError, FeatureError, unknown_name
from robolearn.core.feature import Feature
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json
from robolearn.datasets.format.statistics import ROWS, Statistics
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.select import Selection

MOST_ELEMENTS = 64  # shown of one feature in the table for people


def dataset_stats(dataset: Dataset, selection: Selection | None = None, names: Sequence[str] = ()) -> Json:
    """Statistics of the selected episodes, json-ready.

    Minimum, maximum, mean and standard deviation come from what was kept while recording; quantiles of numbers are
    exact, from their arrays; those of images are of the pixels that were sampled while recording, one element a
    channel (depth to 256 mm).

    Args:
        dataset: the dataset.
        selection: episodes; all that are not quarantined by default.
        names: features; all by default.

    Raises ConfigError when no episode is selected, FeatureError for an unknown feature.
    """
    for name in names:
        if name not in dataset.features:
            raise FeatureError(f"{dataset.name}: {unknown_name('feature', name, dataset.features)}")
    episodes = np.flatnonzero((selection or Selection()).find(dataset))
    if not episodes.size:
        raise ConfigError(f"{dataset.name}: no episode is selected; choose others.")
    lengths = np.diff(dataset.episode_ends, prepend=0)[episodes]
    return {
        "path": dataset.name,
        "episodes": int(episodes.size),
        "steps": int(lengths.sum()),
        "features": [
            _feature_stats(dataset, feature, episodes)
            for name, feature in dataset.features.items()
            if name in names or not names
        ],
    }


def _feature_stats(dataset: Dataset, feature: Feature, episodes: np.ndarray) -> Json:
    found = dataset.statistics(feature.name, episodes, quantiles=True)
    quantiles = found.quantiles if found.quantiles is not None else ()
    return {
        "name": feature.name,
        "unit": feature.unit,
        "sampled_pixels" if layout.is_encoded(feature) else "count": found.count,
        "elements": element_names(feature, found),
        **{row: getattr(found, row).tolist() for row in ROWS[:4]},
        **{row: values.tolist() for row, values in zip(ROWS[4:], quantiles, strict=True)},
    }


def element_names(feature: Feature, found: Statistics) -> list[str]:
    """A label for each element: its name, the channel of an image, else its index."""
    if feature.kind == "image" and len(found.mean) == 3:
        return ["red", "green", "blue"]
    if feature.kind == "depth" or len(found.mean) == 1:
        return [""]
    if feature.names:
        return list(feature.names)
    return [",".join(map(str, index)) for index in np.ndindex(feature.shape)]


def to_text(stats: Json) -> str:
    """The record of `dataset_stats` as a table for people."""
    lines = [f"{stats['path']}: {stats['episodes']} episodes, {stats['steps']} steps", ""]
    rows: list[tuple[str, ...]] = [("feature", "unit", *ROWS)]
    for feature in stats["features"]:
        elements = feature["elements"]
        for index, element in enumerate(elements[:MOST_ELEMENTS]):
            label = f"{feature['name']} {element}".rstrip()
            rows.append((label, feature["unit"] or "", *(f"{feature[row][index]:.4g}" for row in ROWS)))
        if len(elements) > MOST_ELEMENTS:
            rows.append((f"... {len(elements) - MOST_ELEMENTS} more (--json)", "", *("" for _ in ROWS)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        words = [f"{row[0]:<{widths[0]}}", f"{row[1]:<{widths[1]}}"]
        words += [f"{cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(words).rstrip())
    if any("sampled_pixels" in feature for feature in stats["features"]):
        lines += ["", "Images: of pixels sampled while recording, 0 to 255; depth to 256 mm."]
    return "\n".join(lines)
