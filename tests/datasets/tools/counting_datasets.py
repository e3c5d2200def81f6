"""Datasets whose values count up, for the tests of tools."""

from dataclasses import replace

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.write.writer import DatasetWriter


def checksums(dataset):
    """Of what was recorded, per episode: not of derived arrays, of which some hold row numbers."""
    return [
        {key: crc for key, crc in record["checksums"].items() if not key.endswith("at_step")}
        for record in dataset.recorded_episodes
    ]


def counting(path, lengths, rate=10.0, first=0, **fields):
    """A dataset whose action counts up over all episodes."""
    action = replace(Feature("action", (1,), names=("x",), unit="m", kind="action"), **fields)
    with DatasetWriter.create(path, features([action]), rate, {"robot": "arm"}, durable=False) as writer:
        for index, length in enumerate(lengths):
            values = (first + np.arange(length))[:, None].astype(action.dtype)
            record = {"task": "count", "success": index % 2 == 0}
            writer.write_episode(EpisodeData(np.arange(length) / rate, {"action": values}, record=record))
            first += length
    return path
