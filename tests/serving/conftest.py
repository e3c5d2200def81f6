import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from robolearn.serving.server import PolicyServer, ServerOptions

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start a server in this process, on a free port, in an event loop of its own; gives its address."""
    stops: list[Callable[[], None]] = []

    def start(policy: Any, make_generator: Callable[[int], Any] | None = None, **options: Any) -> str:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        server = PolicyServer(policy, ServerOptions(**{"port": 0, **options}), make_generator)

        def stop() -> None:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        stops.append(stop)
        return asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)

    yield start
    for stop in stops:
        stop()
