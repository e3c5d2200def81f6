"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

A record is framed as (little endian; a masked crc is `rotate_right(crc32c, 15) + 0xa282ead8`)

    uint64 length, uint32 masked crc of the length, `length` bytes, uint32 masked crc of the bytes

and an Example is a protobuf map from names to one list each of bytes, floats or integers:

    Example { Features features = 1 }   Features { map<string, Feature> feature = 1 }
    Feature { BytesList bytes_list = 1 | FloatList float_list = 2 | Int64List int64_list = 3 }
    *List { repeated value = 1 }
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.core.pins import install_line

HEADER, FOOTER = struct.Struct("<QI"), struct.Struct("<I")
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
Values = list[bytes] | np.ndarray


def _masked_crc(data: bytes) -> int:
    try:
        import google_crc32c
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading tfrecord needs google-crc32c. Install it with: {install_line('convert')}"
        ) from error
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def index_records(file: Path) -> tuple[list[tuple[int, int]], str | None]:
    """((start, length) of the payload of each record, what is wrong with the rest of the file or None).

    Reads the headers only. After a header that is damaged nothing else can be found.
    """
    found: list[tuple[int, int]] = []
    size = file.stat().st_size
    with open(file, "rb") as stream:
        place = 0
        while place < size:
            stream.seek(place)
            header = stream.read(HEADER.size)
            if len(header) < HEADER.size:
                return found, f"ends in the middle of record {len(found)}"
            length, crc = HEADER.unpack(header)
            if crc != _masked_crc(header[:8]):
                return found, f"is damaged at byte {place}, in the header of record {len(found)}"
            place += HEADER.size
            if place + length + FOOTER.size > size:
                return found, f"ends in the middle of record {len(found)}"
            found.append((place, length))
            place += length + FOOTER.size
    return found, None


def read_record(file: Path, start: int, length: int) -> bytes:
    """The payload of a record. Raises DatasetError when it does not have its checksum."""
    with open(file, "rb") as stream:
        stream.seek(start)
        if start + length + FOOTER.size > os.fstat(stream.fileno()).st_size:
            raise DatasetError(f"{file} has changed while it was being read.")
        payload = stream.read(length)
        (crc,) = FOOTER.unpack(stream.read(FOOTER.size))
    if crc != _masked_crc(payload):
        raise DatasetError(f"{file}: the record at byte {start} does not have its checksum.")
    return payload


def parse_example(payload: bytes) -> dict[str, Values]:
    """Name -> list of bytes, float32 array or int64 array. Raises ValueError for anything but an Example."""
    found: dict[str, Values] = {}
    for _, features in _fields(memoryview(payload)):
        for _, entry in _fields(features):
            parts = dict(_fields(entry))
            found[bytes(parts.get(1, b"")).decode()] = _values(parts.get(2, memoryview(b"")))
    return found


def _values(feature: memoryview) -> Values:
    for kind, content in _fields(feature):
        if kind == 1:
            return [bytes(value) for _, value in _fields(content)]
        pieces = [np.frombuffer(v, "<f4") if kind == 2 else _varints(v) for _, v in _fields(content)]
        return np.concatenate([np.empty(0, np.float32 if kind == 2 else np.int64), *pieces])
    return np.empty(0, np.float32)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(Field number, content) of each field; the content of a number is its bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        start, wire = place, tag & 7
        if wire == LENGTH:
            size, start = _varint(message, place)
            place = start + size
        elif wire == VARINT:
            _, place = _varint(message, place)
        elif wire in (FIXED32, FIXED64):
            place += 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} is not used in an Example")
        if place > len(message):
            raise ValueError("a field goes beyond its message")
        yield tag >> 3, message[start:place]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """(Value, place after it) of one variable-length integer."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a variable-length integer has no end")


def _varints(data: memoryview) -> np.ndarray:
    """int64 array of variable-length integers that follow each other."""
    content = np.frombuffer(data, np.uint8)
    if not content.size:
        return np.empty(0, np.int64)
    last = np.flatnonzero(content < 0x80)
    if not last.size or last[-1] != len(content) - 1:
        raise ValueError("a variable-length integer has no end")
    starts = np.concatenate([[0], last[:-1] + 1])
    sizes = last - starts + 1
    if sizes.max() > 10:
        raise ValueError("a variable-length integer has no end")
    shifts = (np.arange(len(content)) - np.repeat(starts, sizes)).astype(np.uint64) * np.uint64(7)
    parts = (content & 0x7F).astype(np.uint64) << shifts
    return np.bitwise_or.reduceat(parts, starts).view(np.int64)
