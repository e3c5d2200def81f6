"""`.zmetadata` from what the dataset holds otherwise: the copies next to the arrays, and the episode records."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.checks.texts import parse_record, read_texts
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import ArrayInfo, Json, Metadata
from robolearn.datasets.read.store import Store


def rebuild_metadata(store: Store, cause: DatasetError) -> Metadata:
    """The metadata of a dataset whose `.zmetadata` is damaged.

    The copies can be one commit behind. An episode that they do not count is included when its record follows the
    last one and all of its numbers have their checksums: nothing but a finished commit leaves that behind.

    Raises DatasetError, naming `cause` too, when the copies do not tell enough.
    """
    try:
        attributes = json.loads(store.read(".zattrs"))
        if not isinstance(attributes, dict) or attributes.get("robolearn_format") != layout.FORMAT_VERSION:
            raise DatasetError(f"{store.where('.zattrs')} has another format version or none")
        shell = Metadata(attributes)
        found = {key: _copy(store, key) for key in _encoded_keys(shell)}
        compressors = {key.rpartition("/")[2]: info.compressor or {} for key, info in found.items() if info}
        arrays = layout.arrays_for(shell.features, shell.recorded, compressors)
        lengths = {key: _copy(store, key) for key in [*arrays, layout.SIM_STATE]}
        sim_state = lengths[layout.SIM_STATE]
        if sim_state:
            arrays[layout.SIM_STATE] = sim_state
        count = _num_episodes(store, attributes, arrays[layout.EPISODES], lengths)
        told = read_texts(store, arrays[layout.EPISODES].with_length(count))[0]
        metadata = Metadata(attributes, arrays)
        metadata = _with_lengths(store, metadata, count, told, lengths)
        newer = _newer_record(store, metadata)
        if newer:
            metadata = _with_lengths(store, metadata, count + 1, [newer], lengths)
            attributes["records_crc32"] = zlib.crc32(newer, attributes.get("records_crc32", 0))
            end = np.int64(metadata.num_steps).tobytes()
            attributes["ends_crc32"] = zlib.crc32(end, attributes.get("ends_crc32", 0))
        return Metadata.from_bytes(metadata.to_bytes(), store.name)
    except (DatasetError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).rstrip(".")
        raise DatasetError(f"{str(cause).rstrip('.')}; its copies do not help either ({reason}).") from error


def _encoded_keys(shell: Metadata) -> list[str]:
    return [layout.data_key(name) for name, feature in shell.grid.items() if layout.is_encoded(feature)]


def _copy(store: Store, key: str) -> ArrayInfo | None:
    """What `.zarray` of an array says, if it says anything."""
    try:
        data = store.find(f"{key}/.zarray")
        return ArrayInfo.from_zarray(json.loads(data), key) if data else None
    except (DatasetError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _num_episodes(store: Store, attributes: Json, info: ArrayInfo, copies: dict[str, ArrayInfo | None]) -> int:
    """The number of records that have the checksum of all, or else what most copies say."""
    votes = [c.length for key, c in copies.items() if c and layout.axis(key) == "episodes"]
    if not votes:
        raise DatasetError("no .zarray of meta/ is readable")
    likely = max(set(votes), key=votes.count)
    texts = read_texts(store, info.with_length(max(votes) + 2))[0]
    crc, proven = 0, 0
    for number, text in enumerate(texts, 1):
        if text is None:
            break
        crc = zlib.crc32(text, crc)
        if crc == attributes.get("records_crc32"):
            proven = number
    return proven or likely


def _with_lengths(
    store: Store, metadata: Metadata, count: int, texts: list[bytes | None], copies: dict[str, ArrayInfo | None]
) -> Metadata:
    """All arrays made as long as `count` episodes need: by the last record, else by the ends, else by the copies."""
    arrays = {k: i.with_length(count) if layout.axis(k) == "episodes" else i for k, i in metadata.arrays.items()}
    record = parse_record(texts[-1]) if texts else None
    if record:
        steps = int(record["start_step"]) + int(record["num_steps"])
    else:
        steps = _last_end(store, arrays, layout.EPISODE_ENDS, count, copies.get(layout.TIMESTAMP))
    for key, info in arrays.items():
        axis = layout.axis(key)
        if axis == "steps":
            arrays[key] = info.with_length(steps)
        elif axis != "episodes":
            likely = copies.get(f"{axis}/timestamp")
            arrays[key] = info.with_length(_last_end(store, arrays, f"{axis}/episode_ends", count, likely))
    return Metadata(metadata.attributes, arrays)


def _last_end(store: Store, arrays: dict[str, ArrayInfo], key: str, count: int, likely: ArrayInfo | None) -> int:
    if not count:
        return 0
    info = arrays[key]
    data = store.find(f"{key}/{info.chunk_name((count - 1) // info.chunk_rows)}") or b""
    if len(data) == 8 * info.chunk_rows:
        end = int(np.frombuffer(data, "<i8")[(count - 1) % info.chunk_rows])
        if end > 0:
            return end
    if likely is None:
        raise DatasetError(f"nothing tells how many rows {key.rpartition('/')[0]} has")
    return likely.length


def _newer_record(store: Store, metadata: Metadata) -> bytes | None:
    """The record after the last one, if all that it says about numbers is on disk."""
    count, info = metadata.num_episodes, metadata.arrays[layout.EPISODES]
    text = read_texts(store, info.with_length(count + 1))[0][count]
    if text is None:
        return None
    try:
        record: Any = parse_record(text)
        if record is None or record["index"] != count or record["start_step"] != metadata.num_steps:
            return None
        longer = _with_lengths(store, metadata, count + 1, [text], {})
        for key, crc in record["checksums"].items():
            array = longer.arrays[key]
            if not array.compressor and crc != zlib.crc32(_rows(store, metadata.arrays[key], array, key)):
                return None
        return text
    except (DatasetError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _rows(store: Store, before: ArrayInfo, after: ArrayInfo, key: str) -> bytes:
    size = np.dtype(after.dtype).itemsize * int(np.prod(after.row_shape, dtype=np.int64))
    first, last = before.length // after.chunk_rows, -(-after.length // after.chunk_rows)
    data = b"".join(store.read(f"{key}/{after.chunk_name(chunk)}") for chunk in range(first, last))
    offset = first * after.chunk_rows
    return data[(before.length - offset) * size : (after.length - offset) * size]
