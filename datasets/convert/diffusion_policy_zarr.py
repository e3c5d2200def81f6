"""diffusion_policy's replay buffer: a zarr v2 group with `data/<key>` (time first) and `meta/episode_ends`.

It is a folder, or a zip file of one (UMI's `dataset.zarr.zip`), which is read without unpacking. It stores no rate,
times, units or task. Known sets of keys (`zarr_layouts.py`) bring those along; other keys become `action`,
`observation.images.<key>` or `observation.<key>`, and `--rename key=feature` decides otherwise.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, MissingDependencyError, RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.datasets.codecs import register
from robolearn.datasets.convert.export.origin import KEY, Origin
from robolearn.datasets.convert.protocol import ConvertOptions, Source, SourceDescription
from robolearn.datasets.convert.source import check_rename
from robolearn.datasets.convert.spool import FrameSpool
from robolearn.datasets.convert.zarr_layouts import Column, Layout, default_column, find_layout
from robolearn.datasets.episode import EpisodeData
from robolearn.datasets.layout import Json, is_encoded, is_ours

FORMAT = "diffusion_policy_zarr"
NEEDED = (".zgroup", "data/.zgroup", "meta/episode_ends/.zarray")
BLOCK_BYTES = 64 << 20
LARGEST_ENTRY = 256 << 20  # of a zip file, unpacked: one chunk has to fit in memory


@dataclass(frozen=True)
class Buffer:
    """The opened group.

    Attributes:
        arrays: key -> zarr array of `data/`.
        episode_ends: `(E,)` int64.
        store: to close.
        missing: key -> {place of a chunk along time: name of a chunk there that is not stored}, where there are any.
        layout: what the keys mean, if they are a known set.
        origin: what an export of ours says of the dataset it came from.
    """

    path: Path
    arrays: dict[str, Any]
    episode_ends: np.ndarray
    missing: dict[str, dict[int, str]]
    store: Any
    layout: Layout | None
    origin: Origin | None
    notes: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Buffer:
        """Raises DatasetError when arrays are missing, damaged or of different lengths, MissingDependencyError when a
        compressor is not installed.
        """
        import zarr
        from zarr.storage import LocalStore, ZipStore

        _register_codecs()
        try:
            if path.is_file():
                _check_entries(path)
            store: Any = ZipStore(path, mode="r") if path.is_file() else LocalStore(path, read_only=True)
            group = zarr.open_group(store, mode="r")
            arrays, notes = _open_arrays(path, group)
            ends = _safe(path, group["meta/episode_ends"])
            for chunk in _missing_chunks(path, ends).values():
                raise DatasetError(f"{path}: {chunk} is missing, which says where episodes end: {INCOMPLETE}.")
            episode_ends = np.asarray(ends[:], np.int64)
            document = group.attrs.get(KEY)
        except RobolearnError:
            raise
        except Exception as error:  # zarr has no common base of what a damaged store makes it raise
            if missing := _missing_codec(str(error)):
                raise MissingDependencyError(f"{path} is compressed with {missing}; {INSTALL_IMAGECODECS}") from error
            raise DatasetError(
                f"{path} cannot be read as a replay buffer ({_reason(error)}); copy it again."
            ) from error
        origin = Origin.from_json(document, f"{path}: the attribute {KEY}") if document is not None else None
        if not arrays or not episode_ends.size:
            raise DatasetError(f"{path} holds no data: {len(arrays)} arrays, {episode_ends.size} episodes.")
        for key, array in arrays.items():
            steps = array.shape[0] if array.shape else "no"
            if steps != episode_ends[-1]:
                raise DatasetError(
                    f"{path}: data/{key} has {steps} steps, but meta/episode_ends ends at {episode_ends[-1]}."
                )
        if (np.diff(episode_ends, prepend=0) < 1).any():
            raise DatasetError(f"{path}: meta/episode_ends does not rise; expected cumulative ends of episodes.")
        gaps = {key: found for key, array in arrays.items() if (found := _missing_chunks(path, array))}
        layout = None if origin else find_layout(arrays)
        notes += layout.notes if layout else ()
        return cls(path, arrays, episode_ends, gaps, store, layout, origin, tuple(notes))

    def columns(self, rename: Mapping[str, str]) -> list[Column]:
        """What becomes of every key. A renamed key is stored whole under its new name."""
        check_rename(rename, self.arrays)
        if self.origin:
            described = self.origin.features
            return [
                Column((key,), _renamed(described[name], rename.get(key)))
                for key, name in self.origin.keys.items()
                if key in self.arrays
            ]
        known = [c for c in self.layout.columns if not set(c.keys) & set(rename)] if self.layout else []
        taken = {key for column in known for key in column.keys}
        return known + [default_column(k, a, rename.get(k)) for k, a in self.arrays.items() if k not in taken]

    def read(self, column: Column, start: int, stop: int) -> np.ndarray:
        """Rows of a feature. Raises DatasetError naming the array when a chunk is damaged."""
        return self._guarded(column.keys[0], start, stop, lambda: column.read(self.arrays, start, stop))

    def times(self, start: int, stop: int, fps: float) -> np.ndarray:
        """`(stop - start,)` seconds: those that an export of ours brought along, else nominal ones."""
        if self.origin is None or self.origin.timestamp not in self.arrays:
            return np.arange(stop - start) / fps
        key = self.origin.timestamp
        return self._guarded(key, start, stop, lambda: np.asarray(self.arrays[key][start:stop], np.float64))

    def check(self, index: int, start: int, stop: int) -> None:
        """Raises DatasetError when a chunk of episode `index` is not stored: zarr would read zeros in its place."""
        for key, chunks in self.missing.items():
            rows = self.arrays[key].chunks[0]
            for place in range(start // rows, (stop - 1) // rows + 1):
                if place in chunks:
                    raise DatasetError(f"{self.path}: episode {index}: chunk {chunks[place]} is missing: {INCOMPLETE}.")

    def _guarded(self, key: str, start: int, stop: int, call: Any) -> np.ndarray:
        try:
            return call()
        except Exception as error:  # whatever the array's compressor raises
            raise DatasetError(
                f"{self.path}: data/{key}, steps {start} to {stop - 1}, cannot be read ({_reason(error)}); "
                "copy it again."
            ) from error


INCOMPLETE = "possibly an incomplete copy"
INSTALL_IMAGECODECS = "install imagecodecs with: pip install '.[umi]' -c constraints.txt"


def _register_codecs() -> None:
    """Ours, and those of imagecodecs (JPEG 2000, JPEG XL, ...) where it is installed."""
    try:
        from imagecodecs.numcodecs import register_codecs
    except ImportError:
        pass
    else:
        register_codecs(verbose=False)
    register()


def _missing_codec(message: str) -> str | None:
    """The id of a codec of imagecodecs that numcodecs says it does not know."""
    words = message.replace("'", " ").replace('"', " ").split()
    return next((word.strip(".,()") for word in words if word.startswith("imagecodecs_")), None)


def _open_arrays(path: Path, group: Any) -> tuple[dict[str, Any], list[str]]:
    """(Arrays of numbers in `data/`, notes on the others). Raises DatasetError when one cannot be opened."""
    arrays, notes = {}, []
    for key in sorted(_members(path)):
        try:
            arrays[key] = _safe(path, group[f"data/{key}"])
        except Exception as error:
            if "No Zarr data type found" not in str(error):  # objects and records, which hold no numbers
                raise
            notes.append(f"data/{key} is not carried over: it does not hold numbers")
    odd = [key for key, array in arrays.items() if array.dtype.kind not in "biuf"]
    notes += [f"data/{key} is not carried over: it does not hold numbers" for key in odd]
    return {key: array for key, array in arrays.items() if key not in odd}, notes


def _members(path: Path) -> list[str]:
    """Names in `data/`, also of arrays that zarr cannot open."""
    if path.is_dir():
        return [folder.name for folder in (path / "data").iterdir() if (folder / ".zarray").is_file()]
    with zipfile.ZipFile(path) as archive:
        return [n.split("/")[1] for n in archive.namelist() if re.fullmatch(r"data/[^/]+/\.zarray", n)]


def _missing_chunks(path: Path, array: Any) -> dict[int, str]:
    """Place along time -> name of a chunk there that is not stored."""
    if array.nchunks_initialized >= array.nchunks:
        return {}
    stored: set[str] = set()
    if path.is_file():
        with zipfile.ZipFile(path) as archive:
            stored.update(archive.namelist())
    missing: dict[int, str] = {}
    for place in np.ndindex(*(-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))):
        name = f"{array.path}/{array.metadata.encode_chunk_key(place)}"
        if not (name in stored or (path.is_dir() and (path / name).is_file())):
            missing.setdefault(place[0], name)
    return missing


def _check_entries(path: Path) -> None:
    """Raises DatasetError for a zip file of which an entry would fill the memory: zeros are packed a thousandfold."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > LARGEST_ENTRY:
                raise DatasetError(
                    f"{path}: {entry.filename} would have {entry.file_size} bytes, more than {LARGEST_ENTRY}; "
                    "store the array in smaller chunks."
                )


def _safe(path: Path, array: Any) -> Any:
    """The array, unless reading it would run code that the file brings along."""
    codecs = [*(array.metadata.filters or ()), array.metadata.compressor]
    if any(getattr(codec, "codec_id", None) == "pickle" for codec in codecs):
        raise DatasetError(f"{path}: {array.path} is stored as pickles, which can run any code; it is not read.")
    return array


def _renamed(feature: Feature, name: str | None) -> Feature:
    return Feature(**{**feature.to_dict(), "name": name}) if name else feature


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def detect(source: Path) -> bool:
    """Whether `source` is a zarr v2 group with `data` and `meta/episode_ends`, or a zip of one, and not one of ours."""
    if source.is_dir():
        return all((source / name).is_file() for name in NEEDED) and not is_ours(source)
    try:
        with zipfile.ZipFile(source) as archive:
            return set(NEEDED) <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads array descriptions and episode ends only."""
    opened = Buffer.open(source)
    opened.store.close()
    known = opened.layout or opened.origin
    task = (opened.layout.task,) if opened.layout and opened.layout.task else ()
    found = features(column.feature for column in opened.columns({}))
    steps = int(opened.episode_ends[-1])
    return SourceDescription(
        FORMAT, len(opened.episode_ends), steps, known.fps if known else None, found, task,
        (*opened.notes, *(f"data/{key}: chunks are missing" for key in opened.missing)),
    )  # fmt: skip


def open_source(source: Path, options: ConvertOptions) -> Source:
    """See `Converter.open_source`. Raises ConfigError when the rate is neither known nor given."""
    return ZarrSource(Buffer.open(source), options)


class ZarrSource(Source):
    """A replay buffer."""

    def __init__(self, buffer: Buffer, options: ConvertOptions):
        super().__init__()
        for key, array in buffer.arrays.items():
            if array.nchunks and not array.nchunks_initialized and not options.missing_as_zeros:
                raise DatasetError(
                    f"{buffer.path}: no chunk of data/{key} is there: {INCOMPLETE}; copy it again, or say that it "
                    "holds zeros, with --missing-as-zeros."
                )
        known = buffer.origin or buffer.layout
        fps = options.fps or (known.fps if known else None)
        if fps is None:
            raise ConfigError(f"{buffer.path} does not store the rate of its steps; give it with --fps.")
        self.buffer, self.options, self.fps = buffer, options, fps
        self.columns = buffer.columns(options.rename)
        self.features = features(column.feature for column in self.columns)
        self.num_episodes = len(buffer.episode_ends)
        self.format_version = "zarr 2"
        left_out = (
            "are read as zeros" if options.missing_as_zeros else "are missing, episodes that need them are left out"
        )
        self.notes = [*buffer.notes, *(f"data/{key}: chunks {left_out}" for key in buffer.missing)]
        if buffer.origin:
            self.masks = buffer.origin.masks
            self.metadata = {k: v for k, v in buffer.origin.metadata.items() if k != "provenance"}
            self.metadata["exported_from"] = buffer.origin.metadata.get("provenance")
        else:
            self.metadata = {"robot": buffer.layout.name if buffer.layout else None}
            self.notes.append(f"the source stores no times: step k of an episode gets k / {fps:g} s")

    def close(self) -> None:
        self.buffer.store.close()

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `Source.read_episode`."""
        ends = self.buffer.episode_ends
        start, stop = int(ends[index - 1]) if index else 0, int(ends[index])
        if not self.options.missing_as_zeros:
            self.buffer.check(index, start, stop)
        values = {}
        for column in self.columns:
            if not is_encoded(column.feature):
                values[column.feature.name] = self.buffer.read(column, start, stop)
                continue
            row_bytes = max(1, column.size(self.buffer.arrays) * self.buffer.arrays[column.keys[0]].dtype.itemsize)
            block = max(1, BLOCK_BYTES // row_bytes)
            for first in range(start, stop, block):
                for image in self.buffer.read(column, first, min(first + block, stop)):
                    spool.add(column.feature.name, image)
        times = self.buffer.times(start, stop, self.fps)
        return EpisodeData(times, values, spool.frames(), self._record(index))

    def _record(self, index: int) -> Json:
        origin, known = self.buffer.origin, self.buffer.layout
        if origin and index < len(origin.episodes):
            record = dict(origin.episodes[index])
            return {**record, "task": self.options.task} if self.options.task else record
        return {"task": self.options.task or (known.task if known else None), "source_episode": index}
