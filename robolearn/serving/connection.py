"""A websocket connection whose sender is not trusted: what it takes of the server's memory and time is bounded.

websockets bounds the size of a message. Bounded here is what that leaves open: how many frames are handled before
others get their turn (256 KiB can hold 40,000 of them), of how many pieces a message consists, pings, pongs that
nobody reads, what arrives before the opening handshake is through, and what all connections hold together.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame
from websockets.protocol import CONNECTING, OPEN, SEND_EOF

from robolearn.serving.frames import FrameFollower

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013  # close codes
MAX_PIECES = 1024  # frames of one message
MAX_CONTROLS, _CONTROLS_S = 1000, 10.0  # pings and pongs in this many seconds
_SMALL_READ, _LARGE_READ = 512, 256 * 2**10
_REFUSED_CLOSE_S = 0.2  # until a refused client's connection, and what it holds, is dropped
_TRIM_ABOVE, _TRIM_AFTER_S = 2**20, 0.5
_MAX_OPENING = 16 * 2**10  # bytes of the opening request


class Buffers:
    """What all connections of a server hold: bytes of messages that are incomplete, or wait, or are being answered.

    Args:
        max_connections: TCP connections, those that are still opening among them.
        max_bytes: above it the connection with the largest `burden` is closed, so that nobody pays for another.
    """

    def __init__(self, max_connections: int, max_bytes: int):
        self.max_connections = max_connections
        self.max_bytes = max_bytes
        self.connections: set[BoundedConnection] = set()
        self._used = False

    @property
    def held(self) -> int:
        return sum(connection.held for connection in self.connections)

    def check(self) -> None:
        """Close connections until the others hold no more than is allowed."""
        while self.held > self.max_bytes:
            most = max(self.connections, key=lambda connection: connection.burden)
            most.refuse(
                TRY_AGAIN_LATER,
                f"Unanswered messages of all clients fill {self.max_bytes} bytes; this one held much for longest.",
            )

    def lost(self, connection: BoundedConnection) -> None:
        self.connections.discard(connection)
        self._used = self._used or connection.most_held > _TRIM_ABOVE
        if self._used and not self.connections:
            connection.loop.call_later(_TRIM_AFTER_S, self._give_back)

    def _give_back(self) -> None:
        """Freed memory goes to the system: glibc keeps it otherwise. It takes a while, so nobody may be connected."""
        if self._used and not self.connections:
            self._used = False
            with contextlib.suppress(AttributeError, OSError):
                ctypes.CDLL(None).malloc_trim(0)


class BoundedConnection(ServerConnection, asyncio.BufferedProtocol):
    """One client. asyncio asks a buffered protocol how much to read: only within a payload it is more than a little."""

    def __init__(self, *arguments: Any, buffers: Buffers, **options: Any):
        super().__init__(*arguments, **options)
        self.held = self.most_held = 0
        self._held_since_s = 0.0  # that it last held nothing
        self._buffers = buffers
        self._frames = FrameFollower()
        self._opening = bytearray()
        self._read = bytearray()
        self._refusal: asyncio.Task[None] | None = None
        self._newest: Frame | None = None
        self._controls, self._controls_since_s = 0, -math.inf  # at the beginning of the seconds that are counted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._buffers.connections) >= self._buffers.max_connections:
            self._turn_away("503 Service Unavailable", "Too many connections.")
        else:
            self._buffers.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._buffers.lost(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        size = _SMALL_READ if self._frames.remaining < _SMALL_READ else min(self._frames.remaining, _LARGE_READ)
        if len(self._read) != size:
            self._read = bytearray(size)
        return memoryview(self._read)

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(memoryview(self._read)[:nbytes])
        if self.protocol.state is CONNECTING:
            self._open(data)
            return
        if self.protocol.state is OPEN and self._refusal is None:
            before = self._frames.data
            self._frames.feed(data)
            if self.held == 0:
                self._held_since_s = self.loop.time()
            self.held += self._frames.data - before
            self.most_held = max(self.most_held, self.held)
        self.data_received(data)
        if self._frames.pieces > MAX_PIECES:
            self.refuse(POLICY_VIOLATION, f"A message came in more than {MAX_PIECES} frames.")
        if self._flooded():
            self.refuse(POLICY_VIOLATION, f"More than {MAX_CONTROLS} pings or pongs came in {_CONTROLS_S:g} s.")
        self._buffers.check()
        if self.paused:  # the client does not read: no more pongs for it
            self.transport.pause_reading()

    def _flooded(self) -> bool:
        now_s = self.loop.time()
        if now_s - self._controls_since_s > _CONTROLS_S:
            self._controls, self._controls_since_s = self._frames.controls, now_s
        return self._frames.controls - self._controls > MAX_CONTROLS

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        self._newest = event if isinstance(event, Frame) else None

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.recv_messages.paused:
            self.transport.resume_reading()

    def send_data(self) -> None:
        """One write for all the pongs of a read, and none for a client that is gone: asyncio would log each."""
        pieces = self.protocol.data_to_send()
        if pieces and not self.transport.is_closing():
            self.transport.write(b"".join(pieces))
            if SEND_EOF in pieces and self.transport.can_write_eof():
                self.transport.write_eof()

    @property
    def burden(self) -> float:
        """Bytes held, times the seconds for which it has held any (and a moment, so that among new ones bytes count).

        A crowd that sits on halves of messages must not be able to shut out who sends whole ones, however large.
        """
        return self.held * (self.loop.time() - self._held_since_s + 1e-3)

    def release(self, size: int) -> None:
        """A message of this many bytes is answered, or dropped."""
        self.held -= min(size, self.held)
        if self.held == 0 and self._newest is not None:
            self._newest.data = b""  # the parser of websockets keeps its last frame until the next one comes
            self._newest = None

    def refuse(self, code: int, reason: str) -> None:
        """Close for cause; what has come is thrown away at once."""
        self.held, self.close_timeout = 0, _REFUSED_CLOSE_S
        if self._refusal is None:
            self._refusal = self.loop.create_task(self._refuse(code, reason))

    async def _refuse(self, code: int, reason: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            async with self.send_context():
                self.protocol.fail(code, reason)

    def _open(self, data: bytes) -> None:
        """The opening request, whole, and nothing with it: frames may come once it is answered."""
        if self.request is not None:
            self.transport.abort()
            return
        if self.protocol.close_expected():  # turned away by websockets; what still comes is thrown away
            self.data_received(data)
            return
        self._opening += data
        end = self._opening.find(b"\r\n\r\n")
        if len(self._opening) > _MAX_OPENING:
            self._turn_away(
                "431 Request Header Fields Too Large", f"An opening request has at most {_MAX_OPENING} bytes."
            )
        elif 0 <= end < len(self._opening) - 4:
            self._turn_away("400 Bad Request", "Frames came before the opening request was answered.")
        else:
            self.data_received(data)

    def _turn_away(self, status: str, text: str) -> None:
        """An answer in HTTP, without the care that a request takes."""
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(text) + 1}\r\n\r\n"
        self.transport.write(f"{head}{text}\n".encode())
        self.transport.close()
