"""Image codecs: one JPEG (lossy) or PNG (lossless, 8 or 16 bit) per frame, with OpenCV.

They carry the ids under which `imagecodecs` registers its own JPEG and PNG codecs with numcodecs, so plain
zarr + imagecodecs reads our datasets, and zarr alone does after `import robolearn.datasets.codecs`. Arrays are
RGB; OpenCV's BGR order does not leave this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numcodecs.registry
import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

from robolearn.core.errors import DatasetError

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def _as_image(buffer: Any) -> np.ndarray:
    """A chunk `(1, H, W[, C])` or image `(H, W[, C])` as OpenCV wants it: BGR, or one channel."""
    image = np.asarray(buffer)
    while image.ndim > 2 and image.shape[0] == 1 and not (image.ndim == 3 and image.shape[-1] in (1, 3)):
        image = image[0]
    if image.ndim == 3 and image.shape[-1] == 3:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return np.ascontiguousarray(image)


def _decode(data: bytes, start: bytes, end: bytes, flag: int) -> np.ndarray:
    """Decode to `(H, W, 3)` RGB or `(H, W)`. Raises DatasetError for anything but one whole image.

    libjpeg fills what a truncated file lacks with grey and only warns, so the end marker is checked here.
    """
    if not data.startswith(start) or not data.endswith(end):
        kind = "truncated" if data.startswith(start) else "not an image of the declared codec"
        raise DatasetError(f"The {len(data)} bytes of an image are {kind}.")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if image is None:
        raise DatasetError(f"The {len(data)} bytes of an image cannot be decoded.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image) if image.ndim == 3 else image


class ImageCodec(Codec):
    """What the two codecs share: encode an image to bytes, decode bytes to an image, numcodecs configuration."""

    start: bytes
    end: bytes

    def __init__(self, level: int | None = None, **ignored: Any):
        self.level = level  # other settings of imagecodecs matter to its encoder only

    def encode(self, buf: Any) -> bytes:
        """Encode uint8 `(H, W, 3)` RGB, `(H, W)` or `(H, W, 1)` (with or without a leading axis of 1)."""
        suffix, parameters = self._settings()
        done, data = cv2.imencode(suffix, _as_image(buf), parameters)
        if not done:
            raise DatasetError(f"OpenCV cannot encode an image of shape {np.shape(buf)} as {suffix}.")
        return data.tobytes()

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode one image. Raises DatasetError when the bytes are damaged."""
        data = bytes(ensure_contiguous_ndarray(buf))
        image = _decode(data, self.start, self.end, cv2.IMREAD_UNCHANGED)
        return image if out is None else ndarray_copy(image, out)

    def get_config(self) -> dict[str, Any]:
        return {"id": self.codec_id, "level": self.level}

    def _settings(self) -> tuple[str, list[int]]:
        raise NotImplementedError


class JpegCodec(ImageCodec):
    """JPEG without chroma subsampling; `level` is the quality, 1 to 100."""

    codec_id = "imagecodecs_jpeg"
    start, end = JPEG_START, JPEG_END

    def __init__(self, level: int | None = 95, subsampling: str = "444", **ignored: Any):
        super().__init__(level)
        self.subsampling = subsampling
        factors = {
            "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
            "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        }
        quality = 95 if level is None else int(level)
        factor = factors.get(str(subsampling), cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "subsampling": self.subsampling}

    def _settings(self) -> tuple[str, list[int]]:
        return ".jpg", self._parameters


class PngCodec(ImageCodec):
    """PNG, for lossless colour images and for depth (uint16); `level` is zlib's, 0 to 9."""

    codec_id = "imagecodecs_png"
    start, end = PNG_START, PNG_END

    def __init__(self, level: int | None = 1, **ignored: Any):
        super().__init__(level)

    def _settings(self) -> tuple[str, list[int]]:
        return ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1 if self.level is None else int(self.level)]


CODECS: dict[str, type[ImageCodec]] = {codec.codec_id: codec for codec in (JpegCodec, PngCodec)}


def codec_from_config(config: Mapping[str, Any]) -> ImageCodec:
    """Our codec for a `.zarray` compressor entry. Raises DatasetError for an id we do not have."""
    settings = dict(config)
    codec_id = settings.pop("id", None)
    if codec_id not in CODECS:
        raise DatasetError(f"The compressor {codec_id!r} is not one of {', '.join(CODECS)}.")
    return CODECS[codec_id](**settings)


def register() -> None:
    """Register with numcodecs, leaving alone what imagecodecs registered first."""
    for codec_id, codec in CODECS.items():
        if codec_id not in numcodecs.registry.codec_registry and codec_id not in numcodecs.registry.entries:
            numcodecs.registry.register_codec(codec, codec_id)


register()
