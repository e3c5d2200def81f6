"""Names, shapes and metadata of a dataset directory (`docs/datasets.md` is its specification).

A dataset is a zarr format 2 group. `.zmetadata`, zarr's consolidated metadata, holds the lengths of all arrays and the
attributes in one file; replacing that file is what makes an episode visible. The `.zarray` and `.zattrs` files next to
the arrays are copies for tools that do not read `.zmetadata`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, Features

FORMAT_VERSION = 1
METADATA = ".zmetadata"
PENDING = "pending"
LOCK = "pending/.lock"
STAGING = "pending/.staging"
TIMESTAMP = "data/timestamp"
EPISODE_ENDS = "meta/episode_ends"
EPISODES = "meta/episodes"
SIM_STATE = "sim/state"
SIM_MODELS = "sim/models"

# fields of an episode record that the writer fills in
RESERVED = ("index", "start_step", "num_steps", "duration_s", "checksums", "journal", "sim_model")

CHUNK_BYTES = 64 * 1024
EPISODES_PER_CHUNK = 64
ENDS_PER_CHUNK = 4096

Json = dict[str, Any]


def data_key(feature: str) -> str:
    return f"data/{feature}"


def rows_per_chunk(row_bytes: int) -> int:
    """Rows of a low-dimensional chunk: a power of two near 64 KiB, because a commit rewrites the last chunk."""
    rows = max(1, CHUNK_BYTES // max(1, row_bytes))
    return int(min(4096, 1 << (rows.bit_length() - 1)))


@dataclass
class ArrayInfo:
    """One zarr array: the content of its `.zarray`."""

    shape: tuple[int, ...]
    chunk_rows: int
    dtype: str
    compressor: Json | None = None
    filters: list[Json] | None = None

    @property
    def length(self) -> int:
        return self.shape[0]

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    def chunk_name(self, chunk: int) -> str:
        """File name of chunk number `chunk` along time: all other axes are in one piece."""
        return ".".join([str(chunk), *("0" for _ in self.row_shape)])

    def with_length(self, length: int) -> ArrayInfo:
        return ArrayInfo((length, *self.row_shape), self.chunk_rows, self.dtype, self.compressor, self.filters)

    def to_zarray(self) -> Json:
        fill: Any = "" if self.dtype == "|O" else False if self.dtype == "|b1" else 0
        return {
            "zarr_format": 2,
            "shape": list(self.shape),
            "chunks": [self.chunk_rows, *self.row_shape],
            "dtype": self.dtype,
            "compressor": self.compressor,
            "filters": self.filters,
            "fill_value": fill,
            "order": "C",
            "dimension_separator": ".",
        }

    @classmethod
    def from_zarray(cls, zarray: Mapping[str, Any], where: str) -> ArrayInfo:
        """Raises DatasetError for what this layout does not use (several chunks across a row, Fortran order)."""
        try:
            shape, chunks = tuple(zarray["shape"]), tuple(zarray["chunks"])
            plain = (
                zarray["order"] == "C" and zarray.get("dimension_separator", ".") == "." and len(shape) == len(chunks)
            )
            if not plain or not shape or shape[1:] != chunks[1:] or chunks[0] < 1:
                raise DatasetError(f"{where}: shape {shape} with chunks {chunks} is not in this layout.")
            return cls(shape, chunks[0], zarray["dtype"], zarray["compressor"], zarray["filters"])
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{where}: the array description is incomplete ({error!r}).") from error

    @classmethod
    def rows(cls, row_shape: tuple[int, ...], dtype: str) -> ArrayInfo:
        """An empty low-dimensional array, uncompressed."""
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(row_shape, dtype=np.int64))
        return cls((0, *row_shape), rows_per_chunk(row_bytes), np.dtype(dtype).str)

    @classmethod
    def frames(cls, row_shape: tuple[int, ...], dtype: str, compressor: Json) -> ArrayInfo:
        """An empty image array: one encoded frame a chunk."""
        return cls((0, *row_shape), 1, np.dtype(dtype).str, compressor)


def episode_ends_info() -> ArrayInfo:
    return ArrayInfo((0,), ENDS_PER_CHUNK, "<i8")


def episodes_info() -> ArrayInfo:
    return ArrayInfo((0,), EPISODES_PER_CHUNK, "|O", None, [{"id": "vlen-utf8"}])


def is_ours(path: Path) -> bool:
    """Whether the folder says that it is in this format, whole or damaged."""
    try:
        return any(
            b'"robolearn_format"' in (path / name).read_bytes()
            for name in (METADATA, ".zattrs")
            if (path / name).is_file()
        )
    except OSError:
        return False


def is_encoded(feature: Feature) -> bool:
    """Whether every sample of the feature is one encoded image."""
    return feature.kind in ("image", "depth")


@dataclass
class Metadata:
    """Everything in `.zmetadata`: attributes of the root group and one `ArrayInfo` per array."""

    attributes: Json
    arrays: dict[str, ArrayInfo] = field(default_factory=dict)

    @property
    def features(self) -> Features:
        return {item["name"]: Feature.from_dict(item) for item in self.attributes["features"]}

    @property
    def num_episodes(self) -> int:
        return self.arrays[EPISODE_ENDS].length

    @property
    def num_steps(self) -> int:
        return self.arrays[TIMESTAMP].length

    def documents(self) -> dict[str, Json]:
        """The zarr metadata files of the whole hierarchy, by path."""
        documents: dict[str, Json] = {".zattrs": self.attributes}
        groups = {""} | {key.rpartition("/")[0] for key in self.arrays}
        for group in sorted(groups):
            documents[f"{group}/.zgroup".lstrip("/")] = {"zarr_format": 2}
        for key, info in self.arrays.items():
            documents[f"{key}/.zarray"] = info.to_zarray()
        return documents

    def to_bytes(self) -> bytes:
        return to_json({"zarr_consolidated_format": 1, "metadata": self.documents()})

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Read and check `.zmetadata` of the dataset at `path`.

        Raises DatasetError when there is no dataset there, or none that this version can read.
        """
        file = path / METADATA
        if not path.exists():
            raise DatasetError(f"Dataset {path} does not exist; check the path, or record it with: robolearn record.")
        if not file.is_file() and is_ours(path):
            raise DatasetError(f"{file} is missing: the dataset is damaged; restore the file from a backup.")
        if not file.is_file():
            raise DatasetError(
                f"{path} is not a dataset: {METADATA} is missing. "
                f"Data of another format can be read with: robolearn dataset convert --input {path} --output NAME.zarr"
            )
        try:
            documents = json.loads(file.read_bytes())["metadata"]
            attributes = documents[".zattrs"]
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{file} is damaged ({error}); restore it from a backup.") from error
        version = attributes.get("robolearn_format") if isinstance(attributes, dict) else None
        if version is None:
            raise DatasetError(
                f"{path} is a zarr group of another kind. "
                f"Convert it with: robolearn dataset convert --input {path} --output NAME.zarr"
            )
        if version != FORMAT_VERSION:
            raise DatasetError(f"{path} has format version {version}, expected {FORMAT_VERSION}; update robolearn.")
        arrays = {
            key[: -len("/.zarray")]: ArrayInfo.from_zarray(document, f"{file}: {key}")
            for key, document in documents.items()
            if key.endswith("/.zarray")
        }
        metadata = cls(attributes, arrays)
        try:
            metadata._check(file)
        except (KeyError, TypeError, FeatureError) as error:
            raise DatasetError(f"{file} is damaged ({error!r}); restore it from a backup.") from error
        return metadata

    def _check(self, file: Path) -> None:
        needed = [TIMESTAMP, EPISODE_ENDS, EPISODES, *map(data_key, self.features)]
        missing = [key for key in needed if key not in self.arrays]
        if missing:
            raise DatasetError(f"{file} is damaged: it does not describe {missing[0]}; restore it from a backup.")
        outside = [key for key in self.arrays if key.startswith("/") or ".." in key.split("/")]
        if outside:
            raise DatasetError(f"{file} names the array {outside[0]!r}, which lies outside the dataset; do not use it.")
        for name, feature in self.features.items():
            info = self.arrays[data_key(name)]
            if info.row_shape != feature.shape or np.dtype(info.dtype) != np.dtype(feature.dtype):
                raise DatasetError(
                    f"{file} is damaged: {data_key(name)} has rows {info.row_shape} of {info.dtype}, but the feature "
                    f"is {feature.shape} of {feature.dtype}; restore it from a backup."
                )
        lengths = {key: info.length for key, info in self.arrays.items() if key.startswith(("data/", SIM_STATE))}
        wrong = [key for key, length in lengths.items() if length != self.num_steps]
        if wrong or self.arrays[EPISODES].length != self.num_episodes:
            key = wrong[0] if wrong else EPISODES
            raise DatasetError(
                f"{file} is damaged: {key} has {self.arrays[key].length} rows, expected "
                f"{self.num_steps if wrong else self.num_episodes}; restore it from a backup."
            )


def to_json(value: Any) -> bytes:
    """Strict json bytes; numpy scalars and arrays become numbers and lists."""

    def plain(item: Any) -> Any:
        if isinstance(item, np.generic | np.ndarray):
            return item.tolist()
        if isinstance(item, Path):
            return str(item)
        raise TypeError(f"{type(item).__name__} {item!r} cannot be stored as json")

    return json.dumps(value, default=plain, allow_nan=False, ensure_ascii=False).encode()
