"""Follows the frame headers in the bytes that a websocket client sends; the payloads are nobody's business here."""

from __future__ import annotations

_DATA_OPCODES = range(3)  # continuation, text, binary
_LONG = {126: 2, 127: 8}  # a length of 7 bits -> bytes of the length that follows it


class FrameFollower:
    """What is known of the stream after the bytes fed so far. A frame (RFC 6455, 5.2):

        fin and opcode   mask bit and length   longer length    mask      payload
        1 byte           1 byte                0, 2 or 8 bytes  0 or 4    length bytes

    Attributes:
        remaining: payload bytes of the current frame that are still to come.
        pieces: frames of the current message so far; 0 between messages.
        data: payload bytes of messages so far, those of pings and the like not counted.
        controls: pings, pongs and the like so far.
    """

    def __init__(self) -> None:
        self.remaining = 0
        self.pieces = 0
        self.data = 0
        self.controls = 0
        self._header = bytearray()
        self._is_data = False

    def feed(self, received: bytes) -> None:
        at, end = 0, len(received)
        while at < end:
            if self.remaining:
                taken = min(self.remaining, end - at)
                self.remaining -= taken
                self.data += taken * self._is_data
                at += taken
                continue
            self._header.append(received[at])
            at += 1
            if len(self._header) >= 2 and len(self._header) == self._header_size():
                self._begin()

    def _header_size(self) -> int:
        second = self._header[1]
        return 2 + _LONG.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)

    def _begin(self) -> None:
        first, length = self._header[0], self._header[1] & 0x7F
        if length in _LONG:
            length = int.from_bytes(self._header[2 : 2 + _LONG[length]], "big")
        self._is_data = (first & 0x0F) in _DATA_OPCODES
        if self._is_data:
            final = bool(first & 0x80)
            self.pieces = 0 if final else self.pieces + 1
        else:
            self.controls += 1
        self.remaining = length
        self._header.clear()
