"""What the header of an encoded image says of it, without decoding it."""

from __future__ import annotations

import struct

from robolearn.core.errors import DatasetError

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type
NO_FRAME = (0xC4, 0xC8, 0xCC)  # the markers among C0 to CF that do not start a JPEG frame

LARGEST = 1 << 26  # pixels, more than cameras have; a megabyte of PNG may claim a hundred times as many


def image_header(data: bytes) -> tuple[int, int, int, int]:
    """(height, width, channels, bits a sample) of a JPEG or PNG file.

    Raises DatasetError for anything else, and for a picture too large to be one.
    """
    height, width, channels, bits = _header(data)
    require_size(height, width)
    return height, width, channels, bits


def require_size(height: int, width: int) -> None:
    """Raises DatasetError for a picture of more pixels than cameras have."""
    if height * width > LARGEST:
        raise DatasetError(f"an image claims to be {height}x{width}; up to {LARGEST} pixels are read.")


def _header(data: bytes) -> tuple[int, int, int, int]:
    try:
        if data.startswith(PNG_START):
            width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
            return height, width, PNG_CHANNELS[colours], bits
        if data.startswith(JPEG_START):
            position = len(JPEG_START)
            while True:
                mark, marker, size = struct.unpack_from(">BBH", data, position)
                if mark != 0xFF or size < 2:
                    break
                if 0xC0 <= marker <= 0xCF and marker not in NO_FRAME:
                    bits, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
                    return height, width, channels, bits
                position += 2 + size
    except (struct.error, KeyError):
        pass
    raise DatasetError(f"The {len(data)} bytes of an image have no JPEG or PNG header that can be read.")
