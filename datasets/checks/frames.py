"""`FrameRoll`: the encoded frames of one camera in one episode, reduced to what the image checks need."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.read.store import Store

SAMPLED = 8  # frames that are decoded of each camera and episode, evenly spaced
SMALL = 0.4  # frames of less than this share of the median size are decoded too: black, grey and torn ones are small
THUMBNAIL = 24  # pixels along the shorter side of what is kept of a decoded frame


@dataclass
class FrameRoll:
    """Facts about T frames.

    Attributes:
        files: their keys.
        crc32: `(T,)` uint32.
        sizes: `(T,)` bytes; -1 where a frame cannot be read.
        unreadable: row -> why.
        undecodable: row -> why, of the frames that were decoded.
        brightness: row -> (mean, standard deviation) over all pixels, as a share of the full scale.
        thumbnails: row -> `(h, w, C)` pixels, of evenly spaced frames.
    """

    files: Sequence[str]
    crc32: np.ndarray
    sizes: np.ndarray
    unreadable: dict[int, str] = field(default_factory=dict)
    undecodable: dict[int, str] = field(default_factory=dict)
    brightness: dict[int, tuple[float, float]] = field(default_factory=dict)
    thumbnails: dict[int, np.ndarray] = field(default_factory=dict)


def look_at(
    store: Store, files: Sequence[str], codec: ImageCodec, shape: tuple[int, ...], images: str, decode: bool = True
) -> FrameRoll:
    """Read all frames for their checksums and decode some, or all, of them one at a time."""
    roll = FrameRoll(files, np.zeros(len(files), np.uint32), np.full(len(files), -1, np.int64))
    spaced = set(np.linspace(0, len(files) - 1, min(SAMPLED, len(files))).round().astype(int).tolist())
    for row, file in enumerate(files):
        try:
            data = store.read(file)
        except DatasetError as error:
            roll.unreadable[row] = "the file is missing" if "missing" in str(error) else str(error).rstrip(".")
            continue
        roll.crc32[row], roll.sizes[row] = zlib.crc32(data), len(data)
        if decode and (images == "all" or (images == "sample" and row in spaced)):
            _decode(roll, row, data, codec, shape, row in spaced)
    if decode and images == "sample":
        readable = roll.sizes[roll.sizes >= 0]
        limit = SMALL * float(np.median(readable)) if len(readable) else 0
        small = [row for row in np.argsort(roll.sizes, kind="stable").tolist() if 0 <= roll.sizes[row] < limit]
        for row in small[:SAMPLED]:
            if row not in spaced:
                _decode(roll, row, store.read(files[row]), codec, shape, False)
    return roll


def _decode(roll: FrameRoll, row: int, data: bytes, codec: ImageCodec, shape: tuple[int, ...], keep: bool) -> None:
    try:
        image = codec.decode(data)
    except DatasetError as error:
        roll.undecodable[row] = str(error).rstrip(".")
        return
    if image.size != np.prod(shape) or image.shape[:2] != shape[:2]:
        roll.undecodable[row] = f"it holds an image of shape {image.shape}, expected {shape}"
        return
    scale = float(np.iinfo(image.dtype).max)
    roll.brightness[row] = (float(image.mean()) / scale, float(image.std()) / scale)
    if keep:
        every = max(1, min(shape[:2]) // THUMBNAIL)
        roll.thumbnails[row] = image.reshape(*shape[:2], -1)[every // 2 :: every, every // 2 :: every].copy()
