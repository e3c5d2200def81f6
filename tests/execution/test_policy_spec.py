import contextlib
import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.execution.policy_spec import PolicySpec

STATE, ACTION = Feature("observation.state", (10,)), Feature("action", (10,), kind="action")
SPEC = PolicySpec(features([STATE]), ACTION, 2, 8, 20.0, features([STATE]), 1)


def test_a_spec_reads_back_equal_and_skips_entries_of_a_newer_version():
    assert PolicySpec.from_dict({**SPEC.to_dict(), "mood": "good"}) == SPEC


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=6)
    | st.just(datetime.datetime(2026, 1, 1)) | st.just(np.ones(3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "shape", "dtype"]), inner),
    max_leaves=5,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(SPEC.to_dict())), anything, max_size=3) | anything)
def test_whatever_a_server_sends_is_a_spec_or_an_error_of_four_kinds(sent):
    written = {**SPEC.to_dict(), **sent} if isinstance(sent, dict) else sent
    with contextlib.suppress(KeyError, TypeError, ConfigError, FeatureError):
        PolicySpec.from_dict(written).check_size()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"obs_horizon": 10**9}, "obs_horizon is 1000000000, .* MiB of data; expected at most 10000"),
        ({"action_horizon": 20_000}, "action_horizon is 20000"),
        ({"goal_horizon": 20_000}, "goal_horizon is 20000"),
        ({"observation_features": [{"name": "x", "shape": [100_000, 100_000]}]}, "obs_horizon is 2, 7.63e.04 MiB"),
        (
            {"action_feature": {"name": "action", "shape": [20_000], "kind": "action"}},
            "expected at most 10000 elements",
        ),
        ({"observation_features": [{"name": "x", "shape": [2], "dtype": "datetime64[s]"}]}, r"'x' \(datetime64\[s\]\)"),
        ({"observation_features": [{"name": "x", "shape": [2] * 9}]}, "'x' has more than 8 axes"),
        ({"control_hz": 1e-300}, "control_hz must be positive, from 0.001 to 100000; found 1e-300"),
    ],
)
def test_a_spec_that_would_cost_its_reader_too_much_is_refused_by_name(change, words):
    with pytest.raises(ConfigError, match=words):
        PolicySpec.from_dict({**SPEC.to_dict(), **change}).check_size()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation_features": "all"}, "observation_features is str, expected a list of features"),
        ({"observation_features": [7]}, "7 does not describe a feature: expected a map"),
        ({"observation_features": [{"name": 7, "shape": [1]}]}, "its name is int, expected text"),
        ({"observation_features": [{"name": "x", "shape": [1], "names": [3]}]}, "its names are not all text"),
        ({"action_feature": {"name": "x", "shape": [1], "dtype": "f" * 600_000}}, "expected a numpy dtype"),
        ({"obs_horizon": "two"}, "obs_horizon is str 'two', expected a number"),
        ({"obs_horizon": True}, "obs_horizon is bool"),
    ],
)
def test_a_spec_of_wrong_types_is_refused_by_name(change, words):
    with pytest.raises((TypeError, FeatureError), match=words) as caught:
        PolicySpec.from_dict({**SPEC.to_dict(), **change})
    assert len(str(caught.value)) < 500
