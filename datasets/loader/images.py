"""`Images`: the images of one camera, decoded into batches."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.loader.collection import Collection
from robolearn.datasets.read.store import DAMAGED

CacheMode = Literal["auto", "none", "encoded", "decoded"]
SAMPLED_FRAMES = 32
BYTES_OBJECT = 200  # a bytes object, its entry in a dict, and both its key and the growth of the dict
LOCAL_BLOCK, REMOTE_BLOCK = 16, 256


class Images:
    """One image or depth feature of a collection.

    What is read is kept in memory as the mode says, from the time it is first asked for: nothing (`none`), the encoded
    bytes (`encoded`: no reading), or the pixels (`decoded`: no decoding). Batches are the same in all modes.
    Several threads may gather at once.

    Args:
        size: `(height, width)` to shrink or enlarge to, or None to leave as recorded.

    Raises ConfigError for a size below 1.
    """

    def __init__(self, collection: Collection, name: str, size: tuple[int, int] | None = None):
        if size is not None and min(size) < 1:
            raise ConfigError(f"Images of {name!r} cannot be resized to {size[0]} x {size[1]}; give height and width.")
        self._collection, self.name = collection, name
        feature = collection.features[name]
        self._stored_shape, self.dtype = feature.shape, np.dtype(feature.dtype)
        self.shape = feature.shape if size is None else (*size, *feature.shape[2:])
        # averaging depth would make up surfaces between a thing and what is behind it
        self._interpolation = cv2.INTER_NEAREST if feature.kind == "depth" else cv2.INTER_AREA
        self._codecs = collection.codecs(name)
        self._block = LOCAL_BLOCK if all(dataset.is_local for dataset in collection.datasets) else REMOTE_BLOCK
        self._steps = np.flatnonzero(collection.chosen_steps())
        self._keep_encoded = False
        self._encoded: dict[int, bytes] = {}
        self._decoded: np.ndarray | None = None

    @property
    def decoded_bytes(self) -> int:
        """Memory of all frames decoded."""
        return len(self._steps) * int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def encoded_bytes(self) -> int:
        """Memory of all frames encoded, estimated from some of them."""
        some = np.unique(self._steps[np.linspace(0, len(self._steps) - 1, SAMPLED_FRAMES).astype(np.int64)])
        sizes = [len(data) for data in self._collection.encoded(self.name, some)]
        return int(len(self._steps) * (np.mean(sizes) + BYTES_OBJECT))

    def keep(self, mode: str) -> None:
        """Set what is kept: `none`, `encoded` or `decoded`; before the first `gather`."""
        self._keep_encoded = mode == "encoded"
        if mode == "decoded":
            # memory is taken page by page as frames come in
            self._decoded = np.empty((len(self._steps), *self.shape), self.dtype)
            self._present = np.zeros(len(self._steps), bool)
            self._row = np.zeros(self._collection.num_steps, np.int64)
            self._row[self._steps] = np.arange(len(self._steps))

    def gather(self, steps: np.ndarray, out: np.ndarray) -> None:
        """Write the images at `steps` `(B, T)` to `out` `(B, T, *shape)`; each frame is decoded once.

        Raises DatasetError naming the file that is missing or damaged.
        """
        wanted, images = steps.reshape(-1), out.reshape(-1, *self.shape)
        if self._decoded is not None:
            rows = self._row[wanted]
            missing = wanted[~self._present[rows]]
            if len(missing):
                missing = np.unique(missing)
                self._decode(missing, self._decoded, self._row[missing])
                self._present[self._row[missing]] = True
            np.take(self._decoded, rows, axis=0, out=images, mode="clip")
            return
        unique, first, inverse = np.unique(wanted, return_index=True, return_inverse=True)
        self._decode(unique, images, first)
        shown = first[inverse.reshape(-1)]
        repeated = np.flatnonzero(shown != np.arange(len(wanted)))
        if len(repeated):
            images[repeated] = images[shown[repeated]]

    def _decode(self, steps: np.ndarray, images: np.ndarray, rows: np.ndarray) -> None:
        """Decode the frames at `steps`, which rise, into these rows of `images`."""
        source, _ = self._collection.locate(steps)
        for low in range(0, len(steps), self._block):
            block = slice(low, low + self._block)
            encoded = self._read(steps[block])
            for step, row, origin, data in zip(steps[block], rows[block], source[block], encoded, strict=True):
                try:
                    self._decode_into(int(origin), data, images[row])
                except DatasetError as error:
                    file = self._collection.file(self.name, int(step))
                    raise DatasetError(f"{file}: {error} {DAMAGED.capitalize()}.") from error

    def _decode_into(self, source: int, data: bytes, out: np.ndarray) -> None:
        if self.shape == self._stored_shape:
            self._codecs[source].decode_into(data, out)
            return
        image = np.empty(self._stored_shape, self.dtype)
        self._codecs[source].decode_into(data, image)
        height, width = self.shape[:2]
        cv2.resize(image, (width, height), dst=out, interpolation=self._interpolation)

    def _read(self, steps: np.ndarray) -> list[bytes]:
        if not self._keep_encoded:
            return self._collection.encoded(self.name, steps)
        kept = self._encoded
        missing = np.array([step for step in steps.tolist() if step not in kept], np.int64)
        if len(missing):
            kept.update(zip(missing.tolist(), self._collection.encoded(self.name, missing), strict=True))
        return [kept[step] for step in steps.tolist()]
