"""Small datasets for the tests of the loader."""

from pathlib import Path

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.loader import WindowSpec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

STATE, ACTION, IMAGE = "observation.state", "action", "observation.images.front"
VECTORS = WindowSpec.chunks([STATE], ACTION, 2, 3)
PICTURES = WindowSpec({IMAGE: (-1, 0), ACTION: (0,)})


def write_pictures(path: Path, *lengths: int) -> Dataset:
    """Steps count up over all episodes; red grows downwards, green to the right, blue with the step."""
    declared = features([Feature(STATE, (2,)), Feature(ACTION, (2,), kind="action"),
                         Feature(IMAGE, (24, 32, 3), "uint8", "image")])  # fmt: skip
    rows, columns = np.mgrid[0:24, 0:32]
    step = 0
    with DatasetWriter.create(path, declared, 10.0, durable=False) as writer:
        for length in lengths:
            writer.start_episode()
            for k in range(length):
                image = np.stack([rows * 10, columns * 8, np.full_like(rows, 15 * step)], -1).astype(np.uint8)
                state, action = np.array([step, -step], np.float32), np.array([step + 0.5, 1], np.float32)
                writer.append(0.1 * k, {STATE: state, ACTION: action, IMAGE: image})
                step += 1
            writer.commit({"task": "count"})
    return Dataset(path)


def write_vectors(path: Path, lengths: list[int], first: int = 0, fps: float = 10.0, unit: str = "m") -> Dataset:
    """Steps count up from `first` over all episodes, in state and action."""
    declared = features([Feature(STATE, (1,), unit=unit), Feature(ACTION, (1,), kind="action")])
    with DatasetWriter.create(path, declared, fps, durable=False) as writer:
        for length in lengths:
            writer.start_episode()
            for k in range(length):
                writer.append(k / fps, {STATE: np.array([first], np.float32), ACTION: np.array([first], np.float32)})
                first += 1
            writer.commit({"task": "count", "success": length > 3})
    return Dataset(path)
