"""`Dataset`: read recorded episodes. What it shows is the state of the last commit when it was opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Features
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json, Metadata
from robolearn.datasets.format.statistics import QUANTILES, Statistics, histogram_statistics, merge_statistics
from robolearn.datasets.read.arrays import Arrays
from robolearn.datasets.read.edits import QUARANTINE, Edit, edited_records, masks_of, read_edits
from robolearn.datasets.read.frames import Frames
from robolearn.datasets.read.store import DAMAGED, LocalStore, open_store
from robolearn.datasets.read.streams import Stream

_MOST_MOUNTS = 128  # of a simulated environment


class Dataset:
    """A recorded dataset, opened for reading.

    Opening reads one metadata file and the episode ends. Low-dimensional arrays are loaded whole when first asked for
    and stay in memory; images are read one by one. All of it is compared with the checksums taken while recording,
    except for episodes in the mask `quarantine`, which are known to be broken.

    Holds no open file: it can be forked, pickled (it is then opened anew, at the same state) and used by threads.

    Args:
        location: a path, or any URL that fsspec knows: `http://host/a.zarr`, `s3://bucket/a.zarr`.

    Raises DatasetError when nothing is there, or no dataset, or one that is damaged in what has been read so far;
    MissingDependencyError for a URL that needs a package which is not installed.
    """

    def __init__(self, location: str | Path):
        self._store = open_store(location)
        if isinstance(self._store, LocalStore):
            self._metadata = Metadata.read(self._store.path)
        else:
            data = self._store.find(layout.METADATA)
            if data is None:
                raise DatasetError(f"There is no dataset at {self.name}: {layout.METADATA} is missing there.")
            self._metadata = Metadata.from_bytes(data, self.name)
        self._features = self._metadata.grid
        self._arrays = Arrays(self._store, self._metadata, self._quarantined)
        self._frames: dict[str, Frames] = {}
        self.episode_ends = self._arrays.ends("steps")
        for name, feature in self._features.items():
            if layout.is_encoded(feature):
                self.codec(name)

    def __getstate__(self) -> Json:
        kept = ("_store", "_metadata", "_features", "_arrays", "edits")
        return {key: value for key, value in self.__dict__.items() if key in kept}

    def __setstate__(self, state: Json) -> None:
        self.__dict__ |= {**state, "_frames": {}}
        self.episode_ends = self._arrays.ends("steps")

    @property
    def name(self) -> str:
        """The path or URL, for messages."""
        return self._store.name

    @property
    def is_local(self) -> bool:
        """Whether its files are on this machine."""
        return isinstance(self._store, LocalStore)

    @property
    def path(self) -> Path:
        """The folder. Raises DatasetError for a dataset that was opened by URL."""
        if not isinstance(self._store, LocalStore):
            raise DatasetError(f"{self.name} is not a folder of this machine; copy it here first.")
        return self._store.path

    @property
    def features(self) -> Features:
        """What every step holds. Events of a stream recording are on no grid: see `streams`."""
        return dict(self._features)

    @property
    def fps(self) -> float:
        """Nominal rate of the steps in Hz."""
        return float(self._metadata.attributes["fps"])

    @property
    def num_steps(self) -> int:
        return self._metadata.num_steps

    @property
    def num_episodes(self) -> int:
        return self._metadata.num_episodes

    @property
    def attributes(self) -> Json:
        """Attributes of the dataset: format version, features, fps, metadata, versions."""
        return self._metadata.attributes

    @property
    def recorded_episodes(self) -> list[Json]:
        """One record per episode as it was written: `num_steps`, `checksums`, and what was given when committing."""
        return self._arrays.records

    @cached_property
    def episodes(self) -> list[Json]:
        """One record per episode, with the edited labels laid over it."""
        return edited_records(self.recorded_episodes, self.edits)

    @cached_property
    def edits(self) -> list[Edit]:
        """Label edits and masks, oldest first, as they were when first asked for."""
        return read_edits(self._store)

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """`{name: (E,) bool}`, read-only: named sets of episodes."""
        return masks_of(self.edits, self.num_episodes)

    def mask(self, name: str) -> np.ndarray:
        """`(E,)` bool, read-only. `quarantine` is always there. Raises DatasetError for an unknown name."""
        if name in self.masks:
            return self.masks[name]
        if name == QUARANTINE:
            return np.zeros(self.num_episodes, bool)
        if not self.masks:
            raise DatasetError(
                f"{self.name}: Unknown mask {name!r}; there are no masks yet. Make one with: "
                "robolearn dataset edit PATH --mask NAME --episodes 0-9"
            )
        raise DatasetError(f"{self.name}: " + unknown_name("mask", name, {*self.masks, QUARANTINE}))

    @cached_property
    def intact_episodes(self) -> np.ndarray:
        """Indices of the episodes that are not in quarantine."""
        return np.flatnonzero(~self.mask(QUARANTINE))

    @cached_property
    def _broken(self) -> frozenset[int]:
        return frozenset(np.flatnonzero(self.mask(QUARANTINE)).tolist())

    def _quarantined(self) -> frozenset[int]:
        return self._broken

    @property
    def timestamps(self) -> np.ndarray:
        """`(N,)` float64: seconds since the start of each step's episode."""
        return self._arrays.whole(layout.TIMESTAMP)

    def episode_slice(self, episode: int) -> slice:
        """The steps of an episode. Raises DatasetError for an index out of range."""
        return self._arrays.span(layout.TIMESTAMP, episode)

    def array(self, name: str) -> np.ndarray:
        """`(N, *shape)`: a low-dimensional feature of all steps, read-only.

        Raises FeatureError for an unknown name or an image, DatasetError naming a damaged file and the episode.
        """
        return self._arrays.whole(self._low_dim_key(name))

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """`(stop - start, *shape)`: some steps of a low-dimensional feature, or of `timestamp`, read-only.

        Reads only the episodes that they are in, and keeps nothing. Raises like `array`.
        """
        return self._arrays.rows(layout.TIMESTAMP if name == "timestamp" else self._low_dim_key(name), start, stop)

    def _low_dim_key(self, name: str) -> str:
        self._require(name)
        if layout.is_encoded(self._features[name]):
            raise FeatureError(f"Feature {name!r} holds encoded images; read them one by one with image().")
        return layout.data_key(name)

    def codec(self, name: str) -> ImageCodec:
        """How the images of a feature are encoded. Raises FeatureError for one without images."""
        return self._arrays.codec(self._image_key(name))

    def encoded(self, name: str, step: int) -> bytes:
        """One image as it is stored, compared with its checksum. Raises like `image`."""
        try:
            return self._frames[name].encoded(step)
        except KeyError:
            return self._frames_of(name).encoded(step)

    def encoded_many(self, name: str, steps: Sequence[int] | np.ndarray) -> list[bytes]:
        """Several images as they are stored; from a URL they are fetched at the same time. Raises like `image`."""
        return self._frames_of(name).encoded_many(steps)

    def image(self, name: str, step: int) -> np.ndarray:
        """`(H, W, 3)` uint8 RGB, or `(H, W)` uint16 depth: one image, decoded.

        Raises FeatureError for an unknown name, DatasetError for a step out of range or a damaged file.
        """
        return self._frames_of(name).image(step)

    def image_file(self, name: str, step: int) -> Path:
        """Where the encoded bytes of an image are. Raises like `image`."""
        return self.path / self._frames_of(name).name(step)

    def _frames_of(self, name: str) -> Frames:
        if name not in self._frames:
            self._frames[name] = self._arrays.frames(self._image_key(name), layout.crc_key(name))
        return self._frames[name]

    def _image_key(self, name: str) -> str:
        self._require(name)
        if not layout.is_encoded(self._features[name]):
            raise FeatureError(f"Feature {name!r} is not an image; read it with array().")
        return layout.data_key(name)

    def _require(self, name: str) -> None:
        if name not in self._features:
            raise FeatureError(f"{self.name}: " + unknown_name("feature", name, self._features))

    @property
    def streams(self) -> Features:
        """What was recorded at native rates, events among it; empty for a dataset recorded step by step."""
        return self._metadata.features if self._metadata.recorded == "streams" else {}

    def stream(self, name: str) -> Stream:
        """One of `streams`. Raises FeatureError for an unknown name."""
        if name not in self.streams:
            raise FeatureError(f"{self.name}: " + unknown_name("stream", name, self.streams))
        return Stream(self._arrays, self.streams[name])

    def read_episode(self, episode: int) -> EpisodeData:
        """All of an episode: edited labels, streams, and images as they are stored, which are read when asked for.

        Reads nothing of other episodes. Raises DatasetError for an index out of range or a damaged file.
        """
        steps = self.episode_slice(episode)
        values, frames = {}, {}
        for name, feature in self._features.items():
            if layout.is_encoded(feature):
                frames[name] = self._frames_of(name).between(steps)
            else:
                values[name] = self._arrays.episodes(layout.data_key(name), episode, episode + 1)
        return EpisodeData(
            self._arrays.episodes(layout.TIMESTAMP, episode, episode + 1),
            values,
            frames,
            {key: value for key, value in self.episodes[episode].items() if key not in layout.RESERVED},
            self.sim_states(episode),
            self.sim_model(episode),
            {name: self.stream(name).read_episode(episode) for name in self.streams},
        )

    def statistics(
        self, name: str, episodes: Sequence[int] | np.ndarray | None = None, quantiles: bool = False
    ) -> Statistics:
        """Of a feature over some episodes, all intact ones by default, from what was kept while recording.

        Of images, sampled pixels; exact for the rest. Quantiles of numbers over several episodes need the data itself,
        and are there only where `quantiles` asks for it.

        Raises FeatureError for an unknown name, DatasetError for no or unknown episodes.
        """
        self._require(name)
        chosen = self.intact_episodes if episodes is None else np.unique(np.asarray(episodes, np.int64))
        if not chosen.size:
            raise DatasetError(f"{self.name}: there are no statistics of no episodes.")
        for episode in (chosen[0], chosen[-1]):
            self.episode_slice(int(episode))
        if layout.is_encoded(self._features[name]):
            counts = self._arrays.whole(layout.histogram_key(name))[chosen].sum(0, dtype=np.int64)
            if not counts.any():
                raise DatasetError(f"{self.name}: no image of {name!r} in these episodes was sampled.")
            return histogram_statistics(counts)
        rows = self._arrays.whole(layout.statistics_key(name))[chosen]
        lengths = np.diff(self.episode_ends, prepend=0)[chosen]
        found = merge_statistics(rows, lengths)
        if not quantiles or found.quantiles is not None:
            return found
        flat = self.array(name).reshape(self.num_steps, -1)
        if len(chosen) < self.num_episodes:
            inside = np.zeros(self.num_episodes, bool)
            inside[chosen] = True
            flat = flat[np.repeat(inside, np.diff(self.episode_ends, prepend=0))]
        exact = np.stack([np.quantile(column, QUANTILES) for column in flat.T.astype(np.float64)], axis=1)
        return Statistics(found.count, found.min, found.max, found.mean, found.std, exact)

    def sim_states(self, episode: int) -> np.ndarray | None:
        """`(T, S)` float64 simulator states of an episode, read-only, or None for a dataset without."""
        self.episode_slice(episode)
        if layout.SIM_STATE not in self._metadata.arrays:
            return None
        return self._arrays.episodes(layout.SIM_STATE, episode, episode + 1)

    def sim_model(self, episode: int) -> str | None:
        """The simulator model (XML) of an episode, or None. Raises DatasetError when it is damaged."""
        self.episode_slice(episode)
        digest = self.recorded_episodes[episode].get("sim_model")
        if digest is None:
            return None
        key = f"{layout.SIM_MODELS}/{digest}.xml"
        text = self._store.read(key)
        if hashlib.sha256(text).hexdigest() != digest:
            raise DatasetError(f"{self._store.where(key)} does not have the sha256 in its name: {DAMAGED}.")
        return text.decode()

    @property
    def sim_env(self) -> Json | None:
        """Name, scene version and options of the simulated environment, or None.

        Raises DatasetError for what describes none.
        """
        sim = self.attributes.get("sim", {})
        found = sim.get("env") if isinstance(sim, Mapping) else sim
        if found is None:
            return None
        kinds: dict[str, Any] = {"name": str, "robots": Mapping | None, "mounts": list | None}
        wrong = [key for key in kinds if not isinstance(found, Mapping) or not isinstance(found.get(key), kinds[key])]
        if wrong or len(found.get("mounts") or ()) > _MOST_MOUNTS:
            raise DatasetError(
                f"{self._store.where(layout.METADATA)} describes no simulated environment: its "
                f"{(wrong or ['mounts'])[0]} is not what it should be; {DAMAGED}."
            )
        return found

    def checksum(self) -> str:
        """sha256 over features and the checksums of what was recorded: equal for equal content. Reads no data."""
        content = {
            "features": self.attributes["features"],
            "fps": self.fps,
            "episodes": [
                {key: crc for key, crc in record["checksums"].items() if _is_content(key)}
                for record in self.recorded_episodes
            ],
        }
        return hashlib.sha256(layout.to_json(content)).hexdigest()

    def verify_episode(self, episode: int) -> None:
        """Read everything of an episode from its files and compare it with the checksums taken while recording.

        Raises DatasetError naming the episode and the array or image that differs, also for one in quarantine.
        """
        expected: dict[str, Any] = self.recorded_episodes[episode]["checksums"]
        for key in expected.keys() & self._metadata.arrays.keys():
            self._arrays.verify(key, episode)
        for name, feature in self._features.items():
            if layout.is_encoded(feature):
                self._arrays.verify_frames(layout.data_key(name), layout.crc_key(name), episode)
        for name, feature in self.streams.items():
            if layout.is_encoded(feature):
                key, crc_key = layout.stream_key(name, "value"), layout.stream_key(name, "crc32")
                self._arrays.verify_frames(key, crc_key, episode)


def _is_content(key: str) -> bool:
    """Whether an array holds what was recorded; the rest follows from it, and from the rows that went before."""
    return key.startswith(("data/", "sim/", "crc32/", "streams/")) and not key.endswith("/at_step")
