"""The bytes between policy server and client: msgpack maps with numpy arrays, as openpi defines them.

An array is a map with the *bytes* keys `__ndarray__`: true, `data`: its bytes in C order, `dtype`: numpy's
short name such as `<f4`, `shape`: list. A numpy scalar is a map with `__npgeneric__`: true, `data`, `dtype`.
Plain numpy and msgpack; nothing received can make this code run anything (no object arrays, no pickle).
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from robolearn.core.errors import ServerError
from robolearn.serving.decoder import Decoder, known_dtype

PROTOCOL = "robolearn/1"

# Keys beyond openpi's. Old clients never send them and skip them in answers.
OP = "__op__"  # "infer" (when missing), "reset" or "ping"
SEQUENCE = "__seq__"  # request number, echoed
TIME = "__t_obs__"  # time of the observation on the client's clock in s, echoed
ERROR = "__error__"  # in answers: what went wrong; the connection stays open
SUPERSEDED = "__superseded__"  # in answers with an error: a newer request of the session replaced this one
DEADLINE = "deadline_ms"  # a request that has waited longer than this is refused instead of computed late
EXECUTED = "prefix"  # (P, A) actions executed before the newest observation; its name since the first clients
GOAL = "goal"
TAKES = "__takes__"  # layout of the actions that the client carries out; a policy with another one does not answer


def pack(message: Any) -> bytes:
    """Message -> bytes. Raises ServerError for an array dtype that the format does not carry."""
    try:
        return msgpack.packb(message, default=_encode)
    except (TypeError, ValueError, OverflowError) as error:
        raise ServerError(f"A message cannot be packed: {error}") from error


def unpack(data: bytes) -> Any:
    """Bytes -> message; what it may cost is bounded before anything is built, see `decoder`.

    Arrays are read-only, and may be views on `data`: copy before writing into them. Raises ServerError when the bytes
    are not msgpack, ask for too much, or an array's declared size, shape or dtype is not what its data can hold.
    """
    return Decoder(data).message()


def _encode(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"values of type {type(value).__name__} are not supported.")
    name = value.dtype.str
    try:
        known_dtype(name)
    except ServerError:
        raise ValueError(f"dtype {value.dtype} is not supported.") from None
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": name}
    data = value.data if value.flags.c_contiguous else value.tobytes()
    return {b"__ndarray__": True, b"data": data, b"dtype": name, b"shape": list(value.shape)}
