"""Read back what a journal holds of an episode that was never committed: the recording process died, or power failed.

Reading changes nothing. Of an episode recorded step by step the whole steps from the first on are kept, up to the
first damaged one. Of a stream every whole sample is kept; the grid is derived as at a commit.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, Features
from robolearn.datasets.format import layout
from robolearn.datasets.format.alignment import Pause, align
from robolearn.datasets.format.codecs import ImageCodec, codec_from_config
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.format.layout import Json, Metadata, is_encoded, is_event, is_sealed
from robolearn.datasets.format.lazy_frames import LazyFrames
from robolearn.datasets.write.journal import HEADER, STEPS, right_rows, row_dtype
from robolearn.datasets.write.stream_counts import Counter
from robolearn.datasets.write.stream_journal import (
    NUMBERED,
    PAUSE_ROW,
    PAUSES,
    SPOOLED,
    read_raw,
    stream_row_dtype,
    stream_rows,
)

MAX_STATE = 10**7  # numbers in a simulator state; more is a damaged header


@dataclass
class Salvaged:
    """What a journal holds.

    Attributes:
        data: to be given to `DatasetWriter.write_episode`. Its frames are read, or encoded if they were spooled, when
            they are asked for.
        header: of the journal: `id`, `episode_index`, `started_at`, `recorded`, `features`, `fps`, `pid`, `facts`, ...
        losses: one line for each thing that was cut off or left out.
    """

    data: EpisodeData
    header: Json
    losses: list[str]


def read_journal(path: Path, dataset: Metadata | None = None) -> Salvaged:
    """What can be salvaged of the journal in the folder `path`.

    Args:
        dataset: that the journal belongs to; tells what the steps hold where the journal's header is damaged.

    Raises DatasetError, saying why, when that is nothing.
    """
    guessed = []
    try:
        header, features, codecs = _read_header(path)
    except DatasetError as error:
        if dataset is None:
            raise
        guessed.append(
            f"{str(error).rpartition(': ')[0]}; read by the dataset's features, facts given at the start lost"
        )
        header, features, codecs = _header_of(dataset)
    if header.get("recorded") == "streams":
        data, losses = _read_streams(path, header, features, codecs)
    else:
        data, losses = _read_steps(path, header, features)
    data.record = {"started_at": header.get("started_at"), **header.get("facts", {}), **data.record}
    return Salvaged(data, header, guessed + losses)


def _header_of(dataset: Metadata) -> tuple[Json, Features, dict[str, ImageCodec]]:
    """What the header of a journal says that the dataset says, too."""
    state = dataset.arrays.get(layout.SIM_STATE)
    header = {
        "recorded": dataset.recorded,
        "fps": float(dataset.attributes["fps"]),
        "sim_state_size": state.row_shape[0] if state else 0,
    }
    encoded = [name for name, feature in dataset.grid.items() if is_encoded(feature)]
    configs = {name: dataset.arrays[layout.data_key(name)].compressor or {} for name in encoded}
    return header, dataset.features, {name: codec_from_config(config) for name, config in configs.items()}


def _read_header(path: Path) -> tuple[Json, Features, dict[str, ImageCodec]]:
    file = path / HEADER
    try:
        data = file.read_bytes()
        if not is_sealed(data):
            raise ValueError("its checksum does not match")
        header = json.loads(data)
        features = {item["name"]: Feature.from_dict(item) for item in header["features"]}
        codecs = {name: codec_from_config(config) for name, config in header["codecs"].items()}
        size, fps = header.get("sim_state_size", 0), float(header["fps"])
        sound = codecs.keys() == {name for name, f in features.items() if is_encoded(f)} and fps > 0
        if not sound or not (isinstance(size, int) and 0 <= size <= MAX_STATE):
            raise ValueError("it contradicts itself")
        for name in features:
            if "/" in name or name.startswith("."):
                raise ValueError(f"the feature name {name!r}")
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror}): nothing says what the journal holds.") from error
    except (ValueError, KeyError, TypeError, AttributeError, FeatureError) as error:
        raise DatasetError(f"{file} is damaged ({error}): nothing says what the journal holds.") from error
    return header, features, codecs


def _rows_of(file: Path, dtype: np.dtype[Any], losses: list[str]) -> np.ndarray:
    """The whole rows of a file, damaged ones among them."""
    try:
        data = file.read_bytes()
    except OSError as error:
        losses.append(f"{file} cannot be read: {error.strerror}")
        return np.zeros(0, dtype)
    count = len(data) // dtype.itemsize
    if len(data) % dtype.itemsize:
        losses.append(f"{file}: the last {len(data) % dtype.itemsize} bytes are the beginning of a row")
    return np.frombuffer(data, dtype, count)


def _frame(file: Path, crc: int, size: int | None = None) -> Callable[[], bytes] | None:
    """How to read an encoded frame again; None when it is not what it should be now."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    return file.read_bytes if zlib.crc32(data) == crc and size in (None, len(data)) else None


def _loaded(loads: Sequence[Callable[[], bytes]]) -> list[bytes]:
    return [load() for load in loads]


def _read_steps(path: Path, header: Json, features: Features) -> tuple[EpisodeData, list[str]]:
    losses: list[str] = []
    size = header.get("sim_state_size", 0)
    rows = _rows_of(path / STEPS, row_dtype(features, size), losses)
    whole = len(rows)
    for step in _false(right_rows(rows)):
        losses.append(f"{path / STEPS}: row {step} is damaged; the episode is cut before step {step}")
        whole = step
        break
    frames: dict[str, list[Callable[[], bytes]]] = {name: [] for name, f in features.items() if is_encoded(f)}
    for name, found in frames.items():
        for step, crc in enumerate(rows[name][:whole].tolist()):
            load = _frame(path / name / str(step), crc)
            if load is None:
                losses.append(f"{path / name / str(step)} is missing or damaged; the episode is cut before it")
                whole = step
                break
            found.append(load)
    if not whole:
        raise DatasetError(f"{path} holds no whole step.")
    rows = rows[:whole]
    values = {name: np.ascontiguousarray(rows[name]) for name in features if name not in frames}
    kept = {name: LazyFrames(_loaded, found[:whole]) for name, found in frames.items()}
    states = np.ascontiguousarray(rows[layout.SIM_STATE]) if size else None
    return EpisodeData(np.ascontiguousarray(rows["timestamp"]), values, kept, sim_states=states), losses


def _read_streams(
    path: Path, header: Json, features: Features, codecs: dict[str, ImageCodec]
) -> tuple[EpisodeData, list[str]]:
    losses: list[str] = []
    pauses = _pauses(path, losses)
    streams: dict[str, StreamRows] = {}
    counters: dict[str, Counter] = {}
    for name, feature in features.items():
        file = path / f"{name}.bin"
        rows = _rows_of(file, stream_row_dtype(feature), losses)
        right = right_rows(rows)
        loads: list[Callable[[], bytes]] = []
        if is_encoded(feature):
            for row in np.flatnonzero(right).tolist():
                load = _spooled_or_encoded(path / name, row, rows[row], feature, codecs[name])
                if load is None:
                    right[row] = False
                else:
                    loads.append(load)
        if not right.all():
            losses.append(f"{file}: rows {_listed(_false(right))} or their frames are missing or damaged; left out")
        rows = rows[right]
        streams[name] = stream_rows(feature, rows)
        if is_encoded(feature):
            streams[name].frames = LazyFrames(_loaded, loads)
        counters[name] = _recount(feature, rows, pauses)
    periodic = {name: streams[name].timestamp for name, feature in features.items() if not is_event(feature)}
    grid = align(periodic, float(header["fps"]), pauses)
    start_s = min(float(stamps[0]) for stamps in periodic.values())
    end_s = max(float(stamps[-1]) for stamps in periodic.values())
    for name, rows_of in streams.items():
        rows_of.at_step = grid.at_step.get(name)
        rows_of.counts = counters[name].counts(start_s, end_s).to_record()
    record: Json = {"pauses": [list(pause) for pause in pauses]} if pauses else {}
    return EpisodeData(grid.times, {}, record=record, streams=streams), losses


def _pauses(path: Path, losses: list[str]) -> list[Pause]:
    if not (path / PAUSES).exists():
        return []
    rows = _rows_of(path / PAUSES, PAUSE_ROW, losses)
    rows = rows[right_rows(rows)]
    return list(zip(rows["start"].tolist(), rows["length"].tolist(), strict=True))


def _spooled_or_encoded(
    folder: Path, row: int, entry: np.void, feature: Feature, codec: ImageCodec
) -> Callable[[], bytes] | None:
    if entry["size"]:
        return _frame(folder / str(row), int(entry["crc32"]), int(entry["size"]))
    raw = folder / f"{row}.raw"
    try:
        read_raw(raw, feature)
    except DatasetError:
        return None
    return lambda: codec.encode(read_raw(raw, feature))


def _recount(feature: Feature, rows: np.ndarray, pauses: Iterable[Pause]) -> Counter:
    counter = Counter(None if is_event(feature) else feature.rate_hz)
    ahead = list(pauses)
    columns = (rows[part].tolist() for part in ("timestamp", "sequence", "device_time", "flags"))
    for time_s, number, device_s, flags in zip(*columns, strict=True):
        while ahead and time_s >= sum(ahead[0]):
            counter.pause(ahead.pop(0)[1])
        counter.add(time_s, number if flags & NUMBERED else None, None if np.isnan(device_s) else device_s)
        counter.spooled += bool(flags & SPOOLED)
    return counter


def _false(mask: np.ndarray) -> list[int]:
    return [int(place) for place in np.flatnonzero(~mask)]


def _listed(numbers: Iterable[int]) -> str:
    """`3, 5, 6, ...`: the first of many."""
    found = list(numbers)
    return ", ".join(map(str, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
