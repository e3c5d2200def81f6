import dataclasses

import pytest

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature, features
from robolearn.execution.match import Offer, check_match
from robolearn.execution.policy_spec import PolicySpec

STATE, ACTION = Feature("observation.state", (3,)), Feature("action", (2,), names=("x", "y"))
SPEC = PolicySpec(features([STATE]), ACTION, 2, 8, 20.0)
OFFER = Offer("environment 'e'", features([STATE, Feature("observation.more", (1,))]), ACTION, 20.0)


def test_more_may_be_offered_than_is_needed_and_a_rate_is_asked_for_only_where_there_is_one():
    check_match(SPEC, OFFER)
    check_match(dataclasses.replace(SPEC, control_hz=5.0), dataclasses.replace(OFFER, control_hz=None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation_features": features([])}, "policy 'p' needs feature 'observation.state', which env"),
        ({"action_feature": Feature("action", (3,))}, r"environment 'e' expects .* \(3,\); policy 'p' gives .* \(2,\)"),
        ({"action_feature": Feature("action", (2,), "float64")}, "of dtype float64; policy 'p' gives dtype float32"),
        ({"action_feature": Feature("action", (2,), names=("y", "x"))}, r"to be \['y', 'x'\]; policy 'p' gives \['x'"),
        ({"control_hz": 10.0}, "policy 'p' was trained on actions at 20 Hz; environment 'e' takes them at 10 Hz"),
    ],
)  # fmt: skip
def test_what_does_not_fit_names_both_sides(change, words):
    with pytest.raises(FeatureError, match=words):
        check_match(SPEC, dataclasses.replace(OFFER, **change), "policy 'p'")
