"""When a policy is asked for its next chunk: simulated evaluation and the real-time loop use this one rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.execution.history import ExecutedActions, ObservationHistory
from robolearn.execution.policy_spec import PolicySpec
from robolearn.execution.scheduler import ActionScheduler


def actions_per_chunk(spec: PolicySpec, execute: int | None, option: str = "--execute") -> int:
    """`execute`, or by default half of the policy's chunk.

    Raises ConfigError, naming the `option`, outside [1, action_horizon].
    """
    if execute is None:
        return max(1, spec.action_horizon // 2)
    if not 1 <= execute <= spec.action_horizon:
        raise ConfigError(
            f"{option} is {execute}; the policy predicts chunks of {spec.action_horizon} actions, so give 1 to "
            f"{spec.action_horizon}."
        )
    return execute


class RecedingHorizon:
    """Looks back and ahead for a policy: of each chunk `execute` actions are used, then the next one is asked for.

    It is when no more than (action_horizon - execute) steps of actions are left, whichever way they became that few:
    after a chunk that came late and lost its first actions the next one is asked for in time. With execute 2 of 4, dt
    0.1 s and answers that are there at once, but for C, which is awaited until 0.55 s and then has lost C0:

        observe at     0.0   0.1   0.2   0.3   0.4   0.5   0.6   0.7
        steps left     0     3     2     3     2     1     2     3
        asks for       A     -     B     -     C     -     D     -
        acts           A0    A1    B0    B1    B2    B3    D0    D1

    Args:
        spec: of the policy.
        execute: see `actions_per_chunk`.

    Attributes:
        scheduler: where the actions of chunks are placed, (A,) each.
    """

    def __init__(self, spec: PolicySpec, execute: int | None = None):
        self.execute = actions_per_chunk(spec, execute)
        self.dt_s = 1.0 / spec.control_hz
        self.scheduler = ActionScheduler(self.dt_s)
        # half a step of slack: samples are up to a tick older than the grid they are taken on
        self._ask_below_s = (spec.action_horizon - self.execute + 0.5) * self.dt_s
        self._action_shape = spec.action_feature.shape
        self._history = ObservationHistory(spec.observation_features, spec.obs_horizon)
        self._executed = ExecutedActions(spec.obs_horizon - 1)
        self._goal: Mapping[str, np.ndarray] | None = None

    def begin(self, goal: Mapping[str, np.ndarray] | None = None) -> None:
        """A new episode: everything is forgotten. Each of its requests carries the goal."""
        self._history.clear()
        self._executed.clear()
        self.scheduler.clear()
        self._goal = goal

    def observe(
        self, observation: Mapping[str, np.ndarray], taken_s: float, awaited: bool = False
    ) -> ChunkRequest | None:
        """Take in what was seen, once each step, and say what to ask for, if anything.

        `awaited`: an answer is on its way, and nothing is asked for. Raises FeatureError where a feature is missing.
        """
        self._history.push(observation)
        # what was valid in the middle of the step that ends here: samples are up to a tick off the grid of actions
        action = self.scheduler.action_at(taken_s - 0.5 * self.dt_s)
        self._executed.push(None if action is None else action.reshape(self._action_shape))
        if awaited or self.scheduler.remaining_s(taken_s) > self._ask_below_s:
            return None
        return ChunkRequest(self._history.window(), self._executed.window(), self._goal, taken_s)
