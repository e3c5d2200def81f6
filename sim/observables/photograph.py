"""Photographs that are seen behind what is simulated."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from robolearn.core.errors import ConfigError, one_line


def read_photograph(source: str | Path | np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file or of such an array. Raises ConfigError for what is no picture."""
    if isinstance(source, str | Path):
        found = cv2.imread(str(source), cv2.IMREAD_COLOR)
        if found is None:
            raise ConfigError(f"{source} is no picture that can be read; give a JPEG or PNG file.")
        return np.ascontiguousarray(found[..., ::-1])
    if getattr(source, "dtype", None) != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise ConfigError(f"A photograph is a uint8 array (height, width, 3), found {one_line(source, 60)}.")
    return source


def fitted(photograph: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width, 3): its middle, as large as fits, at another size."""
    own_height, own_width = photograph.shape[:2]
    share = min(own_width / width, own_height / height)
    cut_width, cut_height = max(1, round(share * width)), max(1, round(share * height))
    left, top = (own_width - cut_width) // 2, (own_height - cut_height) // 2
    middle = photograph[top : top + cut_height, left : left + cut_width]
    way = cv2.INTER_AREA if cut_width >= width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(middle, (width, height), interpolation=way))
