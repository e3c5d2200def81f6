"""A policy of a few lines, and a real server process around it: `python tiny_policy_server.py --port 0`.

The policy moves the TCP along x at 0.1 m/s from where the newest observation saw it, as training data would.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.execution.command import COMMAND_LAYOUT
from robolearn.execution.policy_spec import PolicySpec

HORIZON = 8
ACTION = Feature("action", (10,), kind="action", layout=COMMAND_LAYOUT)
SPEC = PolicySpec(features([Feature("observation.state", (10,))]), ACTION, 2, HORIZON, 20.0)


class TinyPolicy:
    """`fault`: None, "nan", "raise" or "shape"; `delay_s`: how long an inference takes."""

    spec = SPEC

    def __init__(self, fault: str | None = None, delay_s: float = 0.0, speed_m_s: float = 0.1):
        self.fault = fault
        self.delay_s = delay_s
        self.speed_m_s = speed_m_s
        self.seen: list[dict[str, np.ndarray]] = []

    def predict_chunk(
        self,
        observations: Mapping[str, np.ndarray],
        goal: Any = None,
        executed: np.ndarray | None = None,
        generator: Any = None,
    ) -> np.ndarray:
        self.seen.append({name: np.array(value) for name, value in observations.items()})
        time.sleep(self.delay_s)
        if self.fault == "raise":
            raise ValueError("weights and\nactivations disagree")
        chunk = np.repeat(observations["observation.state"][-1:], HORIZON, axis=0).astype(np.float32)
        chunk[:, 0] += self.speed_m_s * np.arange(1, HORIZON + 1) / SPEC.control_hz
        if generator is not None:
            chunk += generator.normal(size=chunk.shape).astype(np.float32)
        if self.fault == "nan":
            chunk[3, 1] = np.nan
        return chunk[:-1] if self.fault == "shape" else chunk


def main() -> None:
    from robolearn.serving.server import ServerOptions, run_server

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-s", type=float, default=0.0)
    arguments = parser.parse_args()
    policy = TinyPolicy(delay_s=arguments.delay_s)
    run_server(policy, ServerOptions(port=arguments.port), announce=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
