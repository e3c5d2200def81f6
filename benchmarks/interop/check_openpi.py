"""openpi's own client against our policy server: the same answers as ours, and errors that say what to send.

    python benchmarks/interop/check_openpi.py [--cache FOLDER]

interop.openpi_max_error   worst difference between the actions openpi-client got, alone and behind its action chunk
                           broker, and those that the policy gives; of policies that look at one and at two observations

The environment of the client is made under the cache folder on first use, in about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from environments import environment

from robolearn.core.feature import Feature, features
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.execution.policy_spec import PolicySpec
from robolearn.serving.server import PolicyServer, ServerOptions

READER = Path(__file__).resolve().parent / "readers" / "openpi_client_reader.py"
SPEC = PolicySpec(
    features([Feature("observation.state", (10,))]), Feature("action", (10,), kind="action"),
    obs_horizon=1, action_horizon=8, control_hz=20.0,
)  # fmt: skip
EXPECTED_ERRORS = {
    "wrong name": "feature 'observation.state' is missing. The closest is 'observation/state'",
    "wrong shape": "has shape (9,), expected (10,)",
    "no time": "looks at 2 observations, 0.05 s apart, and a single one came without its time",
    "8 steps apart": "no observation was sent that was taken 0.05 s before the newest",
}


class LookingBack:
    """Actions are newest + 100 x oldest + (0, 1, ...) of the window, so that a wrong window shows."""

    def __init__(self, obs_horizon: int):
        self.spec = dataclasses.replace(SPEC, obs_horizon=obs_horizon)

    def predict_chunk(
        self, observations: Mapping[str, np.ndarray], goal: Any = None, executed: Any = None, generator: Any = None
    ) -> np.ndarray:
        window = observations["observation.state"]
        return window[-1] + 100 * window[0] + np.arange(8, dtype=np.float32)[:, None]


@contextlib.contextmanager
def served(policy: LookingBack) -> Iterator[str]:
    """The policy on a free port, in a thread of its own; gives the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = PolicyServer(policy, ServerOptions(port=0))
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="figures go to outputs/bench")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "interop")
    options = parser.parse_args(argv)
    python = environment("openpi", options.cache)
    items, worst = 0, 0.0
    for obs_horizon in (1, 2):
        with served(LookingBack(obs_horizon)) as address:
            command = [str(python), str(READER), address, str(obs_horizon)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        report = json.loads(done.stdout.splitlines()[-1])
        for name, text in report["errors"].items():
            print(f"{name}: {text.strip().splitlines()[-1]}")
            if EXPECTED_ERRORS[name] not in text:
                raise SystemExit(f"The error for {name!r} does not say: {EXPECTED_ERRORS[name]}")
        items, worst = items + report["items"], max(worst, report["max_error"])
    print(f"{items} answers, worst difference {worst:g}")
    figure = Figure(
        "interop.openpi_max_error", worst, "1", items, "python benchmarks/interop/check_openpi.py",
        notes="openpi-client 0.1.2 WebsocketClientPolicy and ActionChunkBroker; policies of one and two observations",
    )  # fmt: skip
    write_figures(results_file("interop", options.quick), [figure])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
