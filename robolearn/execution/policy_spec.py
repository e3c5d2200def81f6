"""`PolicySpec`: what a policy is fed and what it answers. Free of torch, so that clients can read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, one_line
from robolearn.core.feature import Feature, Features, features

MAX_WINDOW_BYTES = 2**28
MAX_HORIZON = 10_000
MAX_ACTION_ELEMENTS = 10_000
MAX_AXES = 8
MIN_CONTROL_HZ, MAX_CONTROL_HZ = 1e-3, 1e5


def window_bytes(fields: Features, horizon: int) -> int:
    """Bytes of `horizon` samples of each feature."""
    return horizon * sum(math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in fields.values())


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
        if not MIN_CONTROL_HZ <= self.control_hz <= MAX_CONTROL_HZ:
            raise ConfigError(
                f"control_hz must be positive, from {MIN_CONTROL_HZ:g} to {MAX_CONTROL_HZ:g}; found {self.control_hz}."
            )
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
    def from_dict(cls, mapping: Any) -> PolicySpec:
        """The inverse of `to_dict`; other entries are skipped.

        Raises KeyError, TypeError, ConfigError or FeatureError, which name what is missing or of a wrong kind.
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(f"found {type(mapping).__name__}, expected a map")
        return cls(
            observation_features=_features(mapping, "observation_features"),
            action_feature=Feature.from_dict(mapping["action_feature"]),
            obs_horizon=_number(mapping, "obs_horizon", int),
            action_horizon=_number(mapping, "action_horizon", int),
            control_hz=float(_number(mapping, "control_hz", (int, float))),
            goal_features=_features(mapping, "goal_features") if "goal_features" in mapping else {},
            goal_horizon=_number(mapping, "goal_horizon", int) if "goal_horizon" in mapping else 0,
        )

    def check_size(self) -> None:
        """Raise ConfigError for a spec that would cost its user too much: one that came from another machine."""
        windows = (
            ("obs_horizon", self.obs_horizon, self.observation_features),
            ("goal_horizon", self.goal_horizon, self.goal_features),
            ("action_horizon", self.action_horizon, {"action": self.action_feature}),
        )
        for name, horizon, fields in windows:
            deep = [f.name for f in fields.values() if len(f.shape) > MAX_AXES]
            if deep:
                raise ConfigError(f"Feature {one_line(deep[0], 60)!r} has more than {MAX_AXES} axes.")
            size = window_bytes(fields, horizon)
            if horizon > MAX_HORIZON or size > MAX_WINDOW_BYTES:
                raise ConfigError(
                    f"{name} is {horizon}, {size / 2**20:.3g} MiB of data; expected at most {MAX_HORIZON} and "
                    f"{MAX_WINDOW_BYTES >> 20} MiB."
                )
            odd = [f"{f.name!r} ({f.dtype})" for f in fields.values() if np.dtype(f.dtype).kind not in "biuf"]
            if odd:
                raise ConfigError(f"Features of a policy are numbers; found {', '.join(odd)}.")
        if math.prod(self.action_feature.shape) > MAX_ACTION_ELEMENTS:
            raise ConfigError(
                f"An action has shape {self.action_feature.shape}; expected at most {MAX_ACTION_ELEMENTS} elements."
            )


def _features(mapping: Mapping[str, Any], name: str) -> Features:
    if not isinstance(mapping[name], list | tuple):
        raise TypeError(f"{name} is {type(mapping[name]).__name__}, expected a list of features")
    return features(Feature.from_dict(item) for item in mapping[name])


def _number(mapping: Mapping[str, Any], name: str, kind: Any) -> Any:
    value = mapping[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__} {one_line(value, 40)!r}, expected a number")
    return value
