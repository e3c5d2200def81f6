"""The second reader of HDF5 with a group an episode (robomimic, robosuite): h5py, whole arrays by their full names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.witness import Label, Witness

GROUP, COUNTED = "data", "actions"


class Hdf5Witness(Witness):
    """Keys are paths below `data/<label>`. Raises DatasetError where the file cannot be opened."""

    def __init__(self, file: Path):
        import h5py

        self.path = file
        try:
            self.file = h5py.File(file, "r")
            group = self.file[GROUP]
            document = group.attrs.get("robolearn")
            exported = parsed(document) if document is not None else {}
            self.clock = str(exported["timestamp"]) if exported else None
            self.fps = float(exported["fps"]) if exported else None
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise damaged(file, error) from error

    def episodes(self) -> Sequence[Label]:
        named = [name for name in self.file[GROUP] if name.partition("_")[2].isdigit()]
        return sorted(named, key=lambda name: int(name.partition("_")[2]))

    def length(self, label: Label) -> int:
        """Of the actions, or where there are none of the first array that there is."""
        found: list[int] = []
        group = self._array(label, "")
        if COUNTED not in group:
            group.visititems(lambda _, item: found.append(len(item)) if getattr(item, "shape", ()) else None)
        return found[0] if found else int(self._array(label, COUNTED).shape[0])

    def times(self, label: Label) -> np.ndarray | None:
        return self.rows(label, self.clock).astype(np.float64) if self.clock else None

    def rate(self) -> float | None:
        """Of an export of ours, else the control rate of the environment."""
        if self.fps is not None:
            return self.fps
        try:
            found = float(parsed(self.file[GROUP].attrs["env_args"])["env_kwargs"]["control_freq"])
        except (KeyError, TypeError, ValueError, OSError):
            return None
        return found if 0 < found < math.inf else None

    def rows(self, label: Label, key: str) -> np.ndarray:
        return self._read(label, key, slice(None))

    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        return [self._read(label, key, step) for step in steps]

    def close(self) -> None:
        self.file.close()

    def _array(self, label: Label, key: str):  # type: ignore[no-untyped-def]  # h5py has no types
        try:
            return self.file[f"/{GROUP}/{label}/{key}".rstrip("/")]
        except KeyError as error:
            raise DatasetError(f"{self.path}: {label} has no {key!r}.") from error

    def _read(self, label: Label, key: str, rows: int | slice) -> np.ndarray:
        try:
            return np.asarray(self._array(label, key)[rows])
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise damaged(f"{self.path}: {key!r} of {label}", error) from error
