"""Asks the policy server for chunks in a thread of its own, so that the loop never waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from robolearn.core.clock import Clock, MonotonicClock
from robolearn.core.errors import RobolearnError, ServerError, one_line
from robolearn.execution.chunk import Chunk, actions_of, infer_ms
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.execution.policy_spec import PolicySpec
from robolearn.serving.client import BACKOFF_S

_IDLE_CHECK_S = 0.2  # a connection that closes while nothing is asked is noticed after this, and opened anew


class ChunkClient(Protocol):
    """The part of `PolicyClient` used here."""

    @property
    def connected(self) -> bool: ...
    @property
    def metadata(self) -> dict[str, Any]: ...
    def connect(self, wait_s: float = 0.0) -> None: ...
    def infer(
        self,
        observation: Mapping[str, np.ndarray],
        *,
        t_obs_s: float | None = None,
        executed: np.ndarray | None = None,
        goal: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, Any]: ...
    def close(self) -> None: ...


@dataclass
class RequestCounts:
    """What happened to requests since the last `begin`.

    Attributes:
        failed: without a usable answer: an error, an answer that was refused, none in time, or a lost connection.
        lost: connections that were lost or given up.
    """

    sent: int = 0
    answered: int = 0
    superseded: int = 0
    failed: int = 0
    lost: int = 0
    reconnects: int = 0


class ChunkRequester:
    """One request at the server, at most one waiting: a newer one replaces it.

    When the connection is lost the thread connects again, with growing pauses, for as long as it takes; the newest
    request is then sent. A server that has another policy by then is not asked. Whatever the server answers, the thread
    lives: what is no chunk of this policy is counted as failed, and `last_error` says why. Use as a context manager.

    Args:
        client: used by the thread only, except for `close`.
        spec: of the policy; other chunks are refused.
        clock: for the times in `Chunk`; the loop's clock.
    """

    def __init__(self, client: ChunkClient, spec: PolicySpec, clock: Clock | None = None):
        self._client = client
        self._spec = spec
        self._clock = clock or MonotonicClock()
        self._changed = threading.Condition()
        self._waiting: ChunkRequest | None = None
        self._answer: Chunk | None = None
        self._episode = 0
        self._in_flight = False
        self._closed = self._unreachable = False
        self.counts = RequestCounts()
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name="chunk-requester", daemon=True)

    def __enter__(self) -> ChunkRequester:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._client.close()  # also ends a wait for an answer
        self._thread.join(timeout=5.0)

    @property
    def in_flight(self) -> bool:
        """Whether the server is working on a request."""
        return self._in_flight

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as this side knows."""
        return self._client.connected

    @property
    def gone(self) -> bool:
        """Whether there is no connection and the newest attempt to open one failed.

        A connection that was given up because no answer came can be opened again at once where only the policy is slow.
        """
        return self._unreachable and not self.connected

    def wait_until_connected(self, timeout_s: float, sleep: Callable[[float], object]) -> bool:
        """Give the thread up to `timeout_s` to find its server again; whether there is a connection."""
        deadline_s = self._clock.now() + timeout_s
        while not self.connected and self._clock.now() < deadline_s:
            sleep(0.1)
        return self.connected

    def begin(self) -> None:
        """A new episode: requests and answers of the one before are void, counts start again."""
        with self._changed:
            self._waiting = self._answer = None
            self._episode += 1
            self.counts = RequestCounts()
            self.last_error = None

    def submit(self, request: ChunkRequest) -> None:
        """Ask for a chunk; returns at once."""
        with self._changed:
            self.counts.superseded += self._waiting is not None
            self._waiting = request
            self._changed.notify()

    def poll(self) -> Chunk | None:
        """The newest answer since the last call, or None."""
        if self._answer is None:  # most ticks: without the lock
            return None
        with self._changed:
            answer, self._answer = self._answer, None
            return answer

    def _run(self) -> None:
        failures = 0
        while not self._closed:
            if self._client.connected:
                self._pause(_IDLE_CHECK_S, lambda: self._closed or self._waiting is not None)
                if self._waiting is not None and not self._closed:
                    self._exchange()
                if not self._client.connected and not self._closed:
                    self.counts.lost += 1
                    failures = 1
                continue
            if failures:
                self._pause(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1], lambda: self._closed)
            if not self._closed:
                try:
                    self._connect()
                    self.counts.reconnects += failures > 0
                    self._unreachable, failures = False, 0
                except Exception as error:
                    self.last_error, self._unreachable, failures = _told(error), True, failures + 1

    def _connect(self) -> None:
        """Raises ServerError when no server answers, or one with another policy: its episodes would be mixed in."""
        self._client.connect()
        try:
            if PolicySpec.from_dict(self._client.metadata.get("spec")) == self._spec:
                return
        except (KeyError, TypeError, RobolearnError):
            pass
        self._client.close()
        raise ServerError("The server that answers now has another policy; its features or horizons differ.")

    def _pause(self, timeout_s: float, until: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(until, timeout_s)

    def _exchange(self) -> None:
        """Send the waiting request and take its answer."""
        with self._changed:
            assert self._waiting is not None
            request, self._waiting = self._waiting, None
            episode, counts = self._episode, self.counts
            self._in_flight = True
        sent_s = self._clock.now()
        counts.sent += 1
        try:
            answer = self._client.infer(
                request.observations, t_obs_s=request.t_obs_s, executed=request.executed, goal=request.goal
            )
            chunk = Chunk(
                actions_of(answer, self._spec), request.t_obs_s, sent_s, self._clock.now(),
                infer_ms(answer, "policy_timing"), infer_ms(answer, "server_timing"),
            )  # fmt: skip
        except Exception as error:
            # of any kind: without this thread the arm would wait for ever and nobody would know why
            self.last_error = _told(error)
            counts.failed += 1
            return
        finally:
            self._in_flight = False
        with self._changed:
            if episode == self._episode:
                counts.answered += 1
                self._answer = chunk


def _told(error: Exception) -> str:
    return one_line(error if isinstance(error, RobolearnError) else f"{type(error).__name__}: {error}")
