"""The client of the policy server: what runs on the robot's computer. Needs numpy, msgpack and websockets only."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket_connect

from robolearn.core.action import ActionLayout
from robolearn.core.errors import ServerError, one_line
from robolearn.serving import wire

BACKOFF_S = (0.1, 0.2, 0.4, 0.8, 1.6)  # waits between attempts to reach the server; the last one repeats
_TOO_BIG = 1009  # of RFC 6455: a message larger than this side takes
MAX_ANSWER_BYTES = 2**20  # a chunk of 100 actions with 100 elements is 80 kB


class PolicyClient:
    """One connection to a policy server, for one caller at a time.

    Every method raises ServerError, in one line, when the server cannot be reached, answers with an error, or with
    what is no answer. A connection on which nothing came within the time-out is given up: packets that vanish look like
    that. After a lost connection the next call connects again, once; `connect(wait_s)` keeps trying.

        with PolicyClient("ws://127.0.0.1:8000") as client:
            chunk = client.infer({"observation.state": window})["actions"]   # (horizon, A)

    Args:
        url: `ws://HOST:PORT` or `wss://HOST:PORT`.
        token: sent as `Authorization: Api-Key TOKEN`.
        timeout_s: longest wait for a request to go out and its answer to come, and for the connection to open.
        takes: layout of the actions that are carried out here. Every request says it, so that a server with a policy
            of another layout refuses, whatever it has been replaced by meanwhile.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 10.0, takes: ActionLayout | None = None):
        if not url.startswith(("ws://", "wss://")):
            raise ServerError(f"Server address {url!r} is not of the form ws://HOST:PORT.")
        self.url = url
        self.timeout_s = timeout_s
        self._token = token
        self._takes = takes.to_dict() if takes is not None else None
        self._connection: ClientConnection | None = None
        self._metadata: dict[str, Any] = {}
        self._sequence = 0
        self._waiting = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as this side has been told."""
        return self._connection is not None and self._connection.state is State.OPEN

    @property
    def metadata(self) -> dict[str, Any]:
        """What the server said when the connection opened: `protocol`, `session`, `spec` and its own entries."""
        if self._connection is None:
            self.connect()
        return self._metadata

    def connect(self, wait_s: float = 0.0, sleep: Callable[[float], object] = time.sleep) -> None:
        """Open the connection; when that fails, try again with growing pauses for up to `wait_s`."""
        deadline = time.monotonic() + wait_s
        attempt = 0
        while not self.connected:
            try:
                self._open()
                return  # a server that hangs up at once is noticed by the next call
            except ServerError:
                pause = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
                if time.monotonic() + pause > deadline:
                    raise
                attempt += 1
                sleep(pause)

    def infer(
        self,
        observation: Mapping[str, np.ndarray],
        *,
        t_obs_s: float | None = None,
        executed: np.ndarray | None = None,
        goal: Mapping[str, np.ndarray] | None = None,
        deadline_ms: float | None = None,
    ) -> dict[str, Any]:
        """Ask for a chunk.

        Args:
            observation: feature name -> window (obs_horizon, *shape), or one sample (*shape). Samples for a policy that
                looks at several need `t_obs_s`, and one is sent every step: the server makes windows of them.
            t_obs_s: when the newest observation was taken; comes back unchanged in the answer.
            executed: (P, A) actions executed before the newest observation, for policies that look at them.
            goal: for goal-conditioned policies.
            deadline_ms: the server refuses the request instead of starting on it later than this.

        Returns:
            `actions` (H, A), `policy_timing`, `server_timing` (ms).
        """
        optional = {
            wire.TIME: t_obs_s, wire.EXECUTED: executed, wire.GOAL: goal, wire.DEADLINE: deadline_ms,
            wire.TAKES: self._takes,
        }  # fmt: skip
        return self._request(wire_op="infer", **observation, **{k: v for k, v in optional.items() if v is not None})

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode: the server forgets this session's history and, given a seed, restarts its noise."""
        self._request(wire_op="reset", **({} if seed is None else {"seed": seed}))

    def ping(self) -> float:
        """Round-trip time in s."""
        start = time.perf_counter()
        self._request(wire_op="ping")
        return time.perf_counter() - start

    def close(self) -> None:
        """Close the connection. Safe to call twice, and from another thread, which ends a wait for an answer."""
        connection, self._connection = self._connection, None
        if connection is not None and self._waiting:
            connection.close_socket()  # a closing handshake would wait behind the request
        elif connection is not None:
            connection.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> ClientConnection:
        headers = {"Authorization": f"Api-Key {self._token}"} if self._token else None
        try:
            # entered here and left in `close`: websockets asks for a context manager since 17.1
            connection = websocket_connect(
                self.url, compression=None, max_size=MAX_ANSWER_BYTES, open_timeout=self.timeout_s, close_timeout=0.5,
                additional_headers=headers, proxy=None,
            ).__enter__()  # fmt: skip
            # to a machine that takes nothing more, sending would otherwise wait for as long as the kernel tries
            whole_s, rest_s = divmod(self.timeout_s, 1)
            limit = struct.pack("@ll", int(whole_s), int(rest_s * 1e6))
            with contextlib.suppress(OSError):  # closed again already: receiving says so
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        except InvalidStatus as error:
            status = error.response.status_code
            said = (error.response.body or b"").decode(errors="replace").strip()
            hint = " It wants a token: set ROBOLEARN_TOKEN to the server's." if status == 401 else f" {one_line(said)}"
            raise ServerError(
                f"The server at {self.url} refused the connection (HTTP {status}).{hint.rstrip()}"
            ) from error
        except (OSError, WebSocketException, ValueError) as error:
            raise ServerError(
                f"No policy server answers at {self.url} ({_reason(error)}). "
                "Start one with: robolearn serve --policy DIR"
            ) from error
        try:
            metadata = wire.unpack(connection.recv(self.timeout_s, decode=False))
            if not isinstance(metadata, dict):
                raise ServerError(f"It sent {type(metadata).__name__}, expected a map.")
        except (OSError, WebSocketException, ServerError) as error:
            connection.close_socket()
            raise ServerError(
                f"{self.url} sent no policy metadata; it is not a policy server ({_reason(error).rstrip('.')})."
            ) from error
        self._connection, self._metadata = connection, metadata
        return connection

    def _request(self, wire_op: str, **entries: Any) -> dict[str, Any]:
        # held here, because `close` may be called from another thread while this one waits
        connection = self._connection or self._open()
        self._sequence += 1
        message = wire.pack({**entries, wire.OP: wire_op, wire.SEQUENCE: self._sequence})
        deadline = time.monotonic() + self.timeout_s
        self._waiting = True
        try:
            connection.send(message)
            while True:
                reply = connection.recv(_until(deadline))
                if isinstance(reply, str):
                    raise ServerError(f"The policy server reported: {_last_line(reply)}")
                answer = wire.unpack(reply)
                if not isinstance(answer, dict):
                    raise ServerError(f"The policy server answered with {type(answer).__name__}, expected a map.")
                number = answer.get(wire.SEQUENCE, self._sequence)
                if not isinstance(number, int):
                    raise ServerError(
                        f"The policy server's {wire.SEQUENCE!r} is {type(number).__name__}, not a number."
                    )
                if number == self._sequence:  # others answer a request that was interrupted
                    break
        except (OSError, WebSocketException) as error:
            if self._connection is connection:
                self._connection = None
            connection.close_socket()
            if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                raise ServerError(
                    f"The policy server gave no answer within {self.timeout_s:g} s; the connection was given up."
                ) from error
            if isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == _TOO_BIG:
                raise ServerError(f"An answer of {self.url} is no chunk: {_reason(error)}.") from error
            raise ServerError(f"The connection to {self.url} was lost ({_reason(error)}).") from error
        finally:
            self._waiting = False
        if wire.ERROR in answer:
            raise ServerError(f"The policy server reported: {_last_line(str(answer[wire.ERROR]))}")
        return answer


def _until(deadline_s: float) -> float:
    """Seconds that are left. Raises TimeoutError when none are: a flood of messages is no answer."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _reason(error: BaseException) -> str:
    return one_line(error) or type(error).__name__


def _last_line(text: str) -> str:
    """openpi's servers send whole tracebacks; the last line says what happened."""
    lines = [line for line in text[-10_000:].strip().splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else "an error without a text"
