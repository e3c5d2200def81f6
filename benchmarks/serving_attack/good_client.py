"""The client that must not suffer: a process of its own that asks again and again, and keeps what it saw."""

from __future__ import annotations

import multiprocessing as mp
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import numpy as np

from robolearn.core.errors import ServerError
from robolearn.serving.client import PolicyClient

from . import policy_server


@dataclass
class Seen:
    """Latencies in ms, and what went wrong."""

    latencies_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class GoodClient:
    """Asks every `pause_s` after an answer. Use as a context manager."""

    def __init__(self, address: str, pause_s: float):
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(address, pause_s, theirs), daemon=True)

    def __enter__(self) -> GoodClient:
        self._process.start()
        self._pipe.recv()  # it is connected, and has its first answer
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("end")
        self._process.join(timeout=30)

    def seen(self) -> Seen:
        """Everything since the last call; a request that is under way is waited for."""
        self._pipe.send("seen")
        found: Seen = self._pipe.recv()
        return found


def _run(address: str, pause_s: float, pipe: Connection) -> None:
    rng = np.random.default_rng(1)
    requests = [policy_server.observation(rng) for _ in range(4)]
    seen, number, started = Seen(), 0, False
    client = PolicyClient(address, timeout_s=60.0)
    while True:
        if pipe.poll():
            if pipe.recv() == "end":
                client.close()
                return
            pipe.send(seen)
            seen = Seen()
        observed = requests[number % len(requests)]
        observed[policy_server.STATE][-1, 0] = number = number + 1
        begun = time.perf_counter()
        try:
            actions = client.infer(observed)["actions"]
        except ServerError as error:
            seen.failures.append(str(error))
        else:
            seen.latencies_ms.append((time.perf_counter() - begun) * 1e3)
            wanted = policy_server.expected_actions(
                observed[policy_server.STATE][-1], observed[policy_server.PICTURES[0]][-1]
            )
            if not np.array_equal(actions, wanted):
                seen.failures.append("a wrong answer")
        if not started:
            pipe.send("started")
            started = True
        time.sleep(pause_s)
