"""`ActingPolicy`: what evaluation, serving and a loop ask of a policy. Free of torch, so that none of them needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from robolearn.execution.policy_spec import PolicySpec


class ActingPolicy(Protocol):
    """Anything with a spec and a pure `predict_chunk`: a trained policy, a scripted baseline, a test double.

    Everything is handed over in this order, without names.
    """

    @property
    def spec(self) -> PolicySpec: ...

    def predict_chunk(
        self,
        observations: Mapping[str, np.ndarray],
        goal: Any = None,
        executed: np.ndarray | None = None,
        generator: Any = None,
    ) -> np.ndarray:
        """(action_horizon, *shape) actions for the steps from the newest observation on.

        Args:
            observations: feature name -> (obs_horizon, *shape), newest last.
            goal: feature name -> (goal_horizon, *shape); None = no goal.
            executed: (P, *shape) actions executed before the newest observation, the latest last; None = the episode
                begins, or nobody knows.
            generator: source of all randomness, of whatever kind the policy draws from; None = its own.
        """
        ...
