"""The policy contract: a loss on batches of windows, and a pure function from observations to an action chunk."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError, FeatureError, closest
from robolearn.core.feature import Feature
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.noise import Noise
from robolearn.policies.observation import ObservationEncoder, affine, flat_steps

IS_PAD = ".is_pad"


@dataclass(frozen=True)
class Context:
    """What actions are predicted from, encoded and normalised, for B windows at their newest step t.

    Attributes:
        observation: (B, W, D) of steps t-W+1..t.
        goal: (B, G, Dg), or None where none is given.
        executed: (B, W-1, A) actions of steps t-W+1..t-1; 0 where they are not known.
        known: (B, W-1) bool; False for steps before the episode began.
    """

    observation: Tensor
    goal: Tensor | None
    executed: Tensor
    known: Tensor


class Policy(nn.Module, abc.ABC):
    """Base of all policies.

    A training window of `obs_horizon` W and `action_horizon` H has W observations at steps t-W+1..t and W-1+H
    actions at steps t-W+1..t+H-1. A raw batch holds `<feature>` (B, W, *shape), as uint8 for images, `action`
    (B, W-1+H, *shape), `action.is_pad` (B, W-1+H) bool (steps outside the episode, which repeat its ends), and for
    goal-conditioned policies `goal.<feature>` (B, G, *shape). Numbers far from 0 come without their
    `normalizer.shift`, which `predict_chunk` takes off observations and puts on actions.

    Args:
        config: the policy's own dataclass.
        spec: features and horizons.
        normalizer: statistics of the training data; part of the checkpoint.

    Attributes:
        obs_dim, goal_dim, action_dim: D, Dg (0 without goals), A.
    """

    Config: ClassVar[type]
    SAMPLING: ClassVar[tuple[str, ...]] = ()
    """Fields of the configuration that only change how actions are sampled, not what is learned."""

    _action_scale: Tensor
    _action_offset: Tensor

    def __init__(self, config: Any, spec: PolicySpec, normalizer: Normalizer):
        super().__init__()
        self.config = config
        self.spec = spec
        self.normalizer = normalizer
        if not spec.observation_features:
            raise ConfigError(f"Policy {type(self).__name__} needs at least one feature in --policy.observations.")
        self.encoder = ObservationEncoder(
            {**spec.goal_features, **spec.observation_features}, normalizer, getattr(config, "vision", None)
        )
        self.obs_dim = self.encoder.dim(spec.observation_features)
        self.goal_dim = self.encoder.dim(spec.goal_features)
        self.action_dim = int(np.prod(spec.action_feature.shape))
        for part, vector in affine(normalizer, spec.action_feature).items():
            self.register_buffer(f"_action_{part}", vector, persistent=False)

    @abc.abstractmethod
    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Training loss of a raw batch, the mean over its rows. All randomness but dropout comes from `noise`."""

    @abc.abstractmethod
    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        """(B, H, A) normalised actions of steps t..t+H-1."""

    def prepared(self) -> Self:
        """This policy for acting alone: the same answers, sooner where weights can be brought into a form for that.

        Such a form is a copy, of the weights as they are now: ask again when they have changed. A policy without one,
        as most are, is its own.
        """
        return self

    def context(self, batch: Mapping[str, Tensor]) -> Context:
        """What a raw batch, or observations alone, give to predict from."""
        observation = self.encoder(batch, self.spec.observation_features)
        goal, names = None, self.spec.goal_features
        missing = [name for name in names if f"goal.{name}" not in batch]
        if missing and len(missing) < len(names):
            raise FeatureError(
                f"A goal needs all its features ({', '.join(names)}), found none of {', '.join(missing)}; "
                "give all, or none for no goal."
            )
        if self.spec.goal_horizon and not missing:
            goal = self.encoder(batch, self.spec.goal_features, prefix="goal.")
        past, name = self.spec.obs_horizon - 1, self.spec.action_feature.name
        if past == 0 or name not in batch:
            executed = observation.new_zeros(len(observation), past, self.action_dim)
            return Context(observation, goal, executed, torch.zeros_like(executed[..., 0], dtype=torch.bool))
        known = ~batch[name + IS_PAD][:, :past]
        return Context(observation, goal, self.actions(batch)[:, :past] * known[..., None], known)

    def actions(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Normalised actions of a batch, (B, W-1+H, A)."""
        actions = flat_steps(batch[self.spec.action_feature.name])
        return actions * self._action_scale + self._action_offset

    def future(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Normalised actions from the newest observation on, (B, H, A)."""
        return self.actions(batch)[:, self.spec.obs_horizon - 1 :]

    def needed_goal(self, context: Context) -> Tensor | None:
        """The goal of a policy that cannot act without one; None for a goal-free policy.

        Raises FeatureError when the policy was trained with goals and none is given.
        """
        if self.spec.goal_horizon and context.goal is None:
            raise FeatureError(
                f"This policy needs a goal ({', '.join(self.spec.goal_features)}, {self.spec.goal_horizon} steps), "
                "found none; give one, as `robolearn eval --goals DATASET.zarr` does."
            )
        return context.goal

    @torch.inference_mode()
    def predict(self, batch: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Tensor:
        """(B, H, A) actions of a raw batch, in the units of the action feature, without its shift as the batch is."""
        actions = self.sample(self.context(batch), generator)
        return (actions.to(torch.float32) - self._action_offset) / self._action_scale

    def predict_chunk(
        self,
        observations: Mapping[str, np.ndarray],
        goal: Mapping[str, np.ndarray] | None = None,
        executed: np.ndarray | None = None,
        generator: torch.Generator | None = None,
    ) -> np.ndarray:
        """Actions for the steps from the newest observation on. A pure function of its arguments.

        Args:
            observations: feature name -> (obs_horizon, *shape), newest last.
            goal: feature name -> (goal_horizon, *shape), for goal-conditioned policies; None = no goal.
            executed: (P, *shape) actions executed before the newest observation, the latest last; the last
                obs_horizon - 1 are used, fewer are taken as the beginning of an episode.
            generator: source of all randomness; None = torch's global one.

        Returns:
            (action_horizon, *shape), in the units of the action feature and its dtype, at least float32.

        Raises FeatureError for missing features, wrong shapes or non-finite numbers.
        """
        spec, device = self.spec, self._action_scale.device
        batch = self._tensors(observations, spec.observation_features, spec.obs_horizon, "observation", device)
        if goal is not None and not spec.goal_horizon:
            raise FeatureError("This policy takes no goal, but one was given; train one with --policy.goals FEATURE.")
        if goal is not None:
            goals = self._tensors(goal, spec.goal_features, spec.goal_horizon, "goal", device)
            batch |= {f"goal.{name}": value for name, value in goals.items()}
        if executed is not None and spec.obs_horizon > 1:
            batch |= self._executed(executed, device)
        chunk = self.predict(batch, generator)[0].cpu().numpy().reshape(spec.action_horizon, *spec.action_feature.shape)
        return self.normalizer.unshifted(spec.action_feature, chunk)

    def _executed(self, executed: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """Executed actions as the batch entries `context` reads."""
        feature, past = self.spec.action_feature, self.spec.obs_horizon - 1
        array = _array(executed, "executed actions")
        fits = array.shape[1:] == feature.shape and array.ndim and array.dtype.kind in "fiub"
        recent = self.normalizer.shifted(feature.name, array[-past:]) if fits else None
        if recent is None or not np.isfinite(recent).all():
            shape = ", ".join(map(str, ("steps", *feature.shape)))
            raise FeatureError(
                f"The policy expects executed actions of shape ({shape}) and finite numbers, "
                f"found shape {array.shape} and dtype {array.dtype}."
            )
        missing = past - len(recent)
        known = np.concatenate([np.zeros((missing, *feature.shape), np.float32), recent])
        return {
            feature.name: torch.from_numpy(known)[None].to(device),
            feature.name + IS_PAD: (torch.arange(past, device=device) < missing)[None],
        }

    def _tensors(
        self,
        values: Mapping[str, np.ndarray],
        features: Mapping[str, Feature],
        horizon: int,
        what: str,
        device: torch.device,
    ) -> dict[str, Tensor]:
        """Checked observations or goals of one episode as a batch of one row."""
        tensors = {}
        for name, feature in features.items():
            if name not in values:
                guess, given = closest(name, values), ", ".join(values) or "nothing"
                hint = f" The closest is {guess!r}." if guess else ""
                raise FeatureError(f"The policy needs feature {name!r} in its {what}; it got: {given}.{hint}")
            array = _array(values[name], f"{what} {name!r}")
            if array.dtype.kind not in "fiub" or (feature.kind == "image" and array.dtype != np.uint8):
                wanted = "uint8 pixels" if feature.kind == "image" else "numbers"
                raise FeatureError(f"The policy expects {what} {name!r} as {wanted}, found dtype {array.dtype}.")
            if array.shape != (horizon, *feature.shape):
                raise FeatureError(
                    f"The policy expects {what} {name!r} of shape {(horizon, *feature.shape)} "
                    f"(time first), found {array.shape}."
                )
            if feature.kind != "image":
                array = self.normalizer.shifted(name, array)
            if not np.isfinite(array).all():
                raise FeatureError(f"The {what} {name!r} holds non-finite numbers.")
            tensors[name] = torch.from_numpy(np.ascontiguousarray(array))[None].to(device)
        return tensors


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise FeatureError(f"The policy expects {what} as numbers, found rows of unequal length.") from error
