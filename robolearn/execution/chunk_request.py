"""What a chunk of actions is asked for with: the same in simulated evaluation, on a robot and at the policy server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.execution.policy import ActingPolicy


@dataclass(frozen=True)
class ChunkRequest:
    """All that a chunk depends on but the policy's noise.

    Attributes:
        observations: feature name -> (obs_horizon, *shape), the newest last.
        executed: (P, *shape) actions executed before the newest observation, the latest last; None = none is known.
        goal: feature name -> (goal_horizon, *shape), for goal-conditioned policies.
        t_obs_s: when the newest observation was taken, on the clock of who asks: the first action is due then.
    """

    observations: Mapping[str, np.ndarray]
    executed: np.ndarray | None = None
    goal: Mapping[str, np.ndarray] | None = None
    t_obs_s: float = 0.0

    def put_to(self, policy: ActingPolicy, generator: Any = None) -> np.ndarray:
        """What the policy answers, as it answers it."""
        return policy.predict_chunk(self.observations, self.goal, self.executed, generator)
