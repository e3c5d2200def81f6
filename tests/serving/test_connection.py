import contextlib
import socket
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from tiny_policy_server import TinyPolicy
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from robolearn.serving.connection import MAX_CONTROLS, MAX_PIECES, Buffers
from robolearn.serving.wire import pack, unpack

STATE = np.zeros((2, 10), np.float32)
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass
class FakeConnection:
    held: int
    held_for_s: float = 1.0
    refusals: list[str] = field(default_factory=list)
    most_held: int = 0
    __hash__ = object.__hash__

    @property
    def burden(self) -> float:
        return self.held * self.held_for_s

    def refuse(self, code: int, reason: str) -> None:
        self.held = 0
        self.refusals.append(f"{code} {reason}")


def raw_frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def raw_connection(url: str) -> socket.socket:
    host, port = url.removeprefix("ws://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def everything_from(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def reason_of_the_close(connection) -> str:
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=5)
    return f"{closed.value.rcvd.code} {closed.value.rcvd.reason}"


def test_whoever_holds_most_is_closed_until_the_others_fit():
    buffers, clients = Buffers(10, 100), [FakeConnection(held) for held in (30, 50, 20, 60)]
    buffers.connections.update(clients)
    buffers.check()
    assert [client.held for client in clients] == [30, 50, 20, 0]
    assert clients[3].refusals == [
        "1013 Unanswered messages of all clients fill 100 bytes; this one held much for longest."
    ]
    buffers.check()
    assert sum(len(client.refusals) for client in clients) == 1


@pytest.mark.realtime
def test_a_crowd_that_sits_on_halves_of_messages_does_not_shut_out_who_sends_whole_ones(serve, monkeypatch):
    monkeypatch.setattr("robolearn.serving.server._MIN_BUFFERS", 1000)
    url = serve(TinyPolicy(), max_message_bytes=1000)
    with contextlib.ExitStack() as stack:
        good, *crowd = (stack.enter_context(connect(url)) for _ in range(9))
        for connection in (good, *crowd):
            connection.recv()
        for connection in crowd:  # together just below the 4000 bytes that all may hold
            connection.socket.sendall(raw_frame(Opcode.BINARY, bytes(490), fin=False))
        time.sleep(0.05)
        for _ in range(3):
            good.send(pack({"__op__": "infer", "observation.state": STATE, "more": bytes(700)}))
            assert "actions" in unpack(good.recv(timeout=5))
        assert "1013" in reason_of_the_close(crowd[0])


@pytest.mark.realtime
def test_a_crowd_that_fills_the_buffers_is_told_so_and_others_are_served(serve, monkeypatch):
    monkeypatch.setattr("robolearn.serving.server._MIN_BUFFERS", 1000)
    url = serve(TinyPolicy(), max_message_bytes=1000)
    with contextlib.ExitStack() as stack:
        good, *crowd = (stack.enter_context(connect(url)) for _ in range(6))
        good.recv()
        for connection in crowd:
            connection.recv()
            connection.socket.sendall(raw_frame(Opcode.BINARY, bytes(850), fin=False))
            time.sleep(0.01)
        assert "1013 Unanswered messages of all clients fill 4000 bytes" in reason_of_the_close(crowd[0])
        good.send(pack({"__op__": "infer", "observation.state": STATE}))
        assert "actions" in unpack(good.recv(timeout=5))
        for connection in crowd[1:]:
            connection.socket.sendall(raw_frame(Opcode.CONT, b""))
            assert "849 bytes follow its end" in connection.recv(timeout=5)


def test_a_message_in_thousands_of_pieces_is_refused_by_name(serve):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        connection.socket.sendall(raw_frame(Opcode.BINARY, b"", fin=False))
        connection.socket.sendall(raw_frame(Opcode.CONT, b"", fin=False) * (MAX_PIECES + 1))
        assert reason_of_the_close(connection) == f"1008 A message came in more than {MAX_PIECES} frames."


def test_a_message_in_some_pieces_is_read(serve):
    message = pack({"__op__": "ping", "__seq__": 4})
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        connection.send([message[i : i + 1] for i in range(len(message))])
        assert unpack(connection.recv(timeout=5)) == {"__op__": "ping", "__seq__": 4}


def test_many_pings_are_answered_in_turns_with_other_clients(serve):
    url = serve(TinyPolicy())
    with connect(url, ping_interval=None) as busy, connect(url) as good:
        busy.recv()
        good.recv()
        busy.socket.sendall(raw_frame(Opcode.PING, b"") * 900 + raw_frame(Opcode.BINARY, pack({"__op__": "ping"})))
        good.send(pack({"__op__": "ping"}))
        assert unpack(good.recv(timeout=5)) == {"__op__": "ping"}
        assert unpack(busy.recv(timeout=20)) == {"__op__": "ping"}


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
def test_a_flood_of_pings_or_pongs_is_refused_by_name(serve, opcode):
    with connect(serve(TinyPolicy()), ping_interval=None) as connection:
        connection.recv()
        connection.socket.sendall(raw_frame(opcode, b"") * (MAX_CONTROLS + 100))
        assert reason_of_the_close(connection) == f"1008 More than {MAX_CONTROLS} pings or pongs came in 10 s."


def test_frames_before_the_answer_to_the_opening_are_refused_by_name(serve):
    with raw_connection(serve(TinyPolicy())) as connection:
        connection.sendall(UPGRADE + raw_frame(Opcode.PING, b"early"))
        answer = everything_from(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert answer.endswith(b"Frames came before the opening request was answered.\n")


def test_an_opening_without_end_is_refused_by_name(serve):
    with raw_connection(serve(TinyPolicy())) as connection:
        connection.sendall(UPGRADE[:-2] + b"x: " + b"y" * 5000 + b"\r\nz: " + b"y" * 8000 + b"\r\na: " + b"y" * 4000)
        answer = everything_from(connection)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
    assert answer.endswith(b"An opening request has at most 16384 bytes.\n")


def test_compressed_frames_are_refused(serve):
    with connect(serve(TinyPolicy()), compression="deflate") as connection:
        connection.recv()
        assert connection.protocol.extensions == []
        connection.socket.sendall(b"\xc2\x80" + bytes(4))
        assert reason_of_the_close(connection) == "1002 reserved bits must be 0"


@pytest.mark.realtime
def test_too_many_connections_are_answered_before_they_are_cut(serve, monkeypatch):
    monkeypatch.setattr("robolearn.serving.server._MAX_OPENING", 1)
    url = serve(TinyPolicy(), max_clients=1)
    with raw_connection(url), raw_connection(url):
        time.sleep(0.1)
        with raw_connection(url) as third:
            assert everything_from(third).startswith(b"HTTP/1.1 503 Service Unavailable")


def test_arrays_of_a_request_are_not_kept_by_a_waiting_session(serve, monkeypatch):
    kept = []
    monkeypatch.setattr("robolearn.serving.connection.BoundedConnection.release", keep_frames(kept))
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        connection.send(pack({"__op__": "infer", "observation.state": STATE, "extra": np.zeros(10**6, np.uint8)}))
        assert "actions" in unpack(connection.recv(timeout=5))
    assert kept
    assert all(frame.data == b"" for frame in kept)


def keep_frames(kept):
    from robolearn.serving.connection import BoundedConnection

    release = BoundedConnection.release

    def keeping(self, size):
        kept.append(self._newest)
        release(self, size)

    return keeping
