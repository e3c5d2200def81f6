"""diffusion_policy's replay buffer: a zarr group (format 2 or 3) with `data/<key>` and `meta/episode_ends`.

It is a folder, or a zip file of one (UMI's `dataset.zarr.zip`), which is read without unpacking. Arrays have time
first. It stores no rate, times, units or task. Known sets of keys (`layouts.py`) bring those along; what other
keys are is decided by `array_features.py`. An episode that is empty, damaged or not all there is left out by name,
and so are rows after the last one.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.array_features import decide, describe_arrays
from robolearn.datasets.convert.diffusion_policy.replay_buffer import INCOMPLETE, Buffer, Unreadable
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, SourceDescription
from robolearn.datasets.convert.witness import Label, Witness, claim
from robolearn.datasets.convert.wording import spelt
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json, is_ours

FORMAT = "diffusion_policy_zarr"
NEEDED = (".zgroup", "data/.zgroup", "meta/episode_ends/.zarray")
NEEDED_3 = ("zarr.json", "meta/episode_ends/zarr.json")
BLOCK_BYTES = 64 << 20


def detect(source: Path) -> bool:
    """Whether `source` is a zarr group with `data` and `meta/episode_ends`, or a zip of one, and not one of ours."""
    if source.is_dir():
        there = any(all((source / name).is_file() for name in needed) for needed in (NEEDED, NEEDED_3))
        return there and (source / "data").is_dir() and not is_ours(source)
    try:
        with zipfile.ZipFile(source) as archive:
            names = set(archive.namelist())
            return set(NEEDED) <= names or set(NEEDED_3) <= names
    except (OSError, zipfile.BadZipFile):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads array descriptions, episode ends and some pictures."""
    opened = Buffer.open(source)
    with contextlib.closing(opened.store):
        decision = describe_arrays([opened.source_array(c) for c in opened.columns(())], opened.look)
    known = opened.layout or opened.origin
    task = (opened.layout.task,) if opened.layout and opened.layout.task else ()
    steps = int(opened.episode_ends[-1])
    gaps = [f"data/{key}: chunks are missing" for key, chunks in opened.chunks.items() if not chunks.whole]
    return SourceDescription(
        FORMAT, len(opened.episode_ends), steps, known.fps if known else None, decision.features, task,
        (*opened.notes, *decision.notes, *gaps),
    )  # fmt: skip


def open_source(source: Path, options: ConvertOptions) -> EpisodeSource:
    """See `Converter.open_source`. Raises ConfigError when the rate is neither known nor given."""
    return ZarrSource(Buffer.open(source), options)


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.diffusion_policy.witness import ZarrWitness

    return ZarrWitness(source)


class ZarrSource(EpisodeSource):
    """A replay buffer."""

    def __init__(self, buffer: Buffer, options: ConvertOptions):
        super().__init__()
        self.buffer, self.options = buffer, options
        columns = buffer.columns(options.rename)
        arrays = [buffer.source_array(column) for column in columns]
        decision = decide(arrays, options, buffer.look)
        self.features = decision.features
        self.pixels = decision.pixels
        places = {id(array): place for place, array in enumerate(arrays)}
        self.columns = [(columns[places[id(item.array)]], item.feature.name) for item in decision.taken]
        self.claims = {
            name: claim(*column.keys, pixels=self.pixels.get(name), first=column.first, stop=column.stop)
            for column, name in self.columns
        }
        self._check_chunks()
        known = buffer.origin or buffer.layout
        stored = buffer.origin.fps if buffer.origin else None
        fps = stored or options.fps or (known.fps if known else None)
        if fps is None:
            raise ConfigError(f"{buffer.path} does not store the rate of its steps; give it with --fps.")
        self.fps = fps
        self.num_episodes = len(buffer.episode_ends)
        self.format_version = f"zarr {buffer.zarr_format}"
        left_out = (
            "are read as zeros" if options.missing_as_zeros else "are missing, episodes that need them are left out"
        )
        gaps = [
            f"data/{key}: chunks {left_out}"
            for key in buffer.arrays
            if key in self.keys and not buffer.chunks[key].whole
        ]
        self.notes = [*buffer.notes, *decision.notes, *gaps]
        if buffer.origin:
            self.masks = buffer.origin.masks
            self.metadata = buffer.origin.imported_metadata
        else:
            self.metadata = {"robot": buffer.layout.name if buffer.layout else None}
            self.notes.append(f"the source stores no times: step k of an episode gets k / {fps:g} s")

    @property
    def keys(self) -> set[str]:
        """Keys of the source that are read."""
        return {key for column, _ in self.columns for key in column.keys}

    def _check_chunks(self) -> None:
        for key in sorted(self.keys):
            if self.buffer.chunks[key].none and not self.options.missing_as_zeros:
                raise DatasetError(
                    f"{self.buffer.path}: no chunk of data/{key} is there: {INCOMPLETE}; copy it again, or say that it "
                    f"holds zeros, with --missing-as-zeros, or leave it out, with --drop {key}."
                )

    def close(self) -> None:
        self.buffer.store.close()

    def label(self, index: int) -> Label:
        return index

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `EpisodeSource.read_episode`."""
        start, stop = self.buffer.bounds(index)
        where = f"{self.buffer.path}: episode {index}"
        try:
            self.buffer.check(sorted(self.keys), start, stop) if not self.options.missing_as_zeros else None
            return self._read(index, start, stop, spool)
        except Unreadable as error:
            steps, rows = spelt("step", error.first - start, error.last - start), spelt("row", error.first, error.last)
            raise DatasetError(
                f"{where}: data/{error.key}, {steps} ({rows}), cannot be read ({error.reason})."
            ) from error
        except DatasetError as error:
            raise DatasetError(f"{where}: {str(error).rstrip('.')}.") from error

    def _read(self, index: int, start: int, stop: int, spool: FrameSpool) -> EpisodeData:
        buffer, values = self.buffer, {}
        for column, name in self.columns:
            if name in self.pixels:
                self._read_pictures(column.keys[0], self.pixels[name], name, start, stop, spool)
            else:
                values[name] = buffer.read(column.keys, start, stop, partial(column.read, buffer.arrays))
        times = buffer.times(start, stop, self.fps)
        return EpisodeData(times, values, spool.frames(), self._record(index))

    def _read_pictures(self, key: str, pixels: Pixels, name: str, start: int, stop: int, spool: FrameSpool) -> None:
        array, reader = self.buffer.arrays[key], pixels.reader()
        row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
        block = max(1, BLOCK_BYTES // row_bytes)
        for first in range(start, stop, block):
            last = min(first + block, stop)
            rows = self.buffer.read([key], first, last, lambda a, b: np.asarray(array[a:b]))
            for image in reader(rows):
                spool.add(name, image)
        reader.finish()

    def _record(self, index: int) -> Json:
        origin, known = self.buffer.origin, self.buffer.layout
        if origin and index < len(origin.episodes):
            record = dict(origin.episodes[index])
            return {**record, "task": self.options.task} if self.options.task else record
        return {"task": self.options.task or (known.task if known else None), "source_episode": index}
