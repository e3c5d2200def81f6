"""`PolicySpec`: what a policy is fed and what it answers. Free of torch, so that clients can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robolearn.core.errors import ConfigError
from robolearn.core.feature import Feature, Features, features


@dataclass(frozen=True)
class PolicySpec:
    """The data contract of one trained policy.

    Attributes:
        observation_features: by name, in the order in which vectors are concatenated.
        action_feature: of one action.
        obs_horizon: how many consecutive observations go in, the newest last.
        action_horizon: how many actions come out; the first belongs to the newest observation.
        control_hz: rate of observations and actions.
        goal_features: what a goal consists of; empty = the policy takes no goal.
        goal_horizon: how many consecutive steps form a goal; 0 without goals.
    """

    observation_features: Features
    action_feature: Feature
    obs_horizon: int
    action_horizon: int
    control_hz: float
    goal_features: Features = field(default_factory=dict)
    goal_horizon: int = 0

    def __post_init__(self) -> None:
        if self.obs_horizon < 1 or self.action_horizon < 1:
            raise ConfigError(
                f"Horizons must be at least 1; found obs_horizon {self.obs_horizon}, "
                f"action_horizon {self.action_horizon}."
            )
        if not self.control_hz > 0:
            raise ConfigError(f"control_hz must be positive, found {self.control_hz}.")
        if self.goal_horizon < 0 or bool(self.goal_features) != bool(self.goal_horizon):
            raise ConfigError(
                f"A goal needs features and a horizon of at least 1, found {list(self.goal_features)} and "
                f"{self.goal_horizon}; without goals give neither."
            )

    def to_dict(self) -> dict[str, Any]:
        return {
            "observation_features": [f.to_dict() for f in self.observation_features.values()],
            "action_feature": self.action_feature.to_dict(),
            "obs_horizon": self.obs_horizon,
            "action_horizon": self.action_horizon,
            "control_hz": self.control_hz,
            "goal_features": [f.to_dict() for f in self.goal_features.values()],
            "goal_horizon": self.goal_horizon,
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> PolicySpec:
        return cls(
            observation_features=features(Feature.from_dict(f) for f in mapping["observation_features"]),
            action_feature=Feature.from_dict(mapping["action_feature"]),
            obs_horizon=int(mapping["obs_horizon"]),
            action_horizon=int(mapping["action_horizon"]),
            control_hz=float(mapping["control_hz"]),
            goal_features=features(Feature.from_dict(f) for f in mapping.get("goal_features", ())),
            goal_horizon=int(mapping.get("goal_horizon", 0)),
        )
