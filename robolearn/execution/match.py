"""Whether a policy fits where it is to act: what it is fed, what it answers, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import FeatureError, LayoutError
from robolearn.core.feature import Feature, Features, require
from robolearn.core.meaning import meaning_difference, means_the_same
from robolearn.execution.policy_spec import PolicySpec
from robolearn.kinematics.conversion import Conversion, Mounted, conversion


@dataclass(frozen=True)
class Offer:
    """What an environment or a robot gives a policy, and takes from it.

    Attributes:
        name: for messages, such as "environment 'pusht'".
        action_feature: of one action that it takes.
        control_hz: at which it takes them; None where it follows a policy's own rate.
        mounted: where its arms stand, where that is known.
    """

    name: str
    observation_features: Features
    action_feature: Feature
    control_hz: float | None = None
    mounted: Sequence[Mounted] = ()


def check_match(spec: PolicySpec, offer: Offer, policy_name: str = "the policy") -> None:
    """Check that a policy is given what it was trained on, and that its actions are taken as they are.

    Raises FeatureError for what is missing or has another shape, and LayoutError for numbers of another meaning,
    whatever their names: it names the part and says which conversion would do.
    """
    _check_observed(spec, offer, policy_name)
    taken, given = offer.action_feature, spec.action_feature
    if (difference := meaning_difference(given, taken)) is not None:
        try:
            would = f"A conversion would do: {_conversion(spec, offer, None).description}."
        except LayoutError as error:
            would = str(error)
        raise LayoutError(f"Actions of {policy_name} are {difference[0]}; {offer.name} takes {difference[1]}. {would}")
    _require_alike({taken.name: taken}, {given.name: given}, offer.name, policy_name)
    _check_rate(spec, offer, policy_name)


def converted_match(
    spec: PolicySpec, offer: Offer, policy_name: str = "the policy", arm: str | None = None
) -> Conversion | None:
    """Like `check_match`, where actions of another layout are converted: how, or None where layouts are not known.

    `arm`: see `conversion`. Raises LayoutError with the reason where they cannot be.
    """
    if layout_of(spec.action_feature) is None or layout_of(offer.action_feature) is None:
        check_match(spec, offer, policy_name)
        return None
    _check_observed(spec, offer, policy_name)
    _check_rate(spec, offer, policy_name)
    try:
        return _conversion(spec, offer, arm)
    except LayoutError as error:
        raise LayoutError(f"{policy_name} cannot act in {offer.name}. {error}") from error


def _conversion(spec: PolicySpec, offer: Offer, arm: str | None) -> Conversion:
    source, target = layout_of(spec.action_feature), layout_of(offer.action_feature)
    assert source is not None and target is not None  # asked only where both are known
    return conversion(source, target, arm, mounted=offer.mounted, dt_s=1.0 / spec.control_hz)


def _check_observed(spec: PolicySpec, offer: Offer, policy_name: str) -> None:
    for name, want in spec.observation_features.items():
        have = offer.observation_features.get(name)
        if have is not None and (difference := meaning_difference(want, have, whose_poses=False)):
            raise LayoutError(
                f"{policy_name} was trained on {name!r} as {difference[0]}; {offer.name} gives {difference[1]}."
            )
    _require_alike(spec.observation_features, offer.observation_features, policy_name, offer.name)


def _require_alike(needed: Mapping[str, Feature], available: Mapping[str, Feature], needer: str, source: str) -> None:
    """`require`, where elements that mean the same may have other names."""
    alike = {name for name, want in needed.items() if name in available and means_the_same(want, available[name])}
    unnamed = {name: replace(f, names=None, layout=None) if name in alike else f for name, f in available.items()}
    require(needed, unnamed, needer, source)


def _check_rate(spec: PolicySpec, offer: Offer, policy_name: str) -> None:
    if offer.control_hz is not None and abs(spec.control_hz - offer.control_hz) > 1e-6 * offer.control_hz:
        raise FeatureError(
            f"{policy_name} was trained on actions at {spec.control_hz:g} Hz; {offer.name} takes them at "
            f"{offer.control_hz:g} Hz."
        )
