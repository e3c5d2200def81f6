"""`AnchoredPolicy`: a policy whose actions are relative to the newest observation, as one whose actions are absolute.

What a chunk is relative to is the observation it was computed from, whenever it arrives and however many of its actions
are used: both are brought together here, where both are at hand, and nothing further on has to remember it. With chunks
of four actions, of which two are used:

    observation   o0        o1        o2        o3
    asked for     A(o0)               B(o2)
    carried out   o0 + A0   o0 + A1   o2 + B0   o2 + B1
    told to B     executed: (o0 + A0) - o2, (o0 + A1) - o2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.feature import Feature
from robolearn.execution.policy import ActingPolicy
from robolearn.execution.policy_spec import PolicySpec
from robolearn.kinematics.observed import ObservedReference, relative_to_observation


class AnchoredPolicy:
    """See the module's text and `ActingPolicy`.

    Attributes:
        policy: that answers, with actions relative to the newest observation.
        spec: its own, with absolute actions.

    Raises LayoutError where its observations do not say what its actions are relative to.
    """

    def __init__(self, policy: ActingPolicy):
        self.policy = policy
        self.spec = anchored_spec(policy.spec)
        self._reference = _reference(policy.spec)

    def predict_chunk(
        self,
        observations: Mapping[str, np.ndarray],
        goal: Any = None,
        executed: np.ndarray | None = None,
        generator: Any = None,
    ) -> np.ndarray:
        """(action_horizon, A) absolute actions, by what was measured in the newest of `observations`."""
        newest = self._newest(observations)
        if newest is None:  # the policy says what is wrong with them
            return self.policy.predict_chunk(observations, goal, executed, generator)
        if executed is not None and np.shape(executed)[1:] == self.spec.action_feature.shape:
            executed = self.spec.action_feature.numbers(self._reference.to_relative(executed, newest))
        chunk = self.policy.predict_chunk(observations, goal, executed, generator)
        if np.shape(chunk)[1:] != self.spec.action_feature.shape:
            return chunk  # no actions: for who asked to say
        return self.spec.action_feature.numbers(self._reference.to_absolute(chunk, newest))

    def _newest(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        found = {}
        for name in self._reference.needs:
            window = np.asarray(observations.get(name, ()))
            if window.ndim != 2 or not len(window) or window.shape[1:] != self.spec.observation_features[name].shape:
                return None
            found[name] = window[-1]
        return found


def anchored(policy: ActingPolicy) -> ActingPolicy:
    """The policy itself, or, where its actions are relative to the newest observation, with absolute ones."""
    return AnchoredPolicy(policy) if relative_to_observation(layout_of(policy.spec.action_feature)) else policy


def anchored_spec(spec: PolicySpec) -> PolicySpec:
    """The spec of `anchored(policy)`."""
    feature = spec.action_feature
    if not relative_to_observation(layout_of(feature)):
        return spec
    absolute = Feature(
        feature.name, feature.shape, feature.dtype, feature.kind, rate_hz=feature.rate_hz,
        layout=_reference(spec).absolute,
    )  # fmt: skip
    return replace(spec, action_feature=absolute)


def trained_spec(policy: ActingPolicy) -> PolicySpec:
    """The spec that a policy was trained with, of one from `anchored`, too."""
    return policy.policy.spec if isinstance(policy, AnchoredPolicy) else policy.spec


def described_actions(policy: ActingPolicy) -> str | None:
    """One line: what the actions of a policy from `anchored` mean, and what was made absolute; None where unknown."""
    trained, layout = layout_of(trained_spec(policy).action_feature), layout_of(policy.spec.action_feature)
    if layout is None or trained is None:
        return None
    if not isinstance(policy, AnchoredPolicy):
        return f"actions: {layout.describe()}"
    return f"actions: {layout.describe()}, made absolute with the observation of their chunk from {trained.describe()}"


def _reference(spec: PolicySpec) -> ObservedReference:
    layout = layout_of(spec.action_feature)
    assert layout is not None  # asked only where one says what actions are relative to
    return ObservedReference(layout, spec.observation_features)
