"""`Frames`: the encoded images of one array, read one by one and compared with their checksums."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.layout import ArrayInfo
from robolearn.datasets.format.lazy_frames import LazyFrames
from robolearn.datasets.read.store import DAMAGED, Store

_AT_ONCE = 64


class Frames:
    """The encoded images of one array, each compared with its crc32.

    Args:
        ends: `(E,)` cumulative ends of the episodes, in rows.
        crcs: uint32, of row `first` and those after it.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        info: ArrayInfo,
        codec: ImageCodec,
        ends: np.ndarray,
        crcs: np.ndarray,
        first: int = 0,
    ):
        self.key = key
        self.shape, self.dtype = info.row_shape, info.dtype
        self.codec = codec
        self._store = store
        self._length = info.length
        self._suffix = info.chunk_name(0)[1:]
        self._ends, self._crcs, self._first = ends, crcs, first

    def __len__(self) -> int:
        return self._length

    def name(self, row: int) -> str:
        """Path of a frame within the dataset. Raises DatasetError for a row out of range."""
        if not 0 <= row < self._length:
            raise DatasetError(
                f"{self._store.where(self.key)} has no image {row}; it has {self._length}, counted from 0."
            )
        return f"{self.key}/{row}{self._suffix}"

    def encoded(self, row: int) -> bytes:
        """The bytes of one image. Raises DatasetError naming its file when they are not those recorded."""
        name = self.name(row)
        data = self._store.read(name)
        if zlib.crc32(data) != self._crcs[row - self._first]:
            raise self._differs(row, len(data))
        return data

    def encoded_many(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Like `encoded`, several; from far away at the same time."""
        names = [self.name(int(row)) for row in rows]
        found = list(self._store.read_many(names))
        for row, data in zip(rows, found, strict=True):
            if zlib.crc32(data) != self._crcs[row - self._first]:
                raise self._differs(row, len(data))
        return found

    def _differs(self, row: int, size: int) -> DatasetError:
        episode = np.searchsorted(self._ends, row, side="right")
        return DatasetError(
            f"{self._store.where(self.name(row))}: this image of episode {episode} ({size} bytes) does not have the "
            f"checksum taken when it was recorded: {DAMAGED}."
        )

    def image(self, row: int) -> np.ndarray:
        """One image, decoded, of the feature's shape."""
        image = np.empty(self.shape, self.dtype)
        try:
            self.codec.decode_into(self.encoded(row), image)
        except DatasetError as error:
            if self._store.name in str(error):
                raise
            raise DatasetError(f"{self._store.where(self.name(row))}: {error} {DAMAGED.capitalize()}.") from error
        return image

    def between(self, rows: slice) -> LazyFrames[int]:
        """Consecutive images, read when they are asked for."""
        return LazyFrames(self.encoded_many, range(rows.start, rows.stop), _AT_ONCE)
