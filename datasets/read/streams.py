"""`Stream`: what one device brought at its own rate, beside the aligned grid of the dataset."""

from __future__ import annotations

import numpy as np

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature
from robolearn.datasets.format import layout
from robolearn.datasets.format.episode import StreamRows
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.arrays import Arrays
from robolearn.datasets.read.frames import Frames


class Stream:
    """The rows of one stream, those of all episodes one after the other.

    M rows in all. Arrays are read-only, and read when first asked for. Everything raises DatasetError naming the file
    and the episode that are damaged.
    """

    def __init__(self, arrays: Arrays, feature: Feature):
        self.feature = feature
        self._arrays = arrays

    def __len__(self) -> int:
        """M, the number of rows."""
        return self._arrays.metadata.arrays[self._key("timestamp")].length

    def _key(self, part: str) -> str:
        return layout.stream_key(self.feature.name, part)

    @property
    def is_encoded(self) -> bool:
        """Whether the rows are images, read with `image` and `encoded`."""
        return layout.is_encoded(self.feature)

    @property
    def timestamp(self) -> np.ndarray:
        """`(M,)` float64, host clock: seconds since the row's episode started."""
        return self._arrays.whole(self._key("timestamp"))

    @property
    def device_time(self) -> np.ndarray:
        """`(M,)` float64, the device's own clock in seconds; NaN where it has none."""
        return self._arrays.whole(self._key("device_time"))

    @property
    def sequence(self) -> np.ndarray:
        """`(M,)` int64 numbers of the samples; a gap is a loss."""
        return self._arrays.whole(self._key("sequence"))

    @property
    def episode_ends(self) -> np.ndarray:
        """`(E,)` int64 cumulative ends of the episodes, in rows."""
        return self._arrays.ends(f"streams/{self.feature.name}")

    @property
    def at_step(self) -> np.ndarray | None:
        """`(N,)` int64: the row that each step of the grid shows. Equal neighbours are repeats. None for events."""
        return None if layout.is_event(self.feature) else self._arrays.whole(self._key("at_step"))

    @property
    def values(self) -> np.ndarray:
        """`(M, *shape)`. Raises FeatureError for images."""
        if self.is_encoded:
            raise FeatureError(f"Stream {self.feature.name!r} holds encoded images; read them with image().")
        return self._arrays.whole(self._key("value"))

    def _frames(self) -> Frames:
        if not self.is_encoded:
            raise FeatureError(f"Stream {self.feature.name!r} is not of images; read it with .values.")
        return self._arrays.frames(self._key("value"), self._key("crc32"))

    def encoded(self, row: int) -> bytes:
        """One image as it is stored. Raises FeatureError for a stream without images."""
        return self._frames().encoded(row)

    def image(self, row: int) -> np.ndarray:
        """One image of the feature's shape, decoded. Raises FeatureError for a stream without images."""
        return self._frames().image(row)

    def episode_slice(self, episode: int) -> slice:
        """The rows of an episode; it may have none."""
        return self._arrays.span(self._key("timestamp"), episode)

    @property
    def counts(self) -> list[Json]:
        """For each episode rate_hz, expected, received, dropped, late, repeats, spooled; empty where not recorded."""
        return [self._counts_of(record) for record in self._arrays.records]

    def _counts_of(self, record: Json) -> Json:
        return (record.get("streams") or {}).get(self.feature.name) or {}

    def read_values(self, episode: int) -> np.ndarray:
        """`(m, *shape)` of one episode, without reading those of others."""
        return self._arrays.episodes(self._key("value"), episode, episode + 1)

    def read_episode(self, episode: int) -> StreamRows:
        """The rows of one episode, without reading those of others; images are read when they are asked for."""

        def part(name: str) -> np.ndarray:
            return self._arrays.episodes(self._key(name), episode, episode + 1)

        span = self.episode_slice(episode)
        return StreamRows(
            part("timestamp"),
            part("device_time"),
            part("sequence"),
            None if self.is_encoded else part("value"),
            self._frames().between(span) if self.is_encoded else None,
            None if layout.is_event(self.feature) else part("at_step") - span.start,
            dict(self._counts_of(self._arrays.records[episode])),
        )
