"""Episode records as the bytes they are: chunks of vlen-utf8 strings, read as far as they go."""

from __future__ import annotations

import json
import struct

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.layout import EPISODES, ArrayInfo, Json, is_sealed
from robolearn.datasets.read.store import Store


def decode_texts(data: bytes) -> list[bytes]:
    """The strings of a chunk up to the first that does not fit into it. Believes no length it has not checked."""
    texts: list[bytes] = []
    if len(data) < 4:
        return texts
    (count,) = struct.unpack_from("<I", data)
    position = 4
    while len(texts) < count and position + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, position)
        text = data[position + 4 : position + 4 + size]
        if len(text) < size:
            break
        texts.append(text)
        position += 4 + size
    return texts


def encode_texts(texts: list[bytes], chunk_rows: int) -> bytes:
    """A whole chunk: the strings, then empty ones."""
    padded = texts + [b""] * (chunk_rows - len(texts))
    return struct.pack("<I", chunk_rows) + b"".join(struct.pack("<I", len(text)) + text for text in padded)


def read_texts(store: Store, info: ArrayInfo) -> tuple[list[bytes | None], list[tuple[str, str]]]:
    """Records of all episodes, None where one is lost; and (file, what is wrong with it)."""
    texts: list[bytes | None] = []
    problems = []
    for chunk in range(-(-info.length // info.chunk_rows)):
        file = f"{EPISODES}/{info.chunk_name(chunk)}"
        wanted = min(info.chunk_rows, info.length - len(texts))
        found: list[bytes | None] = []
        try:
            found += [text or None for text in decode_texts(store.read(file))[:wanted]]
            if len(found) < wanted or None in found:
                problems.append((file, f"holds {len(found) - found.count(None)} of {wanted} episode records"))
        except DatasetError as error:
            problems.append((file, "the file is missing" if "missing" in str(error) else str(error).rstrip(".")))
        texts += found + [None] * (wanted - len(found))
    return texts, problems


def parse_record(text: bytes | None) -> Json | None:
    """An episode record, or None for bytes that are not what was written."""
    if text is None or not is_sealed(text):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
