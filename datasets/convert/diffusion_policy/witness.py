"""The second reader of replay buffers: the steps of episode k are those before which exactly k ends lie.

Arrays that fit are read whole and then indexed in memory; of others the rows are read that are asked for.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, one_line
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.witness import Label, Witness

SMALL_BYTES = 16 << 20


class ZarrWitness(Witness):
    """Reads a folder or a zip file with its own handle, row by row where pictures are asked for.

    Raises DatasetError where the group cannot be opened.
    """

    def __init__(self, source: Path):
        import zarr
        from zarr.storage import LocalStore, ZipStore

        self.path = source
        try:
            self.store: Any = ZipStore(source, mode="r") if source.is_file() else LocalStore(source, read_only=True)
            self.group = zarr.open_group(self.store, mode="r")
            ends = np.asarray(self.group["meta/episode_ends"][:], np.int64)  # type: ignore[index]
            origin: Any = self.group.attrs.get("robolearn")
            self.clock = str(origin["timestamp"]) if origin else None
            self.fps = float(origin["fps"]) if origin else None
        except Exception as error:  # zarr has no common base of what a damaged store makes it raise
            raise damaged(source, error) from error
        self.ends, self.count = ends, len(ends)
        self.total = int(ends[-1]) if len(ends) else 0
        self._arrays: dict[str, Any] = {}

    def episodes(self) -> Sequence[Label]:
        return range(self.count)

    def length(self, label: Label) -> int:
        return len(self._span(label))

    def times(self, label: Label) -> np.ndarray | None:
        if self.clock is None or f"data/{self.clock}" not in self.group:
            return None
        return self.rows(label, self.clock).reshape(-1).astype(np.float64)

    def rate(self) -> float | None:
        return self.fps

    def rows(self, label: Label, key: str) -> np.ndarray:
        span = self._span(label)
        return self._selected(key, lambda array: array[span.start : span.stop])

    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        span = self._span(label)
        return list(self._selected(key, lambda array: np.stack([array[span[step]] for step in steps])))

    def close(self) -> None:
        self.store.close()

    def _span(self, label: Label) -> range:
        """Found by halving: a buffer may claim more rows than fit in memory."""
        rows = range(self.total)
        return range(*(bisect_left(rows, number, key=self._episode_of) for number in (int(label), int(label) + 1)))

    def _episode_of(self, row: int) -> int:
        """How many ends lie before a row or at it."""
        return int(np.searchsorted(self.ends, row, side="right"))

    def _selected(self, key: str, call: Callable[[Any], np.ndarray]) -> np.ndarray:
        try:
            if key not in self._arrays:
                array: Any = self.group[f"data/{key}"]
                self._arrays[key] = array
                if array.size * array.dtype.itemsize <= SMALL_BYTES:
                    with contextlib.suppress(Exception):  # one chunk is damaged: the others are asked for one by one
                        self._arrays[key] = np.asarray(array[:])
            return np.asarray(call(self._arrays[key]))
        except Exception as error:  # whatever the array's compressor raises
            raise DatasetError(f"{self.path}: data/{key} cannot be read ({one_line(error)}).") from error
