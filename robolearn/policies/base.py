"""The policy contract: a loss on batches of windows, and a pure function from observations to an action chunk."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.datasets.normalizer import Normalizer
from robolearn.policies.spec import PolicySpec


class Policy(nn.Module, abc.ABC):
    """Base of all policies on vector observations.

    A training window of `obs_horizon` W and `action_horizon` H has W observations at steps t-W+1..t and
    W-1+H actions at steps t-W+1..t+H-1. Inside a policy everything is normalised and concatenated:
    observations (B, W, D), actions (B, W-1+H, A), goals (B, G, D).

    Args:
        config: the policy's own dataclass.
        spec: features and horizons.
        normalizer: statistics of the training data; part of the checkpoint.
    """

    Config: ClassVar[type]
    _obs_scale: Tensor
    _obs_offset: Tensor
    _action_scale: Tensor
    _action_offset: Tensor

    def __init__(self, config: Any, spec: PolicySpec, normalizer: Normalizer):
        super().__init__()
        self.config = config
        self.spec = spec
        self.normalizer = normalizer
        for feature in spec.observation_features.values():
            if feature.kind != "state":
                raise ConfigError(
                    f"Policy {type(self).__name__} reads vector observations; {feature.name!r} is of kind "
                    f"{feature.kind!r}. Leave it out of --policy.observations."
                )
        names = list(spec.observation_features)
        if not names:
            raise ConfigError(f"Policy {type(self).__name__} needs at least one feature in --policy.observations.")
        self.obs_dim = sum(int(np.prod(f.shape)) for f in spec.observation_features.values())
        self.action_dim = int(np.prod(spec.action_feature.shape))
        for buffer, table in (("scale", normalizer.scale), ("offset", normalizer.offset)):
            vector = np.concatenate([np.ravel(table[n]) for n in names]).astype(np.float32)
            self.register_buffer(f"_obs_{buffer}", torch.from_numpy(vector), persistent=False)
            action = np.ravel(table[spec.action_feature.name]).astype(np.float32)
            self.register_buffer(f"_action_{buffer}", torch.from_numpy(action), persistent=False)

    @property
    def goal_horizon(self) -> int:
        """How many future observations form the goal; 0 = the policy takes no goal."""
        return 0

    @abc.abstractmethod
    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Scalar training loss of a batch of raw (not normalised) windows keyed by feature name.

        With a goal-conditioned policy the batch also holds `goal.<feature>` (B, G, *shape).
        """

    @abc.abstractmethod
    def sample(
        self, observation: Tensor, goal: Tensor | None, prefix: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """(B, W, D) observations [, (B, G, D) goals, (B, P, A) executed actions] -> (B, H, A), all normalised."""

    def observation_vector(self, values: Mapping[str, Tensor], prefix: str = "") -> Tensor:
        """Concatenate and normalise: feature name -> (B, T, *shape) becomes (B, T, D)."""
        parts = [values[prefix + n].flatten(2) for n in self.spec.observation_features]
        return torch.cat(parts, dim=-1) * self._obs_scale + self._obs_offset

    def action_vector(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Normalised actions of a batch, (B, W-1+H, A)."""
        return batch[self.spec.action_feature.name].flatten(2) * self._action_scale + self._action_offset

    @torch.inference_mode()
    def predict_chunk(
        self,
        observations: Mapping[str, np.ndarray],
        goal: Mapping[str, np.ndarray] | None = None,
        prefix: np.ndarray | None = None,
        generator: torch.Generator | None = None,
    ) -> np.ndarray:
        """Actions for the steps from the newest observation on. A pure function of its arguments.

        Args:
            observations: feature name -> (obs_horizon, *shape), newest last.
            goal: feature name -> (goal_horizon, *shape), for goal-conditioned policies; None = no goal.
            prefix: (up to obs_horizon - 1, action_dim) actions executed before the newest observation.
            generator: source of all randomness; None = torch's global one.

        Returns:
            (action_horizon, action_dim) float32, in the units of the action feature.

        Raises FeatureError for missing features, wrong shapes or non-finite numbers.
        """
        observation = self._to_vector(observations, self.spec.obs_horizon, "observation")
        if goal is not None and self.goal_horizon == 0:
            raise FeatureError("This policy takes no goal, but one was given; train with --policy.goal-horizon 1.")
        target = None if goal is None else self._to_vector(goal, self.goal_horizon, "goal")
        executed = None
        if prefix is not None and len(prefix) and self.spec.obs_horizon > 1:
            recent = np.asarray(prefix, dtype=np.float32)[-(self.spec.obs_horizon - 1) :]
            if recent.shape[1:] != (self.action_dim,) or not np.isfinite(recent).all():
                raise FeatureError(
                    f"The policy expects executed actions of shape (steps, {self.action_dim}) and finite numbers, "
                    f"found shape {np.shape(prefix)}."
                )
            executed = torch.from_numpy(recent)[None].to(self._action_scale) * self._action_scale + self._action_offset
        actions = self.sample(observation, target, executed, generator)
        actions = (actions - self._action_offset) / self._action_scale
        return actions[0].to(torch.float32).cpu().numpy()

    def _to_vector(self, values: Mapping[str, np.ndarray], horizon: int, what: str) -> Tensor:
        tensors = {}
        for name, feature in self.spec.observation_features.items():
            if name not in values:
                raise FeatureError(f"The policy needs feature {name!r} in its {what}; it got: {', '.join(values)}.")
            array = np.asarray(values[name])
            if array.dtype.kind not in "fiub":
                raise FeatureError(f"The policy expects {what} {name!r} as numbers, found dtype {array.dtype}.")
            if array.shape != (horizon, *feature.shape):
                raise FeatureError(
                    f"The policy expects {what} {name!r} of shape {(horizon, *feature.shape)} "
                    f"(time first), found {array.shape}."
                )
            if not np.isfinite(array).all():
                raise FeatureError(f"The {what} {name!r} holds non-finite numbers.")
            tensors[name] = torch.from_numpy(array.astype(np.float32))[None].to(self._obs_scale.device)
        return self.observation_vector(tensors)
