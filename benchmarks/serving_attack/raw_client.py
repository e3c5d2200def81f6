"""A websocket client that sends what no library would."""

from __future__ import annotations

import base64
import os
import socket
import struct
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
END = -1  # the server closed the stream without a close frame


@dataclass
class Received:
    """A frame from the server: opcode (or END), payload, and of a close frame code and reason."""

    opcode: int
    payload: bytes = b""

    @property
    def code(self) -> int | None:
        return struct.unpack("!H", self.payload[:2])[0] if self.opcode == CLOSE and len(self.payload) >= 2 else None

    @property
    def reason(self) -> str:
        return self.payload[2:].decode(errors="replace") if self.opcode == CLOSE else ""


class RawClient:
    """One TCP connection. Raises OSError and TimeoutError as sockets do."""

    def __init__(self, address: str, timeout_s: float = 10.0, handshake: bool = True, headers: str = ""):
        host, port = address.removeprefix("ws://").split(":")
        self.host = f"{host}:{port}"
        self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        if handshake:
            self.socket.sendall(self.opening(headers))
            self.read_response()
            self.metadata = self.receive()

    def opening(self, headers: str = "") -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET / HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        ).encode()

    def read_response(self) -> bytes:
        """The head of the server's answer to the opening; what follows is kept."""
        while b"\r\n\r\n" not in self._received:
            if not self._fill():
                break
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received = bytearray(rest)
        return head

    def send(self, payload: bytes, opcode: int = BINARY, fin: bool = True) -> None:
        self.socket.sendall(frame(payload, opcode, fin))

    def receive(self) -> Received:
        head = self._take(2)
        if head is None:
            return Received(END)
        length = head[1] & 0x7F
        if length >= 126:
            extended = self._take(2 if length == 126 else 8)
            if extended is None:
                return Received(END)
            length = int.from_bytes(extended, "big")
        payload = self._take(length)
        return Received(END) if payload is None else Received(head[0] & 0x0F, payload)

    def close(self) -> None:
        self.socket.close()

    def _take(self, size: int) -> bytes | None:
        while len(self._received) < size:
            if not self._fill():
                return None
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(2**18)
        except ConnectionError:
            return False
        self._received += data
        return bool(data)


def frame(payload: bytes, opcode: int = BINARY, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """One frame; the mask is zero, which leaves the payload as it is."""
    first, bit, size = (fin << 7) | (reserved << 4) | opcode, masked << 7, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + (bytes(4) if masked else b"") + payload
