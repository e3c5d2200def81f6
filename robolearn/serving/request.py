"""One message of a client, checked: what it asks for, with every number within its bounds."""

from __future__ import annotations

import numbers
import reprlib
import time
from dataclasses import dataclass, field
from typing import Any

from robolearn.core.errors import ServerError
from robolearn.serving import wire

OPERATIONS = ("infer", "ping", "reset")
MAX_ENTRIES = 256
MAX_SEED = 2**63 - 1
MAX_DEADLINE_MS = 3_600_000.0
_MAX_ECHO = 2.0**63  # of sequence numbers and times, which may be nanoseconds since 1970


@dataclass
class Request:
    """What a message asks for.

    Attributes:
        received_s: when it came.
        size: of the message in bytes.
        values: its entries.
        echo: those that the answer repeats.
        extended: whether the client speaks our extensions, and reads errors from a map.
        error: why it cannot be answered.
        superseded: a newer inference request of the session came.
    """

    received_s: float
    size: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    echo: dict[str, Any] = field(default_factory=dict)
    operation: str = "infer"
    extended: bool = False
    seed: int | None = None
    deadline_ms: float | None = None
    error: str | None = None
    superseded: bool = False


def read_request(message: str | bytes) -> Request:
    """What has just come. Never raises: what is wrong with it is the request's `error`."""
    received_s = time.perf_counter()
    size = len(message) if isinstance(message, bytes) else len(message.encode())
    request = Request(received_s, size)
    try:
        if isinstance(message, str):
            raise ServerError("A text frame came; requests are binary msgpack maps.")
        _fill(request, wire.unpack(message))
    except ServerError as error:
        request.error = str(error)
    return request


def _fill(request: Request, values: Any) -> None:
    if not isinstance(values, dict):
        raise ServerError(f"A request is a map, found {type(values).__name__}.")
    request.extended = wire.OP in values
    if len(values) > MAX_ENTRIES:
        raise ServerError(f"A request has {len(values)} entries, at most {MAX_ENTRIES} are allowed.")
    if not all(isinstance(key, str) for key in values):
        raise ServerError("A request's keys are texts, found one of bytes.")
    for key in (wire.SEQUENCE, wire.TIME):
        if values.get(key) is not None:
            _number(values, key, -_MAX_ECHO, _MAX_ECHO)
            request.echo[key] = values[key]
    operation = values.get(wire.OP, "infer")
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise ServerError(f"Unknown operation {reprlib.repr(operation)}; known: {', '.join(OPERATIONS)}.")
    request.operation = operation
    if operation == "reset" and values.get("seed") is not None:
        request.seed = _seed(values["seed"])
    if operation == "infer" and values.get(wire.DEADLINE) is not None:
        request.deadline_ms = _number(values, wire.DEADLINE, 0.0, MAX_DEADLINE_MS)
    request.values = values


def _number(values: dict[str, Any], key: str, low: float, high: float) -> float:
    value = values[key]
    # written so that NaN fails
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= float(value) <= high:
        raise ServerError(
            f"The request's {key} is {reprlib.repr(value)}, expected a number from {low:.7g} to {high:.7g}."
        )
    return float(value)


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) <= MAX_SEED:
        raise ServerError(f"The request's seed is {reprlib.repr(value)}, expected a whole number from 0 to {MAX_SEED}.")
    return int(value)
