import dataclasses
import datetime

import numpy as np
import pytest

from robolearn.core.errors import FeatureError, ServerError
from robolearn.core.feature import Feature, features
from robolearn.execution.chunk import actions_of, infer_ms, predicted_actions
from robolearn.execution.policy_spec import PolicySpec

SPEC = PolicySpec(features([Feature("observation.state", (10,))]), Feature("action", (10,), kind="action"), 2, 8, 20.0)
GOOD = np.ones((8, 10))


@pytest.mark.parametrize(
    ("shape", "names", "words"),
    [
        ((2,), ("x", "y"), "non-finite action (nan at y, action 3 of the chunk)"),
        ((2,), None, "non-finite action (nan at element 1, action 3 of the chunk)"),
        ((1, 2), None, "non-finite action (nan at element 0, 1, action 3 of the chunk)"),
    ],
)
def test_a_non_finite_action_is_named_by_its_element(shape, names, words):
    spec = dataclasses.replace(SPEC, action_feature=Feature("action", shape, names=names))
    predicted = np.zeros((8, *shape))
    predicted[3, ..., 1] = np.nan
    with pytest.raises(FeatureError) as caught:
        predicted_actions(predicted, spec)
    assert words in str(caught.value)


def test_a_predicted_chunk_of_another_shape_names_both():
    with pytest.raises(FeatureError, match=r"predicted actions of shape \(7, 10\), expected \(8, 10\)"):
        predicted_actions(np.zeros((7, 10)), SPEC)


def test_a_chunk_is_a_copy_in_the_dtype_of_the_policy():
    given = GOOD.copy()
    found = actions_of({"actions": given}, SPEC)
    given[:] = 5
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.ones((8, 10), np.float32))


def test_fractions_and_nan_never_become_whole_numbers():
    counts = dataclasses.replace(SPEC, action_feature=dataclasses.replace(SPEC.action_feature, dtype="int64"))
    np.testing.assert_array_equal(actions_of({"actions": np.full((8, 10), 0.75)}, counts), np.full((8, 10), 0.75))
    with pytest.raises(ServerError, match="not finite"):
        actions_of({"actions": np.full((8, 10), np.nan)}, counts)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ("left", "are str, expected an array of numbers of shape (8, 10)"),
        ([[0.0] * 10] * 8, "are list, expected an array"),
        (datetime.datetime(2026, 1, 1), "are datetime, expected an array"),
        (np.full((8, 10), "left"), "are an array of <U4, expected an array of numbers"),
        (np.full((8, 10), "2026-01-01", "datetime64[D]"), "are an array of datetime64[D]"),
        (np.ones((8, 10), bool), "are an array of bool"),
        (np.ones((400_000, 10), np.float32), "have shape (400000, 10), expected (8, 10)"),
        (np.ones((8, 9)), "have shape (8, 9), expected (8, 10)"),
        (np.ones(10), "have shape (10,), expected (8, 10)"),
        (np.full((8, 10), np.nan), "are not finite (80 of 80 numbers)"),
        (np.where(np.eye(8, 10) > 0, 1e39, 0.0), "are not finite (8 of 80 numbers)"),  # more than a float32 holds
    ],
)
def test_what_is_no_chunk_is_refused_by_name(actions, words):
    with pytest.raises(ServerError) as caught:
        actions_of({"actions": actions}, SPEC)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (None, "'policy_timing' is missing"),
        (np.ones(3), "'policy_timing' is ndarray, expected a map with 'infer_ms'"),
        ({}, "an 'infer_ms' that is missing"),
        ({"infer_ms": "fast"}, "an 'infer_ms' that is str fast"),
        ({"infer_ms": np.ones(2)}, "an 'infer_ms' that is ndarray"),
        ({"infer_ms": float("nan")}, "an 'infer_ms' that is float nan"),
    ],
)
def test_a_timing_that_is_no_number_is_refused_by_name(timing, words):
    with pytest.raises(ServerError) as caught:
        infer_ms({"policy_timing": timing}, "policy_timing")
    assert words in str(caught.value)
