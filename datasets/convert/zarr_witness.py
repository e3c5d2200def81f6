"""The second reader of replay buffers: the steps of an episode are those that fewer than `k` ends lie before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.witness import Label, Witness


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
        except Exception as error:  # zarr has no common base of what a damaged store makes it raise
            raise damaged(source, error) from error
        self.episode_of = np.searchsorted(ends, np.arange(ends[-1] if len(ends) else 0), side="right")
        self.count = len(ends)
        self._rows: tuple[tuple[str, int], np.ndarray] | None = None

    def episodes(self) -> Sequence[Label]:
        return range(self.count)

    def length(self, label: Label) -> int:
        return len(self._steps(label))

    def times(self, label: Label) -> np.ndarray | None:
        if self.clock is None or f"data/{self.clock}" not in self.group:
            return None
        return self.rows(label, self.clock).reshape(-1).astype(np.float64)

    def rows(self, label: Label, key: str) -> np.ndarray:
        asked = (key, int(label))
        if self._rows is None or self._rows[0] != asked:  # several features may come from one array
            self._rows = asked, self._selected(key, self._steps(label))
        return self._rows[1]

    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        return list(self._selected(key, self._steps(label)[list(steps)]))

    def close(self) -> None:
        self.store.close()

    def _steps(self, label: Label) -> np.ndarray:
        return np.flatnonzero(self.episode_of == int(label))

    def _selected(self, key: str, rows: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self.group[f"data/{key}"].oindex[rows])  # type: ignore[union-attr]
        except Exception as error:  # whatever the array's compressor raises
            raise DatasetError(f"{self.path}: data/{key} cannot be read ({' '.join(str(error).split())}).") from error
