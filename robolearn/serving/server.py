"""The policy server: websocket, openpi's messages, inference in one worker thread off the event loop.

A request without our `__op__` key is an openpi client's: an error is answered with a text frame and close code
1011, as openpi's own server does. With `__op__` the error is a map and the connection stays open, and of several
inference requests waiting in one session only the newest is computed.

Clients are not trusted with the server's memory and time. A message may be twice as large as what the policy looks at,
and some; the number of clients and what they hold together are bounded; see `connection` for the stream, `decoder` for
what a message may ask for, `request` for its numbers.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import http
import ipaddress
import logging
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response as HttpResponse

from robolearn.core.errors import RobolearnError, ServerError, one_line
from robolearn.core.failure import tell
from robolearn.core.interrupt import StopRequest
from robolearn.execution.policy import ActingPolicy
from robolearn.execution.policy_spec import PolicySpec, window_bytes
from robolearn.serving import wire
from robolearn.serving.connection import BoundedConnection, Buffers
from robolearn.serving.request import Request, read_request
from robolearn.serving.session import Session

log = logging.getLogger(__name__)
_websockets_log = logging.getLogger(f"{__name__}.websockets")
# whoever knocks without a websocket request is nobody's traceback; older websockets log one for each
_websockets_log.addFilter(lambda record: record.msg != "opening handshake failed")

_INTERNAL_ERROR = 1011
_MAX_WAITING = 16  # requests of one session that are read ahead
_MAX_OPENING = 64  # connections beyond the clients: health checks, and those that are still opening
_MESSAGE_SLACK = 4 * 2**20
_MIN_BUFFERS = 48 * 2**20
_MAX_ERROR = 1000  # characters


@dataclass(frozen=True)
class ServerOptions:
    """How the server listens.

    Attributes:
        host: address to bind; anything but a loopback address needs a token.
        port: 0 takes a free one.
        token: clients must send `Authorization: Api-Key TOKEN`.
        seed: of the first session's noise; the next sessions count up.
        max_message_bytes: larger requests close the connection; None = what the policy's observations need, see
            `largest_message`.
        max_clients: further ones are refused with HTTP 503.
        idle_timeout_s: a session that sends nothing for this long is closed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    seed: int = 0
    max_message_bytes: int | None = None
    max_clients: int = 32
    idle_timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ServerError(f"--port must be 0 to 65535, found {self.port}.")
        if not 1 <= self.max_clients <= 512:
            raise ServerError(f"--max-clients must be 1 to 512, found {self.max_clients}.")
        if not self.token and not _is_loopback(self.host):
            raise ServerError(
                f"Host {self.host} can be reached from other machines; set a token in ROBOLEARN_TOKEN (or name another "
                "variable with --token-env), or use --host 127.0.0.1."
            )


class PolicyServer:
    """Serves one policy to any number of sessions; inferences run one at a time, in the order they came.

    Args:
        policy: see `ActingPolicy`.
        options: see `ServerOptions`.
        make_generator: seed -> random generator handed to the policy; None for policies without noise.
        executor: the single worker thread that inference runs in.
        metadata: further entries of the metadata sent to every client (`reset_pose`, ...).
    """

    def __init__(
        self,
        policy: ActingPolicy,
        options: ServerOptions,
        make_generator: Callable[[int], Any] | None = None,
        executor: ThreadPoolExecutor | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self.policy = policy
        self.options = options
        self._make_generator = make_generator
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._metadata = {**(metadata or {}), "protocol": wire.PROTOCOL, "spec": policy.spec.to_dict()}
        self._sessions = 0
        self._server: Server | None = None
        self.max_message_bytes = options.max_message_bytes or largest_message(policy.spec)
        self.buffers = Buffers(options.max_clients + _MAX_OPENING, max(_MIN_BUFFERS, 4 * self.max_message_bytes))

    async def start(self) -> str:
        """Listen. Returns the address, `ws://HOST:PORT`. Raises ServerError when the port is taken."""
        options = self.options
        try:
            self._server = await serve(
                self._handle, options.host, options.port, compression=None, max_size=self.max_message_bytes,
                max_queue=1, process_request=self._admit, server_header=None, open_timeout=10.0, close_timeout=1.0,
                create_connection=partial(BoundedConnection, buffers=self.buffers),  # type: ignore[arg-type]
                ping_interval=20.0, ping_timeout=20.0, logger=_websockets_log,
                origins=[None],  # a browser names one: no web page shall reach a server on its reader's machine
            )  # fmt: skip
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServerError(
                    f"Port {options.port} on {options.host} is taken by another program; "
                    f"choose another with --port {options.port + 1}, or --port 0 for any free one."
                ) from error
            raise ServerError(f"Cannot listen on {options.host}:{options.port}: {error.strerror or error}.") from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"

    async def stop(self) -> None:
        """Close all connections; a running inference is finished first."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> HttpResponse | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self.options.token:
            sent = request.headers.get("Authorization", "")
            if not hmac.compare_digest(sent.encode(), f"Api-Key {self.options.token}".encode()):
                return connection.respond(http.HTTPStatus.UNAUTHORIZED, "Missing or wrong Api-Key.\n")
        most = self.options.max_clients
        if self._server is not None and len(self._server.connections) >= most:
            text = f"The server has {most} clients, as many as it takes; start it with a larger --max-clients.\n"
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, text)
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, BoundedConnection)
        number = self._sessions
        self._sessions += 1
        session = Session(self.policy, self._make_generator, self.options.seed + number)
        waiting: asyncio.Queue[Request | None] = asyncio.Queue(_MAX_WAITING)
        reader = asyncio.create_task(self._read(connection, waiting))
        try:
            await connection.send(wire.pack({**self._metadata, "session": number}))
            previous_total_ms: float | None = None
            while (request := await waiting.get()) is not None:
                answer = await self._answer(session, request, previous_total_ms)
                request.values = {}  # a session that waits holds no message
                connection.release(request.size)
                if isinstance(answer, str):
                    await connection.send(answer)
                    await connection.close(_INTERNAL_ERROR, "The request failed; the text frame before this says why.")
                    break
                await connection.send(wire.pack(answer))
                previous_total_ms = (time.perf_counter() - request.received_s) * 1e3
        except ConnectionClosed:
            pass
        finally:
            reader.cancel()
            await asyncio.wait([reader])  # a task that nobody waits for may be dropped half-way, which asyncio reports

    async def _read(self, connection: BoundedConnection, waiting: asyncio.Queue[Request | None]) -> None:
        newest: Request | None = None
        try:
            while True:
                request = read_request(await self._receive(connection))
                if request.extended and request.operation == "infer":
                    if newest is not None:
                        newest.superseded = True
                    newest = request
                await waiting.put(request)
        except TimeoutError:
            await connection.close(1001, "The session was idle for too long.")
        except ConnectionClosed:
            pass
        finally:
            # nobody can be answered any more: what waits may be dropped to make room for the end mark
            if waiting.full():
                waiting.get_nowait()
            waiting.put_nowait(None)

    async def _receive(self, connection: BoundedConnection) -> str | bytes:
        return await asyncio.wait_for(connection.recv(), self.options.idle_timeout_s)

    async def _answer(
        self, session: Session, request: Request, previous_total_ms: float | None
    ) -> dict[str, Any] | str:
        """A map, or for openpi clients the text of an error."""
        try:
            if request.error is not None:
                raise ServerError(request.error)
            if request.operation == "ping":
                return {wire.OP: "ping", **request.echo}
            if request.operation == "reset":
                session.reset(request.seed)
                return {wire.OP: "reset", **request.echo}
            if request.superseded:  # known already: no need to wait for other sessions' inferences
                result = self._infer(session, request)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._executor, self._infer, session, request)
        except RobolearnError as error:
            message = one_line(error, _MAX_ERROR)
        except Exception as error:
            tell(error, "an inference")
            message = f"The policy failed with {type(error).__name__}: {one_line(error, _MAX_ERROR)}"
        else:
            timing = {"infer_ms": (time.perf_counter() - request.received_s) * 1e3}
            if previous_total_ms is not None:
                timing["prev_total_ms"] = previous_total_ms
            return {**result, "server_timing": timing, **request.echo}
        return {wire.ERROR: message, **request.echo} if request.extended else message

    @staticmethod
    def _infer(session: Session, request: Request) -> dict[str, Any]:
        """Runs in the worker thread, but for requests that are superseded."""
        if request.superseded:
            session.skip(request.values)
            return {wire.ERROR: "A newer request of this session replaced this one.", wire.SUPERSEDED: True}
        waited_ms = (time.perf_counter() - request.received_s) * 1e3
        if request.deadline_ms is not None and waited_ms > request.deadline_ms:
            session.skip(request.values)
            raise ServerError(
                f"The request waited {waited_ms:.0f} ms, more than its deadline of {request.deadline_ms:g} ms."
            )
        return session.infer(request.values)


def largest_message(spec: PolicySpec) -> int:
    """Bytes that a request for a policy may have: twice its observation window and goal, and 4 MiB."""
    observation = window_bytes(spec.observation_features, spec.obs_horizon)
    return _MESSAGE_SLACK + 2 * (observation + window_bytes(spec.goal_features, spec.goal_horizon))


def run_server(
    policy: ActingPolicy,
    options: ServerOptions,
    make_generator: Callable[[int], Any] | None = None,
    executor: ThreadPoolExecutor | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until a signal asks to stop. `announce` gets `listening on ws://HOST:PORT` once clients can connect."""

    # the event loop and the inference thread hand over to each other; the default of 5 ms would show in answers
    sys.setswitchinterval(5e-4)

    async def main() -> None:
        server = PolicyServer(policy, options, make_generator, executor)
        address = await server.start()
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        with StopRequest(lambda: loop.call_soon_threadsafe(stopped.set)):
            announce(f"listening on {address}")
            await stopped.wait()
            await server.stop()

    asyncio.run(main())


def token_from_environment(variable: str) -> str | None:
    """The token clients must send, from an environment variable; None when it is unset or empty."""
    return os.environ.get(variable) or None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
