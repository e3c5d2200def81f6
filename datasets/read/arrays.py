"""`Arrays`: the arrays of an opened dataset, each episode compared with its checksum before anybody sees it.

Chunks are read directly. A chunk of an uncompressed zarr v2 array is the bytes of its rows; a frame is the bytes of one
image; episode records are numcodecs' vlen-utf8. zarr-python reads the same files (tested).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec, codec_from_config
from robolearn.datasets.format.layout import ArrayInfo, Json, Metadata
from robolearn.datasets.read.frames import Frames
from robolearn.datasets.read.store import DAMAGED, Store


def read_rows(store: Store, key: str, info: ArrayInfo, start: int, stop: int) -> np.ndarray:
    """Rows `start:stop` of an uncompressed array, not compared with any checksum.

    Raises DatasetError naming the chunk file that is missing or has a wrong size.
    """
    try:
        rows = np.empty((stop - start, *info.row_shape), info.dtype)
    except (MemoryError, ValueError) as error:
        raise DatasetError(f"{store.where(key)} has {stop - start} rows to read, more than fit in memory.") from error
    row_bytes = rows.dtype.itemsize * int(np.prod(info.row_shape, dtype=np.int64))
    out = _bytes_of(rows)
    pieces = []
    for chunk in range(start // info.chunk_rows, -(-stop // info.chunk_rows) if stop > start else 0):
        first = chunk * info.chunk_rows
        low, high = max(start, first), min(stop, first + info.chunk_rows)
        part = out[(low - start) * row_bytes : (high - start) * row_bytes]
        pieces.append((f"{key}/{info.chunk_name(chunk)}", (low - first) * row_bytes, part))
    store.fill(pieces, info.chunk_rows * row_bytes)
    return rows


def _bytes_of(rows: np.ndarray) -> memoryview:
    return rows.reshape(-1).data.cast("B") if rows.size else memoryview(b"")


def read_records(store: Store, metadata: Metadata) -> list[Json]:
    """All episode records as they were written. Raises DatasetError naming the file that is damaged."""
    info = metadata.arrays[layout.EPISODES]
    keys = [f"{layout.EPISODES}/{info.chunk_name(chunk)}" for chunk in range(-(-info.length // info.chunk_rows))]
    records: list[Json] = []
    crc = 0
    for key, data in zip(keys, store.read_many(keys), strict=True):
        wanted = min(info.chunk_rows, info.length - len(records))
        try:
            texts = [bytes(text) for _, text in zip(range(wanted), _strings(data), strict=False)]
            found = json.loads(b"[" + b",".join(texts) + b"]")
            if len(found) != wanted or not all(isinstance(record, dict) for record in found):
                raise ValueError("records are missing")
        except (ValueError, struct.error, RecursionError) as error:
            raise DatasetError(f"{store.where(key)} does not hold {wanted} episode records: {DAMAGED}.") from error
        for text in texts:
            crc = zlib.crc32(text, crc)
        unsealed = next((i for i, text in enumerate(texts) if not layout.is_sealed(text)), None)
        if unsealed is not None:
            raise DatasetError(
                f"{store.where(key)}: the record of episode {len(records) + unsealed} does not have the checksum at "
                f"its end: {DAMAGED}."
            )
        records += found
    if crc != metadata.attributes.get("records_crc32", crc):
        raise DatasetError(
            f"{store.where(layout.EPISODES)} does not have the checksum that .zmetadata says: {DAMAGED}."
        )
    return records


def _strings(chunk: bytes) -> Iterator[memoryview]:
    """The texts of a vlen-utf8 chunk. Raises struct.error or ValueError where it ends too early."""
    view, position = memoryview(chunk), 4
    for _ in range(struct.unpack_from("<I", chunk)[0]):
        (size,) = struct.unpack_from("<I", chunk, position)
        position += 4 + size
        if position > len(chunk):
            raise ValueError("a text is cut off")
        yield view[position - size : position]


class Arrays:
    """Verified access to the arrays.

    Whole arrays stay in memory once read. Every episode is compared with the checksum in its record, except those that
    `unchecked` names. Holds nothing that cannot be forked; pickled, it forgets what it has read.

    Args:
        store: where the files are.
        metadata: of the moment that the dataset was opened.
        unchecked: gives the episodes that are known to be broken.
    """

    def __init__(self, store: Store, metadata: Metadata, unchecked: Callable[[], frozenset[int]]):
        self.store = store
        self.metadata = metadata
        self._unchecked = unchecked
        self._whole: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "metadata": self.metadata, "_unchecked": self._unchecked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_whole": {}}

    @cached_property
    def records(self) -> list[Json]:
        """One per episode, as recorded. Raises DatasetError where they are damaged or contradict the episode ends."""
        records = read_records(self.store, self.metadata)
        ends = self.ends("steps")
        try:
            told = [(record["start_step"], record["start_step"] + record["num_steps"]) for record in records]
            sound = [isinstance(record["checksums"], dict) for record in records]
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{self.store.where(layout.EPISODES)}: a record lacks {error}: {DAMAGED}.") from error
        expected = list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)) if len(ends) else []
        wrong = [i for i, pair in enumerate(told) if pair != expected[i] or not sound[i]]
        if wrong:
            raise DatasetError(
                f"{self.store.where(layout.EPISODES)}: the record of episode {wrong[0]} does not agree with "
                f"{layout.EPISODE_ENDS}: {DAMAGED}."
            )
        return records

    def ends(self, counted: str) -> np.ndarray:
        """`(E,)` cumulative ends of the episodes along an axis, as `layout.axis` names it."""
        if counted == "episodes":
            return self._one_each
        key = layout.EPISODE_ENDS if counted == "steps" else f"{counted}/episode_ends"
        if key not in self._whole:
            info = self.metadata.arrays[key]
            ends = read_rows(self.store, key, info, 0, info.length)
            length = self.metadata.num_steps
            if counted != "steps":
                length = self.metadata.arrays[f"{counted}/timestamp"].length
            # a stream may bring nothing in an episode, but an episode has steps
            shortest = 1 if counted == "steps" else 0
            if (np.diff(ends, prepend=0) < shortest).any() or (int(ends[-1]) if len(ends) else 0) != length:
                unit = "steps" if counted == "steps" else "rows"
                raise DatasetError(
                    f"{self.store.where(key)} does not rise to the number of {unit}, {length}: {DAMAGED}."
                )
            if counted != "steps":
                self._check(key, ends, 0, range(len(ends)))
            elif self.metadata.attributes.get("ends_crc32", crc := zlib.crc32(ends.data)) != crc:
                raise DatasetError(
                    f"{self.store.where(key)} does not have the checksum of what was written: {DAMAGED}."
                )
            ends.flags.writeable = False
            self._whole[key] = ends
        return self._whole[key]

    @cached_property
    def _one_each(self) -> np.ndarray:
        return np.arange(1, self.metadata.num_episodes + 1)

    def span(self, key: str, episode: int) -> slice:
        """The rows of an array that belong to an episode."""
        ends = self.ends(layout.axis(key))
        if not 0 <= episode < len(ends):
            raise DatasetError(f"{self.store.name} has no episode {episode}; it has {len(ends)}, counted from 0.")
        return slice(int(ends[episode - 1]) if episode else 0, int(ends[episode]))

    def whole(self, key: str) -> np.ndarray:
        """All rows of an uncompressed array, read-only, kept in memory. Raises DatasetError for damage."""
        if key not in self._whole:
            info = self.metadata.arrays[key]
            rows = read_rows(self.store, key, info, 0, info.length)
            self._check(key, rows, 0, range(self.metadata.num_episodes))
            rows.flags.writeable = False
            return self._whole.setdefault(key, rows)
        return self._whole[key]

    def episodes(self, key: str, first: int, stop: int) -> np.ndarray:
        """The rows of episodes `first` to `stop - 1`, read-only, without reading the others."""
        rows = slice(self.span(key, first).start, self.span(key, stop - 1).stop)
        if key in self._whole:
            return self._whole[key][rows]
        found = read_rows(self.store, key, self.metadata.arrays[key], rows.start, rows.stop)
        self._check(key, found, rows.start, range(first, stop))
        found.flags.writeable = False
        return found

    def rows(self, key: str, start: int, stop: int) -> np.ndarray:
        """Rows `start:stop`, read-only. Reads the whole of the episodes they are in, to compare their checksums."""
        length = self.metadata.arrays[key].length
        if not 0 <= start <= stop <= length:
            raise DatasetError(f"{self.store.where(key)} has no rows {start} to {stop}; it has {length}.")
        if start == stop:
            return read_rows(self.store, key, self.metadata.arrays[key], start, stop)
        if key in self._whole:
            return self._whole[key][start:stop]
        ends = self.ends(layout.axis(key))
        first, last = np.searchsorted(ends, [start, stop - 1], side="right")
        offset = self.span(key, int(first)).start
        return self.episodes(key, int(first), int(last) + 1)[start - offset : stop - offset]

    def _check(self, key: str, rows: np.ndarray, offset: int, episodes: range) -> None:
        """Compare rows, which begin at row `offset` of the array, with the checksums of the episodes they are."""
        view = _bytes_of(rows)
        row_bytes = len(view) // max(1, len(rows))
        ends = self.ends(layout.axis(key))[episodes.start : episodes.stop].tolist()
        broken = self._unchecked()
        for episode, start, stop in zip(episodes, [offset, *ends], ends, strict=False):
            crc = zlib.crc32(view[(start - offset) * row_bytes : (stop - offset) * row_bytes])
            if crc != self.records[episode]["checksums"].get(key, crc) and episode not in broken:
                raise self.differs(key, episode)

    def differs(self, key: str, episode: int) -> DatasetError:
        """The error for an array that does not have the checksum of an episode."""
        rows = self.span(key, episode)
        unit = {"steps": "steps", "episodes": "row"}.get(layout.axis(key), "rows")
        counted = f"{unit} {rows.start}" + (f" to {rows.stop - 1}" if rows.stop - 1 > rows.start else "")
        return DatasetError(
            f"{self.store.where(key)}: episode {episode} ({counted}) does not have the checksum taken when it was "
            "recorded; restore it from a backup, or take the episode out with: robolearn dataset repair"
        )

    def verify(self, key: str, episode: int) -> None:
        """Compare the rows of an episode, as they are on disk now, with its checksum, in quarantine or not."""
        span = self.span(key, episode)
        rows = read_rows(self.store, key, self.metadata.arrays[key], span.start, span.stop)
        if zlib.crc32(rows.data) != self.records[episode]["checksums"][key]:
            raise self.differs(key, episode)

    def verify_frames(self, key: str, crc_key: str, episode: int) -> None:
        """Compare the images of an episode with their crc32, which `verify` has looked at."""
        span = self.span(key, episode)
        crcs = read_rows(self.store, crc_key, self.metadata.arrays[crc_key], span.start, span.stop)
        for _ in self._frames(key, crcs, span.start).between(span):
            pass

    def codec(self, key: str) -> ImageCodec:
        """The codec of an encoded array. Raises DatasetError for one that we do not have."""
        return codec_from_config(self.metadata.arrays[key].compressor or {})

    def frames(self, key: str, crc_key: str) -> Frames:
        """The encoded images of an array, whose crc32 are in another."""
        return self._frames(key, self.whole(crc_key), 0)

    def _frames(self, key: str, crcs: np.ndarray, first: int) -> Frames:
        ends = self.ends(layout.axis(key))
        return Frames(self.store, key, self.metadata.arrays[key], self.codec(key), ends, crcs, first)
