"""Frames of a video file by their number, for witnesses: packets are counted, times only tell frames apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.protocol import damaged

NEAR = 2  # frames after a key frame that are cheap to decode


class CountedVideo:
    """One video file, its frames numbered from 0 in the order in which they are shown.

    Attributes:
        count: frames in the file.
    """

    def __init__(self, path: Path):
        import av

        self.path = path
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                found = {p.pts: p.is_keyframe for p in container.demux(stream) if p.pts is not None}
        except (av.FFmpegError, ValueError, IndexError) as error:  # type: ignore[attr-defined]
            raise damaged(path, error) from error
        self._stamps = sorted(found)
        self._number = {stamp: number for number, stamp in enumerate(self._stamps)}
        self._keys = np.array([n for n, stamp in enumerate(self._stamps) if found[stamp]] or [0])
        self.count = len(self._stamps)

    def key_before(self, number: int) -> int:
        """The last key frame up to `number`."""
        return int(self._keys[max(0, int(np.searchsorted(self._keys, number, side="right")) - 1)])

    def cheap(self, first: int, last: int) -> np.ndarray:
        """Numbers between `first` and `last` that cost little: near a key frame, or on the way to `last`."""
        numbers = np.arange(first + 1, last)
        if not len(numbers):
            return numbers
        before = np.searchsorted(self._keys, numbers, side="right") - 1
        after_key = numbers - self._keys[np.maximum(before, 0)]
        return numbers[(after_key <= NEAR) | (numbers >= self.key_before(last))]

    def frames(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """`(H, W, 3)` uint8, or `(H, W)` uint16 of grey video of more than 8 bits, for each number (rising).

        Raises DatasetError for a number that the file does not have and for frames that cannot be decoded.
        """
        import av

        found: dict[int, np.ndarray] = {}
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise DatasetError(f"{self.path}: its codec is not known.")
                stream.thread_type = "AUTO"
                decoder, place = None, -1
                for number in numbers:
                    if number >= self.count:
                        raise DatasetError(f"{self.path} has {self.count} frames, asked for number {number}.")
                    key = self.key_before(number)
                    if decoder is None or key > place:
                        container.seek(self._stamps[key], stream=stream, backward=True)
                        decoder = container.decode(stream)
                    while number not in found:
                        frame = next(decoder)
                        place = -1 if frame.pts is None else self._number.get(frame.pts, -1)
                        if place in numbers:
                            found[place] = _pixels(frame)
        except (av.FFmpegError, ValueError, StopIteration) as error:  # type: ignore[attr-defined]
            raise damaged(self.path, error) from error
        return [found[number] for number in numbers]


def _pixels(frame: Any) -> np.ndarray:
    grey = frame.format.name.startswith("gray") and frame.format.components[0].bits > 8
    return frame.to_ndarray() if grey else frame.to_ndarray(format="rgb24")
