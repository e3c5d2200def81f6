"""`Buffers`: memory of batches, used again once nobody holds a batch that lies in it."""

from __future__ import annotations

import sys
import threading

import numpy as np


class Buffers:
    """Arrays that are taken again and again with the same shape.

    Fresh memory costs a page fault every 4 KiB, which is a tenth of the time to decode an image into it. Whoever holds
    a batch, or a view or tensor of it, holds a reference to its buffer; without references it is taken again.

    Args:
        limit: buffers kept for each name; beyond that memory is fresh.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._kept: dict[str, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, rows: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """`(rows, *shape)`, C-contiguous, with any content. `rows` may differ between calls, the rest may not."""
        with self._lock:
            kept = self._kept.setdefault(name, [])
            for index in range(len(kept)):
                # the list and the call itself: no one else
                if len(kept[index]) >= rows and sys.getrefcount(kept[index]) == 2:
                    return kept[index][:rows]
            fresh = np.empty((rows, *shape), dtype)
            if len(kept) < self._limit:
                kept.append(fresh)
            return fresh[:rows]
