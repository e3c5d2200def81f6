"""The bytes between policy server and client: msgpack maps with numpy arrays, as openpi defines them.

An array is a map with the *bytes* keys `__ndarray__`: true, `data`: its bytes in C order, `dtype`: numpy's
short name such as `<f4`, `shape`: list. A numpy scalar is a map with `__npgeneric__`: true, `data`, `dtype`.
Plain numpy and msgpack; nothing received can make this code run anything (no object arrays, no pickle).
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

from robolearn.core.errors import ServerError

PROTOCOL = "robolearn/1"

# Keys beyond openpi's. Old clients never send them and skip them in answers.
OP = "__op__"  # "infer" (when missing), "reset" or "ping"
SEQUENCE = "__seq__"  # request number, echoed
TIME = "__t_obs__"  # time of the observation on the client's clock in s, echoed
ERROR = "__error__"  # in answers: what went wrong; the connection stays open
SUPERSEDED = "__superseded__"  # in answers with an error: a newer request of the session replaced this one
DEADLINE = "deadline_ms"  # a request that has waited longer than this is refused instead of computed late
PREFIX = "prefix"  # (P, A) actions executed before the newest observation
GOAL = "goal"

_REFUSED_KINDS = "VOc"  # structured, object and complex


def pack(message: Any) -> bytes:
    """Message -> bytes. Raises ServerError for an array dtype that the format does not carry."""
    try:
        return msgpack.packb(message, default=_encode)
    except (TypeError, ValueError, OverflowError) as error:
        raise ServerError(f"A message cannot be packed: {error}") from error


def unpack(data: bytes) -> Any:
    """Bytes -> message. Arrays are read-only views on `data`: copy before writing into them.

    Raises ServerError when the bytes are not msgpack, or an array's declared size, shape or dtype is not
    what its data can hold.
    """
    try:
        return msgpack.unpackb(data, object_hook=_decode)
    except ServerError:
        raise
    except Exception as error:  # msgpack raises a dozen unrelated types on damaged input
        reason = str(error) or type(error).__name__
        raise ServerError(f"A message of {len(data)} bytes is not valid msgpack: {reason}.") from error


def _encode(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"values of type {type(value).__name__} are not supported.")
    if value.dtype.kind in _REFUSED_KINDS:
        raise ValueError(f"dtype {value.dtype} is not supported.")
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": list(value.shape)}


def _decode(mapping: dict[Any, Any]) -> Any:
    if b"__ndarray__" in mapping:
        dtype, data, shape = _dtype(mapping), mapping.get(b"data"), mapping.get(b"shape")
        if not isinstance(shape, list) or any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in shape):
            raise ServerError(f"An array has shape {shape!r}, expected a list of sizes.")
        wanted = math.prod(shape) * dtype.itemsize
        if not isinstance(data, bytes) or len(data) != wanted:
            found = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
            raise ServerError(f"An array of shape {shape} and dtype {dtype} has {found}, expected {wanted} bytes.")
        return np.ndarray(tuple(shape), dtype, buffer=data)
    if b"__npgeneric__" in mapping:
        return _dtype(mapping).type(mapping.get(b"data"))
    return mapping


def _dtype(mapping: dict[Any, Any]) -> np.dtype:
    name = mapping.get(b"dtype")
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind in _REFUSED_KINDS:
        raise ServerError(f"An array has dtype {name!r}; expected a plain numeric one such as '<f4' or '|u1'.")
    return dtype
