"""The worst messages that people thought of: each is a way to make a server work, wait or swell."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack
import numpy as np

from robolearn.serving.wire import pack

from .policy_server import PICTURES, STATE, observation
from .raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MEGA = 10**6


def array(dtype: Any, shape: Any, data: Any) -> dict[bytes, Any]:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


def scalar(dtype: Any, data: Any) -> dict[bytes, Any]:
    return {b"__npgeneric__": True, b"data": data, b"dtype": dtype}


def containers(head: int, count: int) -> bytes:
    """A list of `count` values of one byte each."""
    return b"\xdd" + count.to_bytes(4, "big") + bytes([head]) * count


def request(**entries: Any) -> bytes:
    return msgpack.packb({"__op__": "infer", **entries})


def messages() -> dict[str, bytes]:
    """name -> bytes of one websocket message."""
    real = {"__op__": "infer", **real_observation()}
    bomb = scalar("|S4000000000", 4_000_000_000)
    numbers = array("<f8", [MEGA // 2, 1], bytes(4 * MEGA))
    return {
        "np.bytes_(4e9) in 58 bytes": msgpack.packb(scalar("S", 4_000_000_000)),
        "five np.bytes_(4e9)": request(a=[bomb] * 5),
        "np.str_ of a nested list": request(a=scalar("<U9", [[[["x"] * 1000]]])),
        "4 MB of empty maps": containers(0x80, 4 * MEGA),
        "30 MB of empty maps": containers(0x80, 30 * MEGA),
        "4 MB of empty lists": containers(0x90, 4 * MEGA),
        "4 MB of small numbers": containers(0x01, 4 * MEGA),
        "4 MB of nothing": containers(0xC0, 4 * MEGA),
        "4 MB of empty texts": containers(0xA0, 4 * MEGA),
        "4 MB of lists in lists": b"\x91" * (4 * MEGA) + b"\x01",
        "4 MB of maps in maps": b"\x81\xa1a" * (4 * MEGA // 3) + b"\x01",
        "a list that claims 2**32 values": b"\xdd\xff\xff\xff\xff",
        "a map that claims 2**32 values": b"\xdf\xff\xff\xff\xff",
        "a text that claims 2**32 bytes": b"\xdb\xff\xff\xff\xff" + bytes(MEGA),
        "bytes that claim 2**32": b"\xc6\xff\xff\xff\xff" + bytes(MEGA),
        "9999 numbers": request(a=[1.5] * 9_980),
        "9999 maps": request(a=[{}] * 9_980),
        "9999 large texts": request(a=["x" * 100] * 9_980),
        "a dtype of 0.6 MB": request(a=array("f4," * 200_000, [1], bytes(4))),
        "a dtype in 9000 brackets": request(a=array("(1,)" * 9_000 + "f4", [1], bytes(4))),
        "a dtype of 10**9 elements": request(a=array("(1000000000,)f4", [0], b"")),
        "4000 arrays with dtypes of their own": request(a=[array(f"<U{n}", [0], b"") for n in range(1, 760)]),
        "a shape of 9000 large sizes": request(a=array("|u1", [2**64 - 1] * 9_000, b"")),
        "a shape of 0 and 2**63": request(a=array("|u1", [0, 2**63, 2**63], b"")),
        "a shape of 0 and 10**15": request(**{STATE: array("<f4", [0, 10**15], b"")}),
        "elements without bytes": request(a=array("|S0", [2**40], b"")),
        "an array of 4 MB of another shape": request(**{STATE: numbers}),
        "an array of 4 MB of NaN": pack({**real, PICTURES[0]: np.full((2, 224, 224, 3), np.nan, np.float32)}),
        "pictures as doubles": pack({**real, PICTURES[0]: np.zeros((2, 224, 224, 3))}),
        "a text of 1 MB": request(a="x" * MEGA),
        "a text of 4 MB": request(a="x" * (4 * MEGA)),
        "a text of 1 MB that is not UTF-8": request(a="x") [:-2] + b"\xdb" + MEGA.to_bytes(4, "big") + b"\xff" * MEGA,
        "5000 texts, one of 1 MB, as a state": request(**{STATE: ["x" * MEGA, *["y"] * 5000]}),
        "texts as an array": pack({**real, STATE: np.array(["x" * 50_000] * 10)}),
        "4900 wrong names": request(**{f"observation.stat{i}": 0 for i in range(4_900)}),
        "250 wrong names of 4 KB": request(**{f"{'observation.state' * 240}{i}": 0 for i in range(250)}),
        "an operation of 1 MB": msgpack.packb({"__op__": "x" * MEGA}),
        "an operation of 9000 maps": msgpack.packb({"__op__": [{}] * 9_000}),
        "an operation 31 deep": b"\x81\xa6__op__" + b"\x91" * 30 + b"\x90",
        "a seed of 1,000,000 digits": msgpack.packb({"__op__": "reset", "seed": "9" * MEGA}),
        "a seed of 2**64 - 1": msgpack.packb({"__op__": "reset", "seed": 2**64 - 1}),
        "a seed as an array of 4 MB": msgpack.packb({"__op__": "reset", "seed": numbers}),
        "a deadline of NaN": request(deadline_ms=float("nan")),
        "a deadline as an array of 4 MB": request(deadline_ms=numbers),
        "a number to echo that is a list of 9000": msgpack.packb({"__op__": "ping", "__seq__": [0] * 9_000}),
        "a time to echo that is an array of 4 MB": msgpack.packb({"__op__": "ping", "__t_obs__": numbers}),
        "a prefix of 50,000 rows": pack({**real, "prefix": np.zeros((50_000, 10), np.float32)}),
        "a goal nobody asked for": pack({**real, "goal": {STATE: np.zeros((2, 10))}}),
        "a state of 9900 nested numbers": request(**{STATE: [[0.5] * 99] * 99}),
        "a state of numbers beyond 64 bits": request(**{STATE: [[2**64 - 1] * 10, [-1] * 10]}),
        "numbers that float32 cannot hold": pack({**real, STATE: np.full((2, 10), 1e300)}),
        "a prefix that float32 cannot hold": pack({**real, "prefix": np.full((2, 10), 1e300)}),
        "4 MB of zeros": bytes(4 * MEGA),
        "4 MB of 0xc1": b"\xc1" * (4 * MEGA),
        "extension types": request(a=[msgpack.ExtType(5, b"x"), msgpack.Timestamp(1)]),
        "nothing": b"",
    }  # fmt: skip


def real_observation() -> dict[str, np.ndarray]:
    return observation(np.random.default_rng(0))


def streams() -> dict[str, bytes]:
    """name -> bytes on an open websocket: frames that no library would send."""
    return {
        "a text frame of 4 MB": frame(b"x" * (4 * MEGA), TEXT),
        "a text frame of 4 MB that is not UTF-8": frame(b"x" * (4 * MEGA) + b"\xff", TEXT),
        "100,000 empty pings": frame(b"", PING) * 100_000,
        "20,000 full pings": frame(bytes(125), PING) * 20_000,
        "100,000 empty pongs": frame(b"", PONG) * 100_000,
        "a message in 100,000 empty pieces": frame(b"", BINARY, fin=False)
        + frame(b"", CONTINUATION, fin=False) * 100_000,
        "a message in pieces of 1 byte": frame(b"\xc6", BINARY, fin=False)
        + frame(b"\0", CONTINUATION, fin=False) * 100_000,
        "4 MB in pieces of 8 KB": frame(b"", BINARY, fin=False)
        + frame(bytes(8192), CONTINUATION, fin=False) * 480 + frame(b"", CONTINUATION),
        "pings between pieces": (frame(b"\x90", BINARY, fin=False)
        + (frame(b"", PING) + frame(b"", CONTINUATION, fin=False)) * 900 + frame(b"", CONTINUATION)),
        "50,000 empty messages": frame(b"") * 50_000,
        "3000 requests at once": frame(request(a=1)) * 3_000,
        "a frame that claims 2**63 bytes": b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4) + bytes(MEGA),
        "a frame that claims 60 MB": b"\x82\xff" + (60 * MEGA).to_bytes(8, "big") + bytes(4) + bytes(8 * MEGA),
        "a frame without a mask": frame(b"\x80", masked=False),
        "compressed frames": frame(zlib.compress(bytes(100 * MEGA), 9)[2:-4], reserved=4),
        "reserved bits and opcodes": frame(b"", 3) + frame(b"", 11, reserved=7),
        "a ping of 70 KB": frame(bytes(70_000), PING),
        "a close frame with one byte": frame(b"\x03", CLOSE),
        "a close frame with an odd code": frame(b"\xff\xff" + b"\xff" * 100, CLOSE),
        "pieces without a beginning": frame(b"x", CONTINUATION),
        "zeros for frames": bytes(MEGA),
        "an opening in the middle": b"GET / HTTP/1.1\r\n\r\n" * 1000,
    }  # fmt: skip


def openings(host: str) -> dict[str, bytes]:
    """name -> bytes that a fresh TCP connection begins with."""
    start = f"GET / HTTP/1.1\r\nHost: {host}\r\n".encode()
    upgrade = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
    )
    return {
        "no HTTP": b"\x00\xff" * 5000,
        "a line without end": b"GET /" + b"x" * (8 * MEGA),
        "100,000 header lines": start + b"x: y\r\n" * 100_000,
        "a header line of 8 MB": start + b"x: " + b"y" * (8 * MEGA),
        "a body for a health check": b"POST /healthz HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n" + bytes(8 * MEGA),
        "frames before the answer": start + upgrade + b"\r\n" + frame(b"", PING) * 50_000,
        "a closing before the answer": start + upgrade + b"\r\n" + frame(b"\x03\xe8", CLOSE),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        "half an opening": start + upgrade,
        "an old version": start + upgrade.replace(b"13", b"8") + b"\r\n",
        "a web page": start + upgrade + b"Origin: http://example.org\r\n\r\n",
    }
