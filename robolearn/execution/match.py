"""Whether a policy fits where it is to act: what it is fed, what it answers, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature, Features, require
from robolearn.execution.policy_spec import PolicySpec


@dataclass(frozen=True)
class Offer:
    """What an environment or a robot gives a policy, and takes from it.

    Attributes:
        name: for messages, such as "environment 'pusht'".
        action_feature: of one action that it takes.
        control_hz: at which it takes them; None where it follows a policy's own rate.
    """

    name: str
    observation_features: Features
    action_feature: Feature
    control_hz: float | None = None


def check_match(spec: PolicySpec, offer: Offer, policy_name: str = "the policy") -> None:
    """Raise FeatureError where what a policy was trained on is not given, or other actions than its own are taken."""
    require(spec.observation_features, offer.observation_features, policy_name, offer.name)
    taken, given = offer.action_feature, spec.action_feature
    require({taken.name: taken}, {given.name: given}, offer.name, policy_name)
    if offer.control_hz is not None and abs(spec.control_hz - offer.control_hz) > 1e-6 * offer.control_hz:
        raise FeatureError(
            f"{policy_name} was trained on actions at {spec.control_hz:g} Hz; {offer.name} takes them at "
            f"{offer.control_hz:g} Hz."
        )
