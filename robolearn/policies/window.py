"""`WindowConfig`: what every policy's configuration says of its inputs and its answer."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.policies.checks import require_counts


@dataclass(frozen=True)
class WindowConfig:
    """Windows of observations and goals in, chunks of actions out. Policies have defaults of their own for the lengths.

    Raises ConfigError for a length below 1, as their configurations do for what they add.
    """

    observations: tuple[str, ...] = ("observation.state", "observation.environment_state")
    """features that go in, concatenated in this order"""
    obs_horizon: int = 1
    """observations seen, the newest included"""
    action_horizon: int = 1
    """actions predicted from the newest observation on"""
    goals: tuple[str, ...] = ()
    """features that form the goal; none = goal-free"""
    goal_horizon: int = 1
    """consecutive future steps that form the goal"""

    def __post_init__(self) -> None:
        require_counts(self, "obs_horizon", "action_horizon", "goal_horizon")
