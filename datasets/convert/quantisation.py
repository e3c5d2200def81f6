"""How far a JPEG's luminance can be from the picture it was made of, from the quantisation tables in the file.

JPEG's transform of a block of 8 x 8 is orthonormal, so errors of its coefficients and errors of its pixels have the
same sum of squares. A coefficient is rounded to a multiple of its entry q in the table: it is off by at most q / 2. So
over all blocks

    sum of squared errors <= blocks * sum over the 64 entries of (q / 2)^2

Rounding of pixels, of colours and of the transform itself adds less than `ROUNDING` levels a pixel.
"""

from __future__ import annotations

import numpy as np

from robolearn.core.errors import DatasetError

ROUNDING = 2.0
TABLES, SCAN = 0xDB, 0xDA


def luma_table(data: bytes) -> np.ndarray:
    """`(64,)` the first quantisation table of a JPEG. Raises DatasetError when there is none."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != SCAN:
        size = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == TABLES:
            wide = data[place + 4] >> 4
            found = np.frombuffer(data, ">u2" if wide else "u1", 64, place + 5)
            return found.astype(np.float64)
        place += 2 + size
    raise DatasetError(f"The {len(data)} bytes of an image hold no quantisation table.")


def luma_bound(data: bytes, height: int, width: int) -> float:
    """Root of the largest sum of squared errors of the luminance that the tables of this JPEG allow.

    Blocks reach beyond the right and lower edge of a picture whose sides are no multiples of 16.
    """
    blocks = 4 * (-(-height // 16)) * (-(-width // 16))
    of_coefficients = blocks * float(np.sum((luma_table(data) / 2) ** 2))
    return float(np.sqrt(of_coefficients) + ROUNDING * np.sqrt(height * width))
