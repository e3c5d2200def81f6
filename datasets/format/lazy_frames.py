"""`LazyFrames`: encoded frames that are read when they are asked for, so that an episode need not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

Place = TypeVar("Place")


class LazyFrames(Sequence[bytes], Generic[Place]):
    """A sequence of frames; a slice of it is read at once. It can be sent to another process where `read` can.

    Args:
        read: gives the frames at some places, in their order; what it raises reaches whoever asked.
        places: where each frame is, as `read` understands it.
        at_once: how many are read together when all are gone through.
    """

    def __init__(self, read: Callable[[Sequence[Place]], Sequence[bytes]], places: Sequence[Place], at_once: int = 1):
        self._read, self._places, self._at_once = read, places, at_once

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return list(self._read(self._places[index]))
        return self._read([self._places[index]])[0]

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), self._at_once):
            yield from self._read(self._places[start : start + self._at_once])
