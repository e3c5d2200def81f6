"""Requests, streams and openings that are almost right: made from real ones by changes of structure and of bytes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import msgpack
import numpy as np

from . import cases
from .policy_server import STATE, observation
from .raw_client import BINARY, frame

_MOST = 500_000  # bytes of what is repeated
_LARGEST = 6_000_000
Kind = Literal["message", "stream", "opening"]


@dataclass(frozen=True)
class Case:
    """What is sent: as one message, as raw bytes on an open websocket, or as the first bytes of a connection."""

    name: str
    kind: Kind
    data: bytes


class Fuzzer:
    """`case(seed)` is the same for the same seed."""

    def __init__(self, host: str):
        rng = np.random.default_rng(0)
        real = observation(rng)
        state = {STATE: real[STATE]}
        small = {name: value[:, :4, :4] for name, value in real.items() if name != STATE}  # the wrong shape, but quick
        self._requests: list[dict[Any, Any]] = [
            _plain({"__op__": "infer", "__seq__": 5, "__t_obs__": 1.5, **state, **small}),
            _plain({"__op__": "infer", "deadline_ms": 5e3, "prefix": np.zeros((2, 10), np.float32), **state, **small}),
            _plain({**state, **small, "prompt": "put it on the plate"}),
            _plain({"__op__": "infer", "goal": state, STATE: real[STATE][0], "__t_obs__": 2.5}),
            _plain({"__op__": "reset", "seed": 3, "__seq__": 1}),
            _plain({"__op__": "ping", "__seq__": 2}),
        ]
        self._real = _plain({"__op__": "infer", "__seq__": 7, **real})
        self._openings = list(cases.openings(host).values())

    def case(self, seed: int) -> Case:
        rng = np.random.default_rng(seed)
        share = rng.random()
        if share < 0.45:
            return Case(f"structure {seed}", "message", self._restructured(rng))
        if share < 0.75:
            return Case(f"bytes {seed}", "message", _damaged(msgpack.packb(self._request(rng)), rng))
        if share < 0.85:
            return Case(f"random {seed}", "message", rng.bytes(int(10 ** rng.uniform(0, 5))))
        if share < 0.95:
            frames = b"".join(_odd_frame(msgpack.packb(self._request(rng)), rng) for _ in range(rng.integers(1, 6)))
            return Case(f"stream {seed}", "stream", _damaged(frames, rng) if rng.random() < 0.5 else frames)
        opening = self._openings[rng.integers(len(self._openings))][:20_000]
        return Case(f"opening {seed}", "opening", _damaged(opening, rng))

    def _request(self, rng: np.random.Generator) -> dict[Any, Any]:
        return self._real if rng.random() < 0.02 else self._requests[rng.integers(len(self._requests))]

    def _restructured(self, rng: np.random.Generator) -> bytes:
        message: Any = self._request(rng)
        for _ in range(rng.integers(1, 4)):
            changed = _changed(copy.deepcopy(message), rng)
            message = changed if _weight(changed) < _LARGEST else message
        try:
            return msgpack.packb(message)
        except (ValueError, OverflowError, TypeError):  # too deep for msgpack's writer
            return msgpack.packb({"__op__": "ping"})


def _plain(message: Any) -> Any:
    """Arrays as the maps that they are on the wire."""
    if isinstance(message, np.ndarray):
        return cases.array(message.dtype.str, list(message.shape), message.tobytes())
    return {key: _plain(value) for key, value in message.items()} if isinstance(message, dict) else message


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """One place of a nested value is replaced, doubled, renamed, dropped or wrapped."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        keys = list(value)
        key = keys[rng.integers(len(keys))]
        choice = rng.random()
        if choice < 0.65:
            value[key] = _changed(value[key], rng)
        elif choice < 0.75:
            value[_strange(rng, key=True)] = value.pop(key)
        elif choice < 0.85:
            del value[key]
        else:
            value[_strange(rng, key=True)] = _strange(rng)
        return value
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = int(rng.integers(len(value)))
        value[place] = _changed(value[place], rng)
        return value
    if rng.random() < 0.1:
        return [value] * min(int(10 ** rng.uniform(0, 4.2)), _MOST // _weight(value))
    return _strange(rng)


def _weight(value: Any, enough: int = 8_000_000) -> int:
    """About how many bytes it has when it is packed; counted no further than `enough`, as parts may be shared."""
    total, pending = 0, [value]
    while pending and total < enough:
        part = pending.pop()
        if isinstance(part, dict):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            pending += part
        total += 1 + (len(part) if isinstance(part, str | bytes) else 8)
    return total


def _strange(rng: np.random.Generator, key: bool = False) -> Any:
    names = ["__ndarray__", "__npgeneric__", "data", "dtype", "shape", "__op__", "__seq__", "__t_obs__", "deadline_ms"]
    names += ["goal", "prefix", "seed", STATE, "", "x" * 1000, "\u0000", "\U0001f916"]
    texts: list[Any] = [*names, *(name.encode() for name in names[:5])]
    if key:
        return texts[rng.integers(len(texts))]
    dtypes = ["<f4", ">f8", "|u1", "|b1", "O", "<M8[ns]", "|S0", "<U7", "|S4000000000", "f4,f4", "(3,)f4", "V8", "<c8"]
    sizes = [0, 1, -1, 2, 10, 2**31, 2**63 - 1, 2**64 - 1, -(2**63)]
    number = sizes[rng.integers(len(sizes))]
    dtype = dtypes[rng.integers(len(dtypes))]
    deep: Any = 0
    for _ in range(rng.integers(1, 60)):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    found = [
        None, True, False, number, float(number), np.nan, np.inf, -0.0, 1e-310, deep, [], {}, b"", bytes(1000),
        texts[rng.integers(len(texts))], "9" * int(10 ** rng.uniform(0, 5)),
        cases.scalar(dtype, number), cases.scalar(dtype, "x"), cases.scalar(dtype, [number]),
        cases.array(dtype, [2, 10], bytes(80)), cases.array(dtype, [number, 0], b""), cases.array(dtype, number, b"x"),
        cases.array("<f4", [2, 10], np.full(20, np.nan, np.float32).tobytes()),
        cases.array("<f8", [1] * int(rng.integers(0, 70)), bytes(8)),
        msgpack.ExtType(int(rng.integers(0, 127)), b"x"), msgpack.Timestamp(5),
        [{}] * int(10 ** rng.uniform(0, 4.2)), {str(i): i for i in range(int(10 ** rng.uniform(0, 3.5)))},
    ]  # fmt: skip
    return found[rng.integers(len(found))]


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes flipped, cut out, doubled, or lengths set to extremes; half of it near the front."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not changed:
            break
        place = int(min(len(changed), 400 if rng.random() < 0.5 else len(changed)) * rng.random())
        choice = rng.integers(6)
        if choice == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            changed[place] = int(rng.choice([0x80, 0x90, 0xC1, 0xC6, 0xDB, 0xDD, 0xDF, 0xFF, 0x00]))
        elif choice == 2:
            del changed[place : place + int(rng.integers(1, 20))]
        elif choice == 3:
            changed[place:place] = changed[place : place + int(rng.integers(1, 50))] * int(rng.integers(1, 50))
        elif choice == 4:
            changed[place : place + 4] = b"\xff\xff\xff\xff"
        else:
            del changed[place:]
    return bytes(changed)


def _odd_frame(payload: bytes, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.4:
        return frame(payload[:2000])
    opcode = int(rng.choice([0, 1, 2, 8, 9, 10, 3, 11, 15]))
    return frame(
        payload[: int(rng.integers(0, 200))], opcode if rng.random() < 0.8 else BINARY, fin=bool(rng.random() < 0.6),
        reserved=int(rng.random() < 0.1) * int(rng.integers(1, 8)), masked=bool(rng.random() < 0.95),
    )  # fmt: skip
