"""The server under attack: a policy in numpy that looks at two windows of a state and two 224 x 224 pictures.

Its answer is a function of the request, so that a client can tell a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.execution.policy_spec import PolicySpec

STATE = "observation.state"
PICTURES = ("observation.images.front", "observation.images.wrist")
HORIZON = 8
SPEC = PolicySpec(
    features([Feature(STATE, (10,)), *(Feature(name, (224, 224, 3), "uint8", kind="image") for name in PICTURES)]),
    Feature("action", (10,), kind="action"), obs_horizon=2, action_horizon=HORIZON, control_hz=20.0,
)  # fmt: skip


class NumpyPolicy:
    """Actions are the newest state, one more for each action, and the mean of the first picture."""

    spec = SPEC

    def predict_chunk(
        self, observations: Mapping[str, np.ndarray], goal: Any = None, executed: Any = None, generator: Any = None
    ) -> np.ndarray:
        return expected_actions(observations[STATE][-1], observations[PICTURES[0]][-1])


def expected_actions(state: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return (state + np.arange(HORIZON)[:, None] + picture[::16, ::16].mean()).astype(np.float32)


def observation(rng: np.random.Generator) -> dict[str, np.ndarray]:
    pictures = {name: rng.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8) for name in PICTURES}
    return {STATE: rng.normal(size=(2, 10)).astype(np.float32), **pictures}


def main() -> None:
    from robolearn.serving.server import ServerOptions, run_server

    run_server(NumpyPolicy(), ServerOptions(port=0), announce=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
