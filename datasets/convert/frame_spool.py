"""Encoded frames of the episode being read, kept in a file: an episode of any length fits into little memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Features
from robolearn.datasets.convert.picture_file import PictureFile, taken
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.lazy_frames import LazyFrames


class SpoolError(Exception):
    """A frame could not be written: the fault of the disk and not of the source. The cause is the OSError."""


def _read(file: Path, places: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of `file` between each start and stop."""
    with open(file, "rb", buffering=0) as stream:
        return [os.pread(stream.fileno(), stop - start, start) for start, stop in places]


class FrameSpool:
    """Collects the frames of one episode; a context manager.

    Args:
        file: to make; whoever uses the frames removes it.
        codecs: image or depth feature -> codec of the new dataset.
        features: those of the new dataset.

    Attributes:
        notes: one line for each thing that is left out of the pictures.
    """

    def __init__(self, file: Path, codecs: Mapping[str, ImageCodec], features: Features):
        self._file = file
        self._codecs = codecs
        self._features = {name: features[name] for name in codecs}
        self._notes: dict[str, None] = {}
        self._places: dict[str, list[tuple[int, int]]] = {name: [] for name in codecs}
        self._stream = open(file, "wb", buffering=0)  # noqa: SIM115 - closed by __exit__

    def add(self, name: str, image: np.ndarray) -> None:
        """Encode the next frame of a feature. Raises DatasetError when it has another shape than the feature."""
        self._append(name, self._encoded(name, image))

    def _encoded(self, name: str, image: np.ndarray) -> bytes:
        self._check(name, image.shape)
        return self._codecs[name].encode(image)

    def _check(self, name: str, found: tuple[int, ...]) -> None:
        expected = self._features[name].shape
        if found != expected and (*found, 1) != expected:
            raise DatasetError(
                f"frame {len(self._places[name])} of {name!r} is {_size(found)}, expected {_size(expected)}."
            )

    def add_encoded(self, name: str, data: bytes, pixels: Pixels | None = None) -> None:
        """Take the next frame as the source encoded it, JPEG or PNG: as it is where the dataset's codec allows.

        Args:
            pixels: how 16 bits become the 8 of the feature; without it they are refused.

        Raises DatasetError when it cannot be decoded or has another shape than the feature, or more bits.
        """
        self._append(name, self._transcoded(name, data, pixels))

    def _transcoded(self, name: str, data: bytes, pixels: Pixels | None) -> bytes:
        ours, feature = self._codecs[name], self._features[name]
        try:
            file = PictureFile.read(data)
            image = taken(file, feature, pixels, self._say)
        except DatasetError as error:
            raise DatasetError(f"frame {len(self._places[name])} of {name!r}: {str(error).rstrip('.')}.") from error
        as_it_is = file.plain and not file.alpha and file.bits == 8 * image.dtype.itemsize
        return data if as_it_is and data.startswith(ours.start) else self._encoded(name, image)

    def _say(self, note: str) -> None:
        self._notes[note] = None

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def repeat(self, name: str) -> None:
        """The next frame of a feature is the one before."""
        self._places[name].append(self._places[name][-1])

    def _append(self, name: str, data: bytes) -> None:
        try:
            start = self._stream.tell()
            if self._stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))
        except OSError as error:
            raise SpoolError from error
        self._places[name].append((start, start + len(data)))

    def frames(self) -> dict[str, Sequence[bytes]]:
        """All frames so far, by feature; they can be sent to another process."""
        return {name: LazyFrames(partial(_read, self._file), places) for name, places in self._places.items()}

    def __enter__(self) -> FrameSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
