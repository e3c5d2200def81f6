"""`Dataset`: read recorded episodes. What it shows is the state of the last commit when it was opened."""

from __future__ import annotations

import hashlib
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Features
from robolearn.datasets import layout
from robolearn.datasets.arrays import DAMAGED, read_bytes, read_episodes, read_rows
from robolearn.datasets.codecs import codec_from_config
from robolearn.datasets.episode import EpisodeData
from robolearn.datasets.layout import ArrayInfo, Json, Metadata


class Dataset:
    """A recorded dataset, opened for reading.

    Opening reads one metadata file and the episode ends. Low-dimensional arrays are loaded whole when first asked for
    and stay in memory; images are decoded one by one.

    Raises DatasetError when the path is missing, not a dataset, or damaged in what has been read so far.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._metadata = Metadata.read(self.path)
        self._features = self._metadata.features
        self._loaded: dict[str, np.ndarray] = {}
        self._codecs = {
            name: codec_from_config(self._info(layout.data_key(name)).compressor or {})
            for name, feature in self._features.items()
            if layout.is_encoded(feature)
        }
        self.episode_ends = self._load(layout.EPISODE_ENDS)
        lengths = np.diff(self.episode_ends, prepend=0)
        if (lengths < 1).any() or (self.num_episodes and self.episode_ends[-1] != self.num_steps):
            raise DatasetError(
                f"{self.path / layout.EPISODE_ENDS} does not rise to the number of steps, {self.num_steps}: {DAMAGED}."
            )

    def _info(self, key: str) -> ArrayInfo:
        return self._metadata.arrays[key]

    def _load(self, key: str) -> np.ndarray:
        if key not in self._loaded:
            info = self._info(key)
            rows = read_rows(self.path, key, info, 0, info.length)
            rows.flags.writeable = False
            self._loaded[key] = rows
        return self._loaded[key]

    @property
    def features(self) -> Features:
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

    @cached_property
    def episodes(self) -> list[Json]:
        """One record per episode: `num_steps`, `checksums`, and what was given to `DatasetWriter.commit`."""
        return read_episodes(self.path, self._info(layout.EPISODES))

    @property
    def timestamps(self) -> np.ndarray:
        """`(N,)` float64: seconds since the start of each step's episode."""
        return self._load(layout.TIMESTAMP)

    def episode_slice(self, episode: int) -> slice:
        """The steps of an episode. Raises DatasetError for an index out of range."""
        if not 0 <= episode < self.num_episodes:
            raise DatasetError(f"{self.path} has no episode {episode}; it has {self.num_episodes}, counted from 0.")
        start = int(self.episode_ends[episode - 1]) if episode else 0
        return slice(start, int(self.episode_ends[episode]))

    def array(self, name: str) -> np.ndarray:
        """`(N, *shape)`: a low-dimensional feature of all steps, read-only.

        Raises FeatureError for an unknown name or an image, DatasetError naming a damaged file.
        """
        self._require(name)
        if name in self._codecs:
            raise FeatureError(f"Feature {name!r} holds encoded images; read them one by one with image().")
        return self._load(layout.data_key(name))

    def image(self, name: str, step: int) -> np.ndarray:
        """`(H, W, 3)` uint8 RGB, or `(H, W)` uint16 depth: one frame, decoded.

        Raises FeatureError for an unknown name, DatasetError for a step out of range or a damaged file.
        """
        file = self.image_file(name, step)
        shape = self._info(layout.data_key(name)).row_shape
        try:
            image = self._codecs[name].decode(read_bytes(file))
        except DatasetError as error:
            named = str(file) in str(error)
            raise DatasetError(str(error) if named else f"{file}: {error} {DAMAGED.capitalize()}.") from error
        if image.size != np.prod(shape) or image.shape[:2] != shape[:2]:
            raise DatasetError(f"{file} holds an image of shape {image.shape}, expected {shape}: {DAMAGED}.")
        return image.reshape(shape)

    def image_file(self, name: str, step: int) -> Path:
        """Where the encoded bytes of a frame are. Raises like `image`."""
        self._require(name)
        if name not in self._codecs:
            raise FeatureError(f"Feature {name!r} is not an image; read it with array().")
        if not 0 <= step < self.num_steps:
            raise DatasetError(f"{self.path} has no step {step}; it has {self.num_steps}, counted from 0.")
        key = layout.data_key(name)
        return self.path / key / self._info(key).chunk_name(step)

    def _require(self, name: str) -> None:
        if name not in self._features:
            raise FeatureError(f"{self.path}: " + unknown_name("feature", name, self._features))

    def read_episode(self, episode: int) -> EpisodeData:
        """All of an episode, images as they are stored, checked against its checksums.

        Raises DatasetError for an index out of range or a damaged file.
        """
        self.verify_episode(episode)
        steps = self.episode_slice(episode)
        values, frames = {}, {}
        for name in self._features:
            if name in self._codecs:
                frames[name] = [read_bytes(self.image_file(name, step)) for step in range(steps.start, steps.stop)]
            else:
                values[name] = self.array(name)[steps]
        record = {key: value for key, value in self.episodes[episode].items() if key not in layout.RESERVED}
        return EpisodeData(
            self.timestamps[steps], values, frames, record, self.sim_states(episode), self.sim_model(episode)
        )

    def sim_states(self, episode: int) -> np.ndarray | None:
        """`(T, S)` float64 simulator states of an episode, or None for a dataset without."""
        steps = self.episode_slice(episode)
        if layout.SIM_STATE not in self._metadata.arrays:
            return None
        return read_rows(self.path, layout.SIM_STATE, self._info(layout.SIM_STATE), steps.start, steps.stop)

    def sim_model(self, episode: int) -> str | None:
        """The simulator model (XML) of an episode, or None. Raises DatasetError when it is damaged."""
        self.episode_slice(episode)
        digest = self.episodes[episode].get("sim_model")
        if digest is None:
            return None
        file = self.path / layout.SIM_MODELS / f"{digest}.xml"
        text = read_bytes(file)
        if hashlib.sha256(text).hexdigest() != digest:
            raise DatasetError(f"{file} does not have the sha256 in its name: {DAMAGED}.")
        return text.decode()

    @property
    def sim_env(self) -> Json | None:
        """Name, scene version and options of the simulated environment, or None."""
        return self.attributes.get("sim", {}).get("env")

    def checksum(self) -> str:
        """sha256 over features and episode checksums: equal for equal content. Reads no data."""
        content = {
            "features": self.attributes["features"],
            "fps": self.fps,
            "episodes": [record.get("checksums") for record in self.episodes],
        }
        return hashlib.sha256(layout.to_json(content)).hexdigest()

    def verify_episode(self, episode: int) -> None:
        """Read everything of an episode and compare it with the checksums taken while recording.

        Raises DatasetError naming the episode and the array that differs.
        """
        steps = self.episode_slice(episode)
        expected: dict[str, Any] = self.episodes[episode]["checksums"]
        for key, info in self._metadata.arrays.items():
            if key not in expected:
                continue
            if info.compressor is None:
                crc = zlib.crc32(read_rows(self.path, key, info, steps.start, steps.stop).data)
            else:
                crc = 0
                for step in range(steps.start, steps.stop):
                    crc = zlib.crc32(read_bytes(self.path / key / info.chunk_name(step)), crc)
            if crc != expected[key]:
                raise DatasetError(
                    f"{self.path / key}: episode {episode} (steps {steps.start} to {steps.stop - 1}) does not have "
                    "the checksum taken when it was recorded; restore it from a backup."
                )
