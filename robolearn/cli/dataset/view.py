"""`robolearn dataset view`: look at episodes in the browser; edit labels and masks."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import tyro

from robolearn.core.config import parse
from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class ViewOptions:
    """Options of `robolearn dataset view`."""

    path: tyro.conf.Positional[str]
    """A dataset; a URL (s3://, https://) can be looked at but not edited."""
    port: int = 0
    """Port on this machine; 0 takes a free one and prints it."""
    browser: bool = True
    """Open the page in the browser."""
    episode: int | None = None
    """Episode to begin with, counted from 0."""


def main(argv: list[str]) -> int:
    """Serve the page until Ctrl-C."""
    options = parse(ViewOptions, argv, "robolearn dataset view", "Look at episodes in the browser.")
    if not 0 <= options.port < 65536:
        raise ConfigError(f"--port must be 0 to 65535, found {options.port}.")
    from robolearn.core.interrupt import StopRequest
    from robolearn.datasets.view.server import ViewServer

    with StopRequest() as stop, ViewServer(options.path, options.port) as server:
        address = server.url
        if options.episode is not None:
            server.viewed.dataset.episode_slice(options.episode)  # refuses what does not exist
            address += f"#episode={options.episode}"
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        print(f"{options.path}: {address}\nOnly this machine can open it. Ctrl-C ends.", flush=True)
        if options.browser:
            import webbrowser

            webbrowser.open(address)
        while not stop():
            thread.join(0.2)
        server.shutdown()
    return 0
