"""Reads messages whose sender is not trusted: plain Python over msgpack's bytes, with a price on every value.

A container is paid for when its header is met, a text by its length, and the data of pictures is not copied. So what a
message costs is known before anything of it is built: some milliseconds for the most expensive one that is allowed, and
memory of a small multiple of its own size. The limits are far above what policies use.
"""

from __future__ import annotations

import math
import re
import reprlib
import struct
from functools import lru_cache
from typing import Any

import numpy as np

from robolearn.core.errors import ServerError

MAX_VALUES = 10_000  # keys, numbers, texts, lists, ...; an array counts as a dozen, whatever its size
MAX_DEPTH = 32  # of lists and maps in one another
MAX_TEXT = 2**20  # bytes of all texts together
MAX_DIMENSIONS = 32

_DTYPE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|[SU][1-9]\d{0,4})")
_LONGEST_DTYPE = 8
_SCALARS = {"b": bool, "i": int, "u": int, "f": int | float, "S": bytes, "U": str}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    first: (struct.Struct(f">{form}"), size)
    for first, form, size in (
        (0xCA, "f", 4), (0xCB, "d", 8), (0xCC, "B", 1), (0xCD, "H", 2), (0xCE, "I", 4), (0xCF, "Q", 8),
        (0xD0, "b", 1), (0xD1, "h", 2), (0xD2, "i", 4), (0xD3, "q", 8),
    )
}  # fmt: skip
# first byte -> size of the length that follows: bin 8 to 32, str, array, map
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_LAST_BIN, _LAST_STR, _LAST_ARRAY = 0xC6, 0xDB, 0xDD

# an array as openpi and `wire.pack` write it: the three pieces between data, dtype and shape
_BEFORE_DATA = b"\xc4\x0b__ndarray__\xc3\xc4\x04data"
_BEFORE_DTYPE = b"\xc4\x05dtype"
_BEFORE_SHAPE = b"\xc4\x05shape"


class Decoder:
    """One message: `Decoder(data).message()`.

    Arrays are read-only, those of one byte an element are views on `data`.
    """

    def __init__(self, data: bytes):
        self._data = data
        self._at = 0
        self._values = MAX_VALUES
        self._text = MAX_TEXT

    def message(self) -> Any:
        """The value of the whole message.

        Raises ServerError, with what was found and what is allowed, when the bytes are not one msgpack value, when they
        ask for more than the limits of this module, or when an array is declared otherwise than its data can be.
        """
        try:
            value = self._value(MAX_DEPTH)
        except (IndexError, struct.error):
            raise self._refused("not valid msgpack: it ends too early") from None
        if self._at < len(self._data):
            raise self._refused(f"not valid msgpack: {len(self._data) - self._at} bytes follow its end")
        return value

    def _value(self, depth: int) -> Any:
        first = self._data[self._at]
        self._at += 1
        if first < 0x80:
            return first
        if first < 0x90:
            return self._map(first & 15, depth)
        if first < 0xA0:
            return self._list(first & 15, depth)
        if first < 0xC0:
            return self._str(first & 31)
        if first >= 0xE0:
            return first - 256
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            form, size = _NUMBERS[first]
            return form.unpack_from(self._data, self._skip(size))[0]
        if first not in _LENGTHS:
            what = "the byte 0xc1" if first == 0xC1 else "an extension type, which the format does not carry"
            raise self._refused(f"not valid msgpack: it holds {what}")
        length = self._length(first)
        if first <= _LAST_BIN:
            return self._data[self._skip(length) : self._at]
        if first <= _LAST_STR:
            return self._str(length)
        return self._list(length, depth) if first <= _LAST_ARRAY else self._map(length, depth)

    def _length(self, first: int) -> int:
        return int.from_bytes(self._data[self._skip(_LENGTHS[first]) : self._at], "big")

    def _skip(self, size: int) -> int:
        """Go past the next `size` bytes. Returns where they begin."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise IndexError
        return start

    def _str(self, length: int) -> str:
        self._text -= length
        if self._text < 0:
            raise self._refused(f"too large: its texts have more than {MAX_TEXT} bytes together")
        try:
            return self._data[self._skip(length) : self._at].decode()
        except UnicodeDecodeError as error:
            raise self._refused(f"not valid msgpack: a text in it is not UTF-8 ({error.reason})") from None

    def _list(self, length: int, depth: int) -> list[Any]:
        self._pay(length, depth)
        return [self._value(depth - 1) for _ in range(length)]

    def _map(self, length: int, depth: int) -> Any:
        self._pay(2 * length, depth)
        if length == 4 and self._data.startswith(_BEFORE_DATA, self._at):
            start = self._at
            found = self._array(depth)
            if found is not None:
                return found
            self._at = start
        pairs: dict[Any, Any] = {}
        for _ in range(length):
            key = self._value(depth - 1)
            if not isinstance(key, str | bytes):
                raise self._refused(f"not valid: a map has a key of type {type(key).__name__}, expected a text")
            pairs[key] = self._value(depth - 1)
        if b"__ndarray__" in pairs:
            data = pairs.get(b"data")
            if not isinstance(data, bytes):
                raise ServerError(f"An array's data is of type {type(data).__name__}, expected bytes.")
            return _array(pairs.get(b"dtype"), pairs.get(b"shape"), data, 0, len(data))
        if b"__npgeneric__" in pairs:
            return _scalar(pairs.get(b"dtype"), pairs.get(b"data"))
        return pairs

    def _array(self, depth: int) -> np.ndarray | None:
        """An array in the usual order, without a step for each key; None for any other map."""
        data, self._at = self._data, self._at + len(_BEFORE_DATA)
        first = data[self._at]
        if first not in _LENGTHS or first > _LAST_BIN:
            return None
        self._at += 1
        length = self._length(first)
        start = self._skip(length)
        if not data.startswith(_BEFORE_DTYPE, self._at):
            return None
        self._at += len(_BEFORE_DTYPE)
        dtype = self._value(depth - 1)
        if not data.startswith(_BEFORE_SHAPE, self._at):
            return None
        self._at += len(_BEFORE_SHAPE)
        return _array(dtype, self._value(depth - 1), data, start, length)

    def _pay(self, values: int, depth: int) -> None:
        self._values -= values
        if self._values < 0:
            raise self._refused(f"too large: it has more than {MAX_VALUES} values; send many numbers as one array")
        if depth == 0:
            raise self._refused(f"too deep: more than {MAX_DEPTH} lists and maps in one another")

    def _refused(self, reason: str) -> ServerError:
        return ServerError(f"A message of {len(self._data)} bytes is {reason}.")


def known_dtype(name: Any) -> np.dtype:
    """The dtype of a short name such as '<f4'. Raises ServerError for one that the format does not carry."""
    dtype = _dtype(name) if isinstance(name, str) and len(name) < _LONGEST_DTYPE else None
    if dtype is None:
        raise ServerError(
            f"An array has dtype {reprlib.repr(name)}; expected a plain numeric one such as '<f4' or '|u1'."
        )
    return dtype


@lru_cache(maxsize=256)
def _dtype(name: str) -> np.dtype | None:
    return np.dtype(name) if _DTYPE.fullmatch(name) else None


def _array(name: Any, shape: Any, data: bytes, start: int, length: int) -> np.ndarray:
    dtype = known_dtype(name)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise ServerError(
            f"An array has shape {reprlib.repr(shape)}, expected a list of sizes, at most {MAX_DIMENSIONS} of them."
        )
    wanted = math.prod(shape) * dtype.itemsize
    if length != wanted:
        raise ServerError(f"An array of shape {shape} and dtype {dtype} has {length} bytes, expected {wanted} bytes.")
    try:
        if dtype.itemsize == 1:
            return np.ndarray(shape, dtype, data, start)
        return np.ndarray(shape, dtype, data[start : start + length])  # copied, so that elements are aligned
    except (ValueError, OverflowError) as error:  # sizes beyond the machine's, next to a 0
        raise ServerError(f"An array has shape {shape}: {error}.") from error


def _scalar(name: Any, value: Any) -> np.generic:
    dtype = known_dtype(name)
    if not isinstance(value, _SCALARS[dtype.kind]) or (dtype.kind != "b" and isinstance(value, bool)):
        raise ServerError(f"A number of dtype {dtype} has the value {reprlib.repr(value)}.")
    number: Any = value
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
        raise ServerError(f"A number of dtype {dtype} has the value {number}, outside its range.")
    with np.errstate(over="ignore"):  # what the dtype cannot hold becomes infinite, which is refused where it matters
        single: np.generic = dtype.type(number)
    return single
