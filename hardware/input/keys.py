"""What a terminal sends, as key names: plain characters, and escape sequences for arrows and function keys.

A terminal sends `ESC [ C` or `ESC O C` for the right arrow and a bare `ESC` for the escape key. Over a slow
line the bytes of one sequence may arrive in several reads, so an `ESC` counts as the escape key only when
nothing that continues it has come within `ESCAPE_TIMEOUT_S`:

    time   bytes     keys given out
    0.00   ESC
    0.03   [ C       right             the sequence was merely slow
    0.10   ESC
    0.20             esc               nothing followed for 0.1 s
    0.30   ESC x     esc x             no sequence starts like this
    0.40   ESC [ 3
    0.50             (dropped)         an unfinished sequence is noise, not keys
"""

from __future__ import annotations

ESCAPE_TIMEOUT_S = 0.1

_ESC = 0x1B
_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
_NAMES = {" ": "space", "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace"}


class KeyDecoder:
    """Turns the byte stream of a terminal into key names; letters come out in lower case."""

    def __init__(self) -> None:
        self._sequence = bytearray()  # an escape sequence under way, with its ESC
        self._sequence_start_s = 0.0

    def feed(self, data: bytes, now_s: float) -> list[str]:
        """Keys completed by `data`, which arrived at `now_s`. Call it with b"" as well, so that time-outs act."""
        keys: list[str] = []
        if self._sequence and now_s - self._sequence_start_s >= ESCAPE_TIMEOUT_S:
            keys += self._abandon()
        for byte in data:
            if self._sequence:
                keys += self._continue(byte, now_s)
            elif byte == _ESC:
                self._begin(now_s)
            else:
                keys += _plain(byte)
        return keys

    def _begin(self, now_s: float) -> None:
        self._sequence[:] = bytes([_ESC])
        self._sequence_start_s = now_s

    def _abandon(self) -> list[str]:
        keys = ["esc"] if len(self._sequence) == 1 else []
        self._sequence.clear()
        return keys

    def _continue(self, byte: int, now_s: float) -> list[str]:
        """One more byte after ESC: `[` parameters final (CSI) or `O` final (SS3); anything else was the escape key."""
        if byte == _ESC:
            keys = self._abandon()
            self._begin(now_s)
            return keys
        if len(self._sequence) == 1 and byte not in b"[O":
            return self._abandon() + _plain(byte)
        self._sequence.append(byte)
        is_final = len(self._sequence) > 2 and 0x40 <= byte <= 0x7E
        if not is_final:
            return []
        parameters = bytes(self._sequence[2:-1])
        self._sequence.clear()
        arrow = _ARROWS.get(chr(byte))
        return [arrow] if arrow and not parameters else []


def _plain(byte: int) -> list[str]:
    """A key for one byte of ASCII; bytes of other alphabets and control characters give none."""
    character = chr(byte)
    if character in _NAMES:
        return [_NAMES[character]]
    return [character.lower()] if 0x21 <= byte <= 0x7E else []
