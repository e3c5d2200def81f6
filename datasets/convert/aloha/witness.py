"""The second reader of ACT's and ALOHA's HDF5: files by the numbers in their names, pictures decoded by OpenCV alone.

OpenCV's decoder undoes what its encoder did to the recorder's RGB pictures, so what it gives is RGB, whatever a reader
of JPEG would see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.aloha.files import RATES
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.witness import Label, Witness


class AlohaWitness(Witness):
    """Labels are names of files, keys the paths of arrays in them.

    Args:
        source: a file, or the folder of them.
        swap_colours: red and blue are the other way round than the recorder of ACT has them.
    """

    def __init__(self, source: Path, swap_colours: bool = False):
        self.folder = source if source.is_dir() else source.parent
        self.names = [source.name]
        if source.is_dir():
            found = [path for pattern in ("episode_*.hdf5", "episode_*.h5") for path in source.glob(pattern)]
            numbered = [path.name for path in found if path.stem[8:].isdecimal()]
            self.names = sorted(numbered, key=lambda name: (int(name.split(".")[0][8:]), name))
        self.swap_colours = swap_colours

    def episodes(self) -> Sequence[Label]:
        return self.names

    def length(self, label: Label) -> int:
        return len(self.rows(label, "action"))

    def times(self, label: Label) -> np.ndarray | None:
        return None

    def rate(self) -> float | None:
        """The first that a file says."""
        import h5py

        for name in self.names:
            with contextlib.suppress(OSError, ValueError, TypeError), h5py.File(self.folder / name, "r") as file:
                said = [float(file.attrs[word]) for word in RATES if word in file.attrs]
                if said:
                    return said[0]
        return None

    def rows(self, label: Label, key: str) -> np.ndarray:
        return self._read(label, key, None)[0]

    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        return [self._picture(label, key, row) for row in self._read(label, key, steps)]

    def _read(self, label: Label, key: str, steps: Sequence[int] | None) -> list[np.ndarray]:
        """The rows of these steps one by one, or all of them as one array."""
        import h5py

        path = self.folder / str(label)
        try:
            with h5py.File(path, "r") as file:
                array = file[f"/{key}"]
                return [np.asarray(array[...])] if steps is None else [np.asarray(array[step]) for step in steps]
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise damaged(f"{path}: {key!r}", error) from error

    def _picture(self, label: Label, key: str, row: np.ndarray) -> np.ndarray:
        """Encoded pictures are a row of bytes, or one string of them; others are pixels."""
        if row.ndim == 0 or (row.ndim == 1 and row.dtype == np.uint8):
            data = np.frombuffer(row.item(), np.uint8) if row.ndim == 0 else row
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            if image is None:
                raise DatasetError(f"{self.folder / str(label)}: a picture of {key!r} cannot be decoded.")
            row = image
        colour = row.ndim == 3 and row.shape[2] == 3
        return np.ascontiguousarray(row[..., ::-1]) if self.swap_colours and colour else row
