"""Which chunks of a zarr array are stored: zarr reads zeros in place of those that are not.

What an array declares is not believed: the work grows with what is stored, however many chunks there should be.
"""

from __future__ import annotations

import math
import re
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

_KEY = re.compile(r"(c[/.])?\d+([/.]\d+)*")


class Chunks:
    """The stored objects of one array: chunks, or shards of zarr 3.

    Args:
        path: folder or zip file of the group.
        array: zarr array.
    """

    def __init__(self, path: Path, array: Any):
        self._path, self._array = path, array
        self.grid = tuple(max(1, side) for side in getattr(array, "shards", None) or array.chunks)
        self._counts = [-(-size // chunk) for size, chunk in zip(array.shape, self.grid, strict=True)]

    @cached_property
    def _stored(self) -> set[str]:
        prefix = f"{self._array.path}/"
        if self._path.is_file():
            with zipfile.ZipFile(self._path) as archive:
                names = {name.removeprefix(prefix) for name in archive.namelist() if name.startswith(prefix)}
        else:
            folder = self._path / prefix
            names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
        return {name for name in names if _KEY.fullmatch(name)}

    @property
    def none(self) -> bool:
        """Whether there should be chunks, and none is stored."""
        return math.prod(self._counts) > 0 and not self._stored

    @property
    def whole(self) -> bool:
        """Whether as many are stored as there should be."""
        return len(self._stored) >= math.prod(self._counts)

    def missing(self, first: int, last: int) -> str | None:
        """Name of a chunk with rows from `first` to `last` that is not stored; None when all of them are."""
        if self.whole:
            return None
        others = math.prod(self._counts[1:])
        for place in range(first // self.grid[0], last // self.grid[0] + 1):
            for number in range(others):  # ends at the first that is missing
                key = self._array.metadata.encode_chunk_key((place, *_unravelled(number, self._counts[1:])))
                if key not in self._stored:
                    return f"{self._array.path}/{key}"
        return None


def _unravelled(number: int, counts: list[int]) -> tuple[int, ...]:
    """Place of an element in C order; the counts may be larger than numpy can multiply."""
    place: list[int] = []
    for count in reversed(counts):
        number, rest = divmod(number, count)
        place.append(rest)
    return tuple(reversed(place))
