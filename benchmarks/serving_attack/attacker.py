"""Sends what a hostile client would, and judges how the server takes it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field

from robolearn.core.errors import ServerError
from robolearn.serving import wire

from . import cases
from .fuzz import Case
from .raw_client import BINARY, CLOSE, END, TEXT, RawClient, Received

SUSPECTS = 20
ANSWER_S = 10.0


@dataclass
class Attacker:
    """Sends cases and says what was wrong with the server's reaction.

    Attributes:
        failures: one line each.
        slowest: (ms until the reaction, case), of the slowest.
    """

    address: str
    failures: list[str] = field(default_factory=list)
    slowest: list[tuple[float, Case]] = field(default_factory=list)
    _client: RawClient | None = None

    def run(self, case: Case) -> None:
        begun = time.perf_counter()
        try:
            wrong = self._message(case.data) if case.kind == "message" else self._stream(case)
        except TimeoutError:
            wrong = f"no answer and no close within {ANSWER_S:g} s"
        except OSError as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            self.failures.append(f"{case.name}: {wrong}")
            self.close()
        self.slowest.append(((time.perf_counter() - begun) * 1e3, case))
        if len(self.slowest) > 5 * SUSPECTS:
            self.slowest = self.suspects()

    def suspects(self) -> list[tuple[float, Case]]:
        """The slowest, slowest first."""
        return sorted(self.slowest, key=lambda timed: -timed[0])[:SUSPECTS]

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _message(self, data: bytes) -> str | None:
        client = self._client = self._client or RawClient(self.address, ANSWER_S)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # closed while it was sent
            client.send(data)
        reply = client.receive()
        if reply.opcode == BINARY:
            try:
                answer = wire.unpack(reply.payload)
            except ServerError as error:
                return f"an answer that cannot be read: {error}"
            known = {wire.ERROR, wire.OP, "actions"}
            return None if isinstance(answer, dict) and known & answer.keys() else f"an odd answer: {answer!r}"
        self._client = None
        if reply.opcode == TEXT:
            text, reply = reply.payload, client.receive()
            if not text.strip() or b"\n" in text:
                return f"an error that is not one line: {text[:200]!r}"
        client.close()
        return _unexplained(reply)

    def _stream(self, case: Case) -> str | None:
        """All bytes, then the end of ours; the server has to end its side too."""
        client = RawClient(self.address, ANSWER_S, handshake=case.kind == "stream")
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.socket.sendall(case.data)
                client.socket.shutdown(1)
            if case.kind == "opening":
                client.read_response()
                return None
            while client.receive().opcode not in (END, CLOSE):
                pass
            return None
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            return None  # reset: closed as well
        finally:
            client.close()


def _unexplained(reply: Received) -> str | None:
    if reply.opcode != CLOSE:
        return f"the stream ended without a close frame (opcode {reply.opcode})"
    return None if reply.reason else f"closed with {reply.code} and no reason"


def worst_cases(address: str) -> list[Case]:
    handmade = [Case(name, "message", data) for name, data in cases.messages().items()]
    handmade += [Case(name, "stream", data) for name, data in cases.streams().items()]
    openings = cases.openings(address.removeprefix("ws://"))
    return handmade + [Case(name, "opening", data) for name, data in openings.items()]
