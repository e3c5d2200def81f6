"""The page's server: loopback only, nothing without the token in its address, json errors, one thread a connection.

GET  /TOKEN/                                  the page
GET  /TOKEN/page/FILE                         its style and scripts
GET  /TOKEN/api/dataset | api/episodes        overview, and one list per fact over all episodes
GET  /TOKEN/api/episode/N[/timing|/paths]     one episode
GET  /TOKEN/api/episode/N/times[?stream=NAME] float64 seconds
GET  /TOKEN/api/episode/N/series?name=NAME&source=grid|stream&elements=0,1&start=S&stop=S&points=P
GET  /TOKEN/frame/grid|stream/NAME/ROW[?low=MM&high=MM]
POST /TOKEN/api/episode/N/labels              {"success": true}           with the header X-Token: TOKEN
POST /TOKEN/api/mask                          {"name": "good", "add": [3], "remove": []}     likewise
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from robolearn.core.errors import ConfigError, RobolearnError
from robolearn.core.failure import tell
from robolearn.datasets.format.layout import Json
from robolearn.datasets.view.data import ViewedDataset
from robolearn.datasets.view.series import finite

PAGE = Path(__file__).parent / "page"
CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
MAX_BODY = 1 << 20
_HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Refused(Exception):
    """A request that is answered with an error status and one line."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class ViewServer(ThreadingHTTPServer):
    """Serves one dataset to browsers of this machine. Close it with `shutdown` and `server_close`.

    Args:
        location: path or URL of the dataset.
        port: 0 takes a free one.

    Raises DatasetError when the dataset cannot be opened, ConfigError when the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, location: str | Path, port: int = 0):
        self.viewed = ViewedDataset(location)
        self.token = secrets.token_urlsafe(24)
        self.files = {file.name: file for file in PAGE.iterdir() if file.suffix in CONTENT_TYPES}
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"Port {port} cannot be used ({error}); leave --port out to take a free one.") from error

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers close connections as they like; that is no news."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"dataset view: {type(error).__name__}: {error}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "robolearn", ""
    timeout = 60
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page asks for hundreds of frames a second."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses (malformed requests, unknown methods), in our form."""
        self.close_connection = True
        self._send_json({"error": message or self.responses.get(code, ("unknown error",))[0]}, code)

    def _answer(self, handle: Any) -> None:
        try:
            address = urlsplit(self.path)
            parts = [unquote(part) for part in address.path.split("/")[1:]]
            self._check(parts)
            handle(parts[1:], {key: values[-1] for key, values in parse_qs(address.query).items()})
        except _Refused as error:
            # the body of a refused request may still be in the pipe
            self.close_connection = True
            self._send_json({"error": str(error)}, error.status)
        except RobolearnError as error:
            self._send_json({"error": str(error)}, 400 if self.command == "POST" else 404)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            tell(error, f"dataset view: {self.command}")
            self._send_json({"error": f"the server failed: {type(error).__name__}: {error}"}, 500)

    def _check(self, parts: list[str]) -> None:
        """A page of another site can neither guess the token nor be served under another name (DNS rebinding)."""
        host = self.headers.get("Host", "").rpartition(":")
        name = host[0] if host[1] and host[2].isdigit() else self.headers.get("Host", "")
        if name not in _HOSTS:
            raise _Refused(403, "this server answers to 127.0.0.1 and localhost only")
        if not parts or not hmac.compare_digest(parts[0].encode(), self.server.token.encode()):
            raise _Refused(403, "the address lacks the token; use all of what robolearn dataset view printed")

    def _get(self, parts: list[str], query: dict[str, str]) -> None:
        viewed = self.server.viewed
        match parts:
            case []:
                self._send(b"", "text/plain", 308, {"Location": f"/{self.server.token}/"})
            case [""]:
                self._send_file("index.html")
            case ["page", name]:
                self._send_file(name)
            case ["api", "dataset"]:
                viewed.refresh()
                self._send_json(viewed.summary())
            case ["api", "episodes"]:
                self._send_json(viewed.columns())
            case ["api", "episode", index]:
                self._send_json(viewed.episode(_whole("episode", index)))
            case ["api", "episode", index, "timing"]:
                self._send_json(viewed.timing(_whole("episode", index)))
            case ["api", "episode", index, "paths"]:
                self._send_json(viewed.paths(_whole("episode", index)))
            case ["api", "episode", index, "times"]:
                self._send(viewed.times(_whole("episode", index), query.get("stream")), "application/octet-stream")
            case ["api", "episode", index, "series"]:
                self._send(self._series(_whole("episode", index), query), "application/octet-stream")
            case ["frame", "grid" | "stream" as source, name, row]:
                bounds = None
                if "low" in query:
                    bounds = _number("low", query), _number("high", query)
                data, kind = viewed.frame(name, source, _whole("row", row), bounds)
                # what is committed never changes
                self._send(data, kind, 200, {"Cache-Control": "private, max-age=86400, immutable"})
            case _:
                raise _Refused(404, "there is nothing at this address")

    def _series(self, index: int, query: dict[str, str]) -> bytes:
        elements = [_whole("elements", text) for text in query.get("elements", "0").split(",")]
        source = query.get("source", "grid")
        if source not in ("grid", "stream"):
            raise _Refused(400, f"source must be grid or stream, found {source!r}")
        start, stop = _number("start", query, -math.inf), _number("stop", query, math.inf)
        points = _whole("points", query.get("points", "1000"))
        return self.server.viewed.curves(index, query.get("name", ""), source, elements, start, stop, points)

    def _post(self, parts: list[str], query: dict[str, str]) -> None:
        if not hmac.compare_digest(self.headers.get("X-Token", "").encode(), self.server.token.encode()):
            raise _Refused(403, "edits need the token in the header X-Token")
        viewed, body = self.server.viewed, self._body()
        if not viewed.summary()["editable"]:
            raise _Refused(409, viewed.problem or "this dataset is not on this machine and cannot be edited")
        match parts:
            case ["api", "episode", index, "labels"]:
                viewed.edit_labels(_whole("episode", index), body)
                self._send_json(viewed.episode(_whole("episode", index)))
            case ["api", "mask"]:
                name, add, remove = body.get("name"), body.get("add", []), body.get("remove", [])
                lists = all(isinstance(some, list) and all(type(k) is int for k in some) for some in (add, remove))
                if not isinstance(name, str) or not lists:
                    raise _Refused(400, 'expected {"name": text, "add": [episodes], "remove": [episodes]}')
                viewed.change_mask(name, add, remove)
                self._send_json({"masks": viewed.summary()["masks"]})
            case _:
                raise _Refused(404, "there is nothing to edit at this address")

    def _body(self) -> Json:
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "expected a body of type application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise _Refused(411, "expected a Content-Length")
        if int(length) > MAX_BODY:
            raise _Refused(413, f"the body has {length} bytes, expected at most {MAX_BODY}")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _Refused(400, f"the body is not json: {error}") from error
        if not isinstance(body, dict):
            raise _Refused(400, "expected a json object")
        return body

    def _send_file(self, name: str) -> None:
        file = self.server.files.get(name)
        if file is None:
            raise _Refused(404, "there is no such file")
        self._send(file.read_bytes(), CONTENT_TYPES[file.suffix] + "; charset=utf-8")

    def _send_json(self, value: Json, status: int = 200) -> None:
        data = json.dumps(finite(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        self._send(data, "application/json; charset=utf-8", status)

    def _send(self, data: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        fields = {"Cache-Control": "no-store", **_HEADERS, **(headers or {})}
        if self.close_connection:
            fields["Connection"] = "close"
        for name, value in {**fields, "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise _Refused(400, f"{name} must be a whole number, found {text[:40]!r}")
    return int(text)


def _number(name: str, query: dict[str, str], default: float | None = None) -> float:
    text = query.get(name)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _Refused(400, f"{name} must be a number, found {(text or '')[:40]!r}")
    return value
