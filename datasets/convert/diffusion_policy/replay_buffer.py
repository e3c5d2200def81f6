"""The arrays and bounds of a replay buffer in zarr, opened as far as it can be, from a folder or a zip file."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError, RobolearnError, one_line
from robolearn.datasets.convert.array_features import SourceArray
from robolearn.datasets.convert.diffusion_policy.chunks import Chunks
from robolearn.datasets.convert.diffusion_policy.layouts import Column, Layout, default_column, find_layout
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.origin import KEY, Origin
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.format.codecs import register
from robolearn.datasets.format.layout import is_encoded

LARGEST_ENTRY = 256 << 20  # of a zip file, unpacked: one chunk has to fit in memory
LOOKED_AT = 100  # episodes of which pictures are looked at to judge their range
NO_NUMBERS = "it does not hold numbers"
INCOMPLETE = "possibly an incomplete copy"
INSTALL_IMAGECODECS = "install imagecodecs with: pip install '.[umi]' -c constraints.txt"


@dataclass(frozen=True)
class Buffer:
    """The opened group.

    Attributes:
        arrays: key -> zarr array of `data/`.
        episode_ends: `(E,)` int64.
        store: to close.
        zarr_format: 2 or 3.
        chunks: key -> which of its chunks are stored.
        layout: what the keys mean, if they are a known set.
        origin: what an export of ours says of the dataset it came from.
    """

    path: Path
    arrays: dict[str, Any]
    episode_ends: np.ndarray
    chunks: dict[str, Chunks]
    store: Any
    zarr_format: int
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
            episode_ends = _episode_ends(path, ends)
            document = parsed(json.dumps(group.attrs.get(KEY)))
        except RobolearnError:
            raise
        except Exception as error:  # zarr has no common base of what a damaged store makes it raise
            if missing := _missing_codec(str(error)):
                raise MissingDependencyError(f"{path} is compressed with {missing}; {INSTALL_IMAGECODECS}") from error
            raise DatasetError(
                f"{path} cannot be read as a replay buffer ({one_line(error)}); copy it again."
            ) from error
        origin = Origin.from_json(document, f"{path}: the attribute {KEY}") if document is not None else None
        _check_ends(path, episode_ends)
        arrays, said = _covering(arrays, episode_ends)
        if not arrays:
            raise DatasetError(f"{path} holds no data: {'; '.join([*notes, *said]) or 'no arrays'}.")
        chunks = {key: Chunks(path, array) for key, array in arrays.items()}
        layout = None if origin else find_layout(arrays)
        notes += [*said, *(layout.notes if layout else ())]
        version = int(group.metadata.zarr_format)
        return cls(path, arrays, episode_ends, chunks, store, version, layout, origin, tuple(notes))

    def bounds(self, index: int) -> tuple[int, int]:
        """First step of episode `index` and the one after its last."""
        return int(self.episode_ends[index - 1]) if index else 0, int(self.episode_ends[index])

    def columns(self, rename: Collection[str]) -> list[Column]:
        """What every key is. A key of a known layout that is renamed is stored whole."""
        if self.origin:
            return [
                Column((key,), self.origin.features[name])
                for key, name in self.origin.keys.items()
                if key in self.arrays
            ]
        known = [self._wide(c) for c in self.layout.columns if not set(c.keys) & set(rename)] if self.layout else []
        taken = {key for column in known for key in column.keys}
        return known + [default_column(key, array) for key, array in self.arrays.items() if key not in taken]

    def _wide(self, column: Column) -> Column:
        """A column of a known layout in a type that holds what its arrays do: some store float64."""
        if is_encoded(column.feature):
            return column
        dtype = np.result_type(column.feature.dtype, *(self.arrays[key].dtype for key in column.keys))
        return replace(column, feature=replace(column.feature, dtype=dtype.name))

    def source_array(self, column: Column) -> SourceArray:
        """A column as it is declared to `decide`."""
        array, feature = self.arrays[column.keys[0]], column.feature
        pictured = is_encoded(feature) or not column.fixed
        shape = tuple(array.shape[1:]) if pictured else feature.shape
        dtype = array.dtype.name if pictured else feature.dtype
        return SourceArray(column.keys[0], shape, dtype, feature, fixed=column.fixed, known=self.origin is not None)

    def look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last row of episodes all over the buffer; those that cannot be read are left out."""
        rows = self.arrays[array.key]
        for index in spread(len(self.episode_ends), LOOKED_AT):
            start, stop = self.bounds(index)
            if start < stop <= rows.shape[0]:
                with contextlib.suppress(Exception):  # whatever the array's compressor raises; it is named when read
                    yield np.stack([rows[start + row] for row in first_middle_last(stop - start)])

    def read(self, keys: Sequence[str], start: int, stop: int, call: Callable[[int, int], np.ndarray]) -> np.ndarray:
        """`call(start, stop)`, which reads rows of the arrays `keys`. Raises `Unreadable` when a chunk is damaged."""
        try:
            return call(start, stop)
        except Exception as error:  # whatever the array's compressor raises
            for key in keys:
                array, rows = self.arrays[key], self.chunks[key].grid[0]
                for first in range(start // rows * rows, stop, rows):
                    last = min(stop, first + rows)
                    try:
                        array[max(start, first) : last]
                    except Exception as damage:
                        raise Unreadable(key, max(start, first), last - 1, one_line(damage)) from error
            raise Unreadable(", ".join(keys), start, stop - 1, one_line(error)) from error

    def times(self, start: int, stop: int, fps: float) -> np.ndarray:
        """`(stop - start,)` seconds: those that an export of ours brought along, else nominal ones."""
        if self.origin is None or self.origin.timestamp not in self.arrays:
            return np.arange(stop - start) / fps
        stored = self.arrays[self.origin.timestamp]
        return self.read([self.origin.timestamp], start, stop, lambda a, b: np.asarray(stored[a:b], np.float64))

    def check(self, keys: Collection[str], start: int, stop: int) -> None:
        """Raises DatasetError when a row of `keys` is not stored: zarr would read zeros in place of a missing chunk."""
        if start == stop:
            raise DatasetError("it has no steps")
        for key in keys:
            steps = self.arrays[key].shape[0]
            if steps < stop:
                raise DatasetError(
                    f"it ends at row {stop}, and data/{key} has {steps}, fewer: an interrupted recording"
                )
            if missing := self.chunks[key].missing(start, stop - 1):
                raise DatasetError(f"chunk {missing} is missing: {INCOMPLETE}")


class Unreadable(Exception):
    """Rows of a key that cannot be read, and why."""

    def __init__(self, key: str, first: int, last: int, reason: str):
        super().__init__(reason)
        self.key, self.first, self.last, self.reason = key, first, last, reason


def _episode_ends(path: Path, stored: Any) -> np.ndarray:
    """`(E,)` int64. Raises DatasetError where they are not all there, or no whole numbers."""
    if stored.ndim != 1 or stored.dtype.kind not in "iuf":
        raise DatasetError(
            f"{path}: meta/episode_ends is {stored.dtype} of shape {stored.shape}; expected a whole number an episode."
        )
    if stored.shape[0] and (missing := Chunks(path, stored).missing(0, stored.shape[0] - 1)):
        raise DatasetError(f"{path}: {missing} is missing, which says where episodes end: {INCOMPLETE}.")
    ends = np.asarray(stored[:])
    odd = np.flatnonzero(~((np.abs(ends) < 2.0**62) & (ends == np.rint(ends))))
    if odd.size:
        raise DatasetError(f"{path}: meta/episode_ends holds {ends[odd[0]]} at episode {odd[0]}, no number of a row.")
    return ends.astype(np.int64)


def _check_ends(path: Path, ends: np.ndarray) -> None:
    if not ends.size or ends[-1] < 1:
        raise DatasetError(f"{path} holds no episode: meta/episode_ends is {'empty' if not ends.size else ends[-1]}.")
    falls = np.flatnonzero(np.diff(ends, prepend=0) < 0)
    if falls.size:
        k = int(falls[0])
        raise DatasetError(
            f"{path}: meta/episode_ends falls from {ends[k - 1] if k else 0} to {ends[k]} at episode {k}; expected "
            "cumulative ends of episodes."
        )


def _covering(arrays: Mapping[str, Any], ends: np.ndarray) -> tuple[dict[str, Any], list[str]]:
    """(Arrays that have the steps of at least one episode, what is left out of them and of the others)."""
    first = int(ends[ends > 0][0])
    kept = {key: array for key, array in arrays.items() if array.shape and array.shape[0] >= first}
    notes = [
        f"data/{key} is not carried over: it has {array.shape[0] if array.shape else 'no'} steps, the first episode "
        f"{first}"
        for key, array in arrays.items()
        if key not in kept
    ]
    total = int(ends[-1])
    longer: dict[int, list[str]] = {}
    for key, array in kept.items():
        if array.shape[0] > total:
            longer.setdefault(array.shape[0], []).append(f"data/{key}")
    notes += [
        f"rows {total} to {steps - 1} of {', '.join(keys)} come after the last episode and are left out: an "
        "interrupted recording?"
        for steps, keys in longer.items()
    ]
    return kept, notes


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
    """(Arrays of numbers in `data/`, notes on the others). Raises DatasetError for a pickle, and where a compressor is
    missing what zarr raises.
    """
    arrays, notes = {}, []
    for key in sorted(_members(path)):
        try:
            array = _safe(path, group[f"data/{key}"])
            if array.dtype.kind not in "biuf":
                raise TypeError(NO_NUMBERS)
            arrays[key] = array
        except DatasetError:
            raise
        except Exception as error:  # zarr has no common base of what a damaged description makes it raise
            if _missing_codec(str(error)):
                raise
            # objects and records hold no numbers
            odd = isinstance(error, TypeError) or "No Zarr data type found" in str(error)
            why = NO_NUMBERS if odd else f"it cannot be opened ({one_line(error)})"
            notes.append(f"data/{key} is not carried over: {why}")
    notes += [
        f"meta/{name} is not carried over: only the ends of episodes are read there"
        for name in sorted(group["meta"])
        if name != "episode_ends"
    ]
    return arrays, notes


def _members(path: Path) -> list[str]:
    """Keys in `data/`, also of arrays that zarr cannot open; `obs/state` for one in a group of its own."""
    if path.is_dir():
        return list(_arrays_below(path / "data", ""))
    with zipfile.ZipFile(path) as archive:
        described = {n.removeprefix("data/") for n in archive.namelist() if n.startswith("data/")}
        found = {n.rpartition("/")[0] for n in described if n.endswith("/.zarray")}
        for name in (n for n in described if n.endswith("/zarr.json")):
            if _is_array(archive.read(f"data/{name}")):
                found.add(name.rpartition("/")[0])
        return list(found)


def _arrays_below(folder: Path, prefix: str) -> Iterator[str]:
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        description = entry / "zarr.json"  # of format 3, which calls groups and arrays the same
        if (entry / ".zarray").is_file() or (description.is_file() and _is_array(description.read_bytes())):
            yield prefix + entry.name
        elif (entry / ".zgroup").is_file() or description.is_file():
            yield from _arrays_below(entry, f"{prefix}{entry.name}/")


def _is_array(description: bytes) -> bool:
    """Whether a `zarr.json` describes an array; a damaged one is taken for one, to be named."""
    try:
        return bool(parsed(description).get("node_type") != "group")
    except (ValueError, AttributeError):
        return True


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
    described = array.metadata
    if described.zarr_format == 3:  # its codecs are those of the standard, and numcodecs' under names of their own
        codecs = [codec.to_dict().get("name", "") for codec in described.codecs]
    else:
        codecs = [getattr(codec, "codec_id", "") for codec in (*(described.filters or ()), described.compressor)]
    if any(str(codec).rpartition(".")[2] == "pickle" for codec in codecs):
        raise DatasetError(f"{path}: {array.path} is stored as pickles, which can run any code; it is not read.")
    return array
