"""Names, shapes and metadata of a dataset directory (`docs/datasets.md` is its specification).

A dataset is a zarr format 2 group. `.zmetadata`, zarr's consolidated metadata, holds the lengths of all arrays and the
attributes in one file; replacing that file is what makes an episode visible. The `.zarray` and `.zattrs` files next to
the arrays are copies for tools that do not read `.zmetadata`.
"""

from __future__ import annotations

import json
import re
import zlib
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
RESERVED = (
    "index", "start_step", "num_steps", "duration_s", "checksums", "journal", "sim_model", "streams", "timing", "crc32"
)  # fmt: skip

CHUNK_BYTES = 64 * 1024
EPISODES_PER_CHUNK = 64
ENDS_PER_CHUNK = 4096

Json = dict[str, Any]

_CRC32 = re.compile(rb', "crc32": (\d{1,10})}\Z')


def data_key(feature: str) -> str:
    return f"data/{feature}"


def crc_key(feature: str) -> str:
    return f"crc32/{feature}"


def statistics_key(feature: str) -> str:
    return f"statistics/{feature}"


def histogram_key(feature: str) -> str:
    return f"histograms/{feature}"


def stream_key(feature: str, part: str) -> str:
    """Of the parts value, timestamp, device_time, sequence, crc32, episode_ends, at_step."""
    return f"streams/{feature}/{part}"


def axis(key: str) -> str:
    """What axis 0 of an array counts: `steps`, `episodes`, or `streams/<feature>` for the rows of a stream."""
    top, _, rest = key.partition("/")
    if top in ("meta", "statistics", "histograms") or (top == "streams" and rest.endswith("/episode_ends")):
        return "episodes"
    if top == "streams" and not rest.endswith("/at_step"):
        return key.rpartition("/")[0]
    return "steps"


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
        return f"{chunk}{'.0' * (len(self.shape) - 1)}"

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
            if not all(isinstance(n, int) and n >= 0 for n in (*shape, *chunks)):
                raise DatasetError(f"{where}: shape {shape} with chunks {chunks} is not in this layout.")
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


def is_event(feature: Feature) -> bool:
    """Whether samples come when something happens: they are a stream of their own and on no grid."""
    return feature.kind == "event"


def arrays_for(features: Features, recorded: str, compressors: Mapping[str, Json]) -> dict[str, ArrayInfo]:
    """All arrays that a dataset without episodes has.

    Args:
        recorded: `steps` or `streams`.
        compressors: codec configuration of every image and depth feature.
    """
    arrays = {TIMESTAMP: ArrayInfo.rows((), "<f8"), EPISODE_ENDS: episode_ends_info(), EPISODES: episodes_info()}
    for name, feature in features.items():
        encoded = is_encoded(feature)
        if recorded == "steps" or not is_event(feature):
            size = int(np.prod(feature.shape, dtype=np.int64))
            arrays[data_key(name)] = _samples(feature, compressors)
            if encoded:
                channels = feature.shape[2] if len(feature.shape) == 3 else 1
                arrays[crc_key(name)] = ArrayInfo.rows((), "<u4")
                arrays[histogram_key(name)] = ArrayInfo.rows((channels, 256), "<u4")
            else:
                arrays[statistics_key(name)] = ArrayInfo.rows((9, size), "<f8")
        if recorded == "streams":
            arrays[stream_key(name, "value")] = _samples(feature, compressors)
            arrays[stream_key(name, "timestamp")] = ArrayInfo.rows((), "<f8")
            arrays[stream_key(name, "device_time")] = ArrayInfo.rows((), "<f8")
            arrays[stream_key(name, "sequence")] = ArrayInfo.rows((), "<i8")
            arrays[stream_key(name, "episode_ends")] = episode_ends_info()
            if encoded:
                arrays[stream_key(name, "crc32")] = ArrayInfo.rows((), "<u4")
            if not is_event(feature):
                arrays[stream_key(name, "at_step")] = ArrayInfo.rows((), "<i8")
    return arrays


def _samples(feature: Feature, compressors: Mapping[str, Json]) -> ArrayInfo:
    if is_encoded(feature):
        return ArrayInfo.frames(feature.shape, feature.dtype, compressors[feature.name])
    return ArrayInfo.rows(feature.shape, feature.dtype)


@dataclass
class Metadata:
    """Everything in `.zmetadata`: attributes of the root group and one `ArrayInfo` per array."""

    attributes: Json
    arrays: dict[str, ArrayInfo] = field(default_factory=dict)

    @property
    def features(self) -> Features:
        """All features."""
        return {item["name"]: Feature.from_dict(item) for item in self.attributes["features"]}

    @property
    def recorded(self) -> str:
        """`steps` or `streams`: how the dataset is recorded."""
        return str(self.attributes.get("recorded", "steps"))

    @property
    def grid(self) -> Features:
        """The features that `data/` holds: all but the events of a stream recording."""
        found = self.features
        return found if self.recorded == "steps" else {k: v for k, v in found.items() if not is_event(v)}

    @property
    def num_episodes(self) -> int:
        return self.arrays[EPISODE_ENDS].length

    @property
    def num_steps(self) -> int:
        return self.arrays[TIMESTAMP].length

    def documents(self) -> dict[str, Json]:
        """The zarr metadata files of the whole hierarchy, by path."""
        # in the order of the paths: zarr-python 3 loses groups whose members are not next to each other
        documents: dict[str, Json] = {".zattrs": self.attributes, ".zgroup": {"zarr_format": 2}}
        groups = {key[: place.start()] for key in self.arrays for place in re.finditer("/", key)}
        for path in sorted(groups | self.arrays.keys()):
            if path in groups:
                documents[f"{path}/.zgroup"] = {"zarr_format": 2}
            else:
                documents[f"{path}/.zarray"] = self.arrays[path].to_zarray()
        return documents

    def to_bytes(self) -> bytes:
        """The content of `.zmetadata`; it ends with the CRC-32 of what it would be without it."""
        return sealed_json({"zarr_consolidated_format": 1, "metadata": self.documents()})

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Read and check `.zmetadata` of the dataset at `path`.

        Raises DatasetError when there is no dataset there, or none that this version can read.
        """
        file = path / METADATA
        if not path.exists():
            raise DatasetError(f"Dataset {path} does not exist; check the path, or record it with: robolearn record.")
        if not file.is_file() and is_ours(path):
            raise DatasetError(f"{file} is missing: the dataset is damaged; {_remedy(path)}.")
        if not file.is_file():
            raise DatasetError(
                f"{path} is not a dataset: {METADATA} is missing. "
                f"Data of another format can be read with: robolearn dataset convert --input {path} --output NAME.zarr"
            )
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DatasetError(f"{file} cannot be read: {error.strerror}.") from error
        return cls.from_bytes(data, path)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path | str) -> Metadata:
        """Check and parse the content of `.zmetadata`. Raises DatasetError naming the dataset at `path`."""
        file = f"{path}/{METADATA}"
        damaged = _remedy(path)
        try:
            documents = json.loads(data)["metadata"]
            attributes = documents[".zattrs"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DatasetError(f"{file} is damaged ({error}); {damaged}.") from error
        version = attributes.get("robolearn_format") if isinstance(attributes, dict) else None
        if version is None:
            raise DatasetError(
                f"{path} is a zarr group of another kind. "
                f"Convert it with: robolearn dataset convert --input {path} --output NAME.zarr"
            )
        if version != FORMAT_VERSION:
            raise DatasetError(f"{path} has format version {version}, expected {FORMAT_VERSION}; update robolearn.")
        if not is_sealed(data):
            raise DatasetError(f"{file} is damaged: it does not have the checksum at its end; {damaged}.")
        try:
            arrays = {
                key[: -len("/.zarray")]: ArrayInfo.from_zarray(document, f"{file}: {key}")
                for key, document in documents.items()
                if key.endswith("/.zarray")
            }
            metadata = cls(attributes, arrays)
            metadata._check(file)
        except (KeyError, TypeError, ValueError, AttributeError, FeatureError) as error:
            raise DatasetError(f"{file} is damaged ({error!r}); {damaged}.") from error
        return metadata

    def _check(self, file: str) -> None:
        outside = [key for key in self.arrays if key.startswith("/") or ".." in key.split("/")]
        if outside:
            raise DatasetError(f"{file} names the array {outside[0]!r}, which lies outside the dataset; do not use it.")
        compressors = {
            name: self.arrays[data_key(name)].compressor or {}
            for name, feature in self.grid.items()
            if is_encoded(feature)
        }
        if self.recorded not in ("steps", "streams"):
            raise DatasetError(f"{file} is damaged: recorded as {self.recorded!r}; restore it from a backup.")
        needed = arrays_for(self.features, self.recorded, compressors)
        missing = [key for key in needed if key not in self.arrays]
        if missing:
            raise DatasetError(f"{file} is damaged: it does not describe {missing[0]}; restore it from a backup.")
        known = {key: info for key, info in self.arrays.items() if key in needed or key == SIM_STATE}
        for key, info in known.items():
            expected = needed.get(key, ArrayInfo.rows(info.row_shape, "<f8"))
            if info.row_shape != expected.row_shape or np.dtype(info.dtype) != np.dtype(expected.dtype):
                raise DatasetError(
                    f"{file} is damaged: {key} has rows {info.row_shape} of {info.dtype}, expected "
                    f"{expected.row_shape} of {expected.dtype}; restore it from a backup."
                )
            if info.compressor != expected.compressor or info.chunk_rows < 1:
                raise DatasetError(
                    f"{file} is damaged: {key} has compressor {info.compressor} and {info.chunk_rows} rows a chunk; "
                    "restore it from a backup."
                )
            counted = axis(key)
            whole = {"steps": self.num_steps, "episodes": self.num_episodes}
            length = whole[counted] if counted in whole else self.arrays[f"{counted}/timestamp"].length
            if info.length != length:
                raise DatasetError(
                    f"{file} is damaged: {key} has {info.length} rows, expected {length}; restore it from a backup."
                )


def _remedy(path: Path | str) -> str:
    return f"restore it from a backup, or rebuild it from its copies with: robolearn dataset repair {path}"


def to_json(value: Any) -> bytes:
    """Strict json bytes; numpy scalars and arrays become numbers and lists."""

    def plain(item: Any) -> Any:
        if isinstance(item, np.generic | np.ndarray):
            return item.tolist()
        if isinstance(item, Path):
            return str(item)
        raise TypeError(f"{type(item).__name__} {item!r} cannot be stored as json")

    return json.dumps(value, default=plain, allow_nan=False, ensure_ascii=False).encode()


def sealed_json(value: Json) -> bytes:
    """Json bytes of a mapping that end with `, "crc32": N}`, N being the CRC-32 of what they would be without."""
    body = to_json(value)
    return body[:-1] + b', "crc32": %d}' % zlib.crc32(body)


def is_sealed(data: bytes) -> bool:
    """Whether `data` is what `sealed_json` returned."""
    ending = _CRC32.search(data)
    return ending is not None and zlib.crc32(data[: ending.start()] + b"}") == int(ending[1])
