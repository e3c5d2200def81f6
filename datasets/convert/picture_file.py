"""An encoded picture as a source holds it: what its header says, and its pixels in the type that it has.

Readers of pictures narrow without a word: 16 bits become 8, a palette's transparency and a fourth channel are gone.
Here a picture says what it is first, and what becomes of it is decided with that in view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.format.codecs import ImageCodec, JpegCodec, PngCodec
from robolearn.datasets.format.image_header import JPEG_START, PNG_START, image_header

PALETTE, COLOUR_TYPE = 3, 25  # of a PNG, and where it is in the file
DEEP = (0.0, 65535.0)  # the values of 16 bits that become 0 and 255


@dataclass(frozen=True)
class PictureFile:
    """The header of a JPEG or PNG.

    Attributes:
        channels: 1 grey, 2 grey and alpha, 3 colours, 4 colours and alpha.
        bits: of a sample, 8 for pictures of fewer.
        plain: whether the pixels are stored as such, and not as places in a palette or in fewer than 8 bits.
    """

    data: bytes
    height: int
    width: int
    channels: int
    bits: int
    plain: bool

    @classmethod
    def read(cls, data: bytes) -> PictureFile:
        """Raises DatasetError for anything but a JPEG or PNG with a header."""
        if not data.startswith((JPEG_START, PNG_START)):
            raise DatasetError(f"{len(data)} bytes are neither JPEG nor PNG")
        palette = data.startswith(PNG_START) and len(data) > COLOUR_TYPE and data[COLOUR_TYPE] == PALETTE
        if palette:
            # a palette has three colours of 8 bits, and one transparent colour or more where it says so
            header = data[:COLOUR_TYPE] + b"\x02" + data[COLOUR_TYPE + 1 : COLOUR_TYPE + 2]
            height, width, _, bits = image_header(header)
            return cls(data, height, width, 4 if b"tRNS" in data[:2048] else 3, 8, plain=False)
        height, width, channels, bits = image_header(data)
        if channels == 4 and data.startswith(JPEG_START):
            raise DatasetError("its JPEG has the four colours of print (CMYK), expected RGB or grey")
        return cls(data, height, width, channels, max(8, bits), plain=bits >= 8)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(H, W)` of grey pictures, else `(H, W, 3)`: without alpha."""
        return (self.height, self.width) if self.channels < 3 else (self.height, self.width, 3)

    @property
    def alpha(self) -> bool:
        return self.channels in (2, 4)

    @property
    def kind(self) -> str:
        """Such as `colour of 8 bits`."""
        colours = {1: "grey", 2: "grey with alpha", 3: "colour", 4: "colour with alpha"}[self.channels]
        return f"{colours} of {self.bits} bits"

    def pixels(self) -> np.ndarray:
        """`(H, W)` or `(H, W, 3)` RGB, uint8 or uint16. Raises DatasetError for a damaged picture."""
        if self.plain and not self.alpha and self.bits == 8:
            return self._codec.decode(self.data)
        self._codec.require_whole(self.data)  # OpenCV takes memory for what a damaged file claims to be
        image = cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise DatasetError(f"the {len(self.data)} bytes of a picture cannot be decoded")
        if image.ndim == 3:
            image = image[..., 0] if self.channels < 3 else image[..., 2::-1]
        if image.shape != self.shape:
            raise DatasetError(f"the {len(self.data)} bytes of a picture are {image.shape}, their header {self.shape}")
        return np.ascontiguousarray(image)

    @property
    def _codec(self) -> ImageCodec:
        return PngCodec() if self.data.startswith(PNG_START) else JpegCodec()


def taken(file: PictureFile, feature: Feature, pixels: Pixels | None, say: Callable[[str], None]) -> np.ndarray:
    """The pixels as a feature holds them.

    Args:
        pixels: how they are scaled; without it they have to fit.
        say: called with a note on what is left out.

    Raises DatasetError saying what was found and what was expected.
    """
    expected = feature.shape[:2] if feature.shape[2:] in ((), (1,)) else feature.shape
    wanted = 8 * np.dtype(feature.dtype).itemsize
    if file.shape != expected or (file.bits > wanted and pixels is None):
        raise DatasetError(
            f"it is {'x'.join(map(str, file.shape))}, {file.kind}, expected {'x'.join(map(str, expected))} of "
            f"{wanted} bits"
        )
    image = file.pixels()
    if file.alpha:
        say(f"{feature.name}: pictures have a fourth channel (alpha), which is left out")
    if file.bits > wanted and pixels is not None:
        image = pixels.scale(image)
    return image.astype(feature.dtype, copy=False)
