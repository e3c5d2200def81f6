"""Actions that an environment takes, from those of somebody who speaks another layout: a person's hand, an expert."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.state import ArmState, state_of
from robolearn.sim.env import SimEnv


class EnvActions:
    """Converts along an episode. What arms measure, and what they were told last, is asked of the environment, which
    knows it exactly; one that does not tell is followed by its observations and by what was converted before.

    Args:
        env: whose layout the actions are brought into.
        source: layout of the actions that are given.

    Attributes:
        counts: what was not exact in this episode.

    Raises LayoutError where the environment does not say what it takes, or the conversion is not exact.
    """

    def __init__(self, env: SimEnv, source: ActionLayout):
        taken = layout_of(env.action_feature)
        if taken is None:
            raise LayoutError(
                f"Environment {env.name!r} does not say what the numbers of its actions mean; its action feature needs "
                "a layout (docs/actions.md)."
            )
        try:
            self._conversion = conversion(source, taken, mounted=env.mounted, dt_s=1.0 / env.control_hz)
        except LayoutError as error:
            raise LayoutError(f"Environment {env.name!r}: {error}") from error
        self.counts = Counts()
        self._env = env
        self._told: dict[str, ArmState] = {}

    @property
    def description(self) -> str:
        """One line: what becomes of the actions."""
        return self._conversion.description

    def start(self, observation: Mapping[str, np.ndarray]) -> None:
        """An episode begins: the arms hold where they are measured."""
        self.counts = Counts()
        self._told = self._measured(observation)

    def action(self, numbers: np.ndarray, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """(A,) in the environment's layout and dtype, to be carried out now, when `observation` is the newest."""
        if self._conversion.identity:
            return np.asarray(numbers).astype(self._env.action_feature.dtype)
        told = self._env.arm_targets() or self._told
        converted, self._told = self._conversion.convert(numbers, self._measured(observation), told, self.counts)
        return converted.astype(self._env.action_feature.dtype)

    def _measured(self, observation: Mapping[str, np.ndarray]) -> dict[str, ArmState]:
        return self._env.arm_state() or state_of(observation, self._env.observation_features)
