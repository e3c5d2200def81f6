"""Image codecs: one JPEG (lossy) or PNG (lossless, 8 or 16 bit) per frame, with OpenCV.

They carry the ids under which `imagecodecs` registers its own JPEG and PNG codecs with numcodecs, so plain
zarr + imagecodecs reads our datasets, and zarr alone does after `import robolearn.datasets.format.codecs`. Arrays are
RGB; OpenCV's BGR order does not leave this file. JPEGs are decoded with simplejpeg where it is installed: the same
library, libjpeg-turbo, and the same pixels, but straight into the caller's buffer.
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
from robolearn.core.feature import Feature
from robolearn.datasets.format.image_header import JPEG_END, JPEG_START, PNG_END, PNG_START, image_header

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

# since OpenCV 4.10; decodes to RGB without a pass over the image afterwards
RGB_FLAG = getattr(cv2, "IMREAD_COLOR_RGB", None)


def _as_image(buffer: Any) -> np.ndarray:
    """A chunk `(1, H, W[, C])` or image `(H, W[, C])` as OpenCV wants it: BGR, or one channel."""
    image = np.asarray(buffer)
    while image.ndim > 2 and image.shape[0] == 1 and not (image.ndim == 3 and image.shape[-1] in (1, 3)):
        image = image[0]
    if image.ndim == 3 and image.shape[-1] == 3:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return np.ascontiguousarray(image)


def _decode_with_opencv(data: bytes, colour: bool) -> np.ndarray | None:
    """`(H, W, 3)` RGB or `(H, W)`; None when OpenCV cannot."""
    flag = cv2.IMREAD_UNCHANGED
    if colour:
        flag = (cv2.IMREAD_COLOR if RGB_FLAG is None else RGB_FLAG) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None
    if colour and image is not None and RGB_FLAG is None:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image


def _undecodable(data: bytes) -> DatasetError:
    return DatasetError(f"The {len(data)} bytes of an image cannot be decoded.")


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
        """Decode one image to `(H, W, 3)` or `(H, W)`. Raises DatasetError when the bytes are damaged."""
        data = buf if isinstance(buf, bytes) else bytes(ensure_contiguous_ndarray(buf))
        image = self._decode(data, self._shape(data), None)
        return image if out is None else ndarray_copy(image, out)

    def decode_into(self, data: bytes, out: np.ndarray) -> None:
        """Decode one image into `out`, `(H, W, 3)`, `(H, W)` or `(H, W, 1)`, C-contiguous.

        Raises DatasetError when the bytes are damaged or hold an image of another shape, before anything of the size
        that they claim is allocated.
        """
        shape = self._shape(data)
        plane = out[..., 0] if out.ndim == 3 and out.shape[-1] == 1 else out
        if shape != plane.shape:
            raise DatasetError(f"The {len(data)} bytes of an image hold one of shape {shape}, expected {plane.shape}.")
        self._decode(data, shape, plane)

    def require_whole(self, data: bytes) -> None:
        """Raises DatasetError when the bytes do not begin and end as a file of this codec does."""
        if not data.startswith(self.start) or not data.endswith(self.end):
            kind = "truncated" if data.startswith(self.start) else "not an image of the declared codec"
            raise DatasetError(f"The {len(data)} bytes of an image are {kind}.")

    def _shape(self, data: bytes) -> tuple[int, ...]:
        """`(H, W, 3)` or `(H, W)` from the header. Raises DatasetError for anything but one whole image.

        libjpeg fills what a truncated file lacks with grey and only warns, so the end marker is checked here.
        """
        self.require_whole(data)
        height, width, channels, _ = image_header(data)
        return (height, width) if channels == 1 else (height, width, 3)

    def _decode(self, data: bytes, shape: tuple[int, ...], out: np.ndarray | None) -> np.ndarray:
        image = _decode_with_opencv(data, colour=len(shape) == 3)
        if image is None or image.shape != shape or (out is not None and image.dtype != out.dtype):
            raise _undecodable(data)
        if out is not None:
            np.copyto(out, image)
        return image

    def get_config(self) -> dict[str, Any]:
        return {"id": self.codec_id, "level": self.level}

    def _settings(self) -> tuple[str, list[int]]:
        raise NotImplementedError


class JpegCodec(ImageCodec):
    """JPEG; `level` is the quality, 1 to 100.

    `subsampling` 444 keeps full colour resolution; 420 halves it both ways, as video does, which makes files smaller
    and decoding faster.
    """

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

    def _decode(self, data: bytes, shape: tuple[int, ...], out: np.ndarray | None) -> np.ndarray:
        if simplejpeg is None:
            return super()._decode(data, shape, out)
        try:
            image = simplejpeg.decode_jpeg(data, "RGB" if len(shape) == 3 else "GRAY", buffer=out)
        except ValueError as error:
            raise _undecodable(data) from error
        return image.reshape(shape)


class PngCodec(ImageCodec):
    """PNG, for lossless colour images and for depth (uint16); `level` is zlib's, 0 to 9."""

    codec_id = "imagecodecs_png"
    start, end = PNG_START, PNG_END

    def __init__(self, level: int | None = 1, **ignored: Any):
        super().__init__(level)

    def _settings(self) -> tuple[str, list[int]]:
        return ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1 if self.level is None else int(self.level)]

    def require_whole(self, data: bytes) -> None:
        super().require_whole(data)
        position = len(PNG_START)
        # OpenCV allocates what a chunk claims to have before it reads it
        while position + 12 <= len(data):
            position += 12 + int.from_bytes(data[position : position + 4], "big")
        if position != len(data):
            raise _undecodable(data)


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


def check_image(data: bytes, feature: Feature, codec: ImageCodec) -> None:
    """Check that `data` is a whole file of this codec and its header that of an image of this feature.

    Raises DatasetError saying what was found and what was expected.
    """
    kind = "JPEG" if codec.start == JPEG_START else "PNG"
    if not data.startswith(codec.start) or not data.endswith(codec.end):
        raise DatasetError(f"{len(data)} bytes are not a whole {kind} image; encode frames with writer.codec(name).")
    height, width, channels, bits = image_header(data)
    expected = (*feature.shape[:2], *(feature.shape[2:] or (1,)), 8 * int(feature.dtype == "uint8") or 16)
    if (height, width, channels, bits) != expected:
        raise DatasetError(
            f"the {kind} image is {height} x {width} with {channels} channels of {bits} bits, "
            f"expected {expected[0]} x {expected[1]} with {expected[2]} of {expected[3]}."
        )
