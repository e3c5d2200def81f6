import json
import warnings

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import FeatureError, LayoutError
from robolearn.core.feature import Feature, features, require

STATE = Feature("observation.state", (3,), names=("x", "y", "z"), unit="m", frame="base", rate_hz=20.0)
IMAGE = Feature("observation.images.front", (4, 4, 3), "uint8", "image")


def test_a_matching_value_is_returned_as_it_is():
    value = np.ones(3, np.float32)
    assert STATE.check(value) is value


def test_doubles_are_converted_to_the_declared_float():
    assert STATE.check([0.5, 1.0, 2.0]).dtype == np.float32


def test_a_wrong_shape_is_named_with_both_shapes():
    with pytest.raises(FeatureError) as error:
        STATE.check(np.zeros(4, np.float32), where="record")
    assert str(error.value) == "record: feature 'observation.state' has shape (4,), expected (3,)."


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(FeatureError, match=r"record: feature 'observation\.state' is ragged, expected shape \(3,\)"):
        STATE.check([[0.5], [1.0, 2.0]], where="record")


def test_floats_do_not_become_pixels():
    with pytest.raises(FeatureError, match=r"holds int64 numbers that int8 cannot hold"):
        Feature("a", (2,), "int8").check(np.array([1, 300]))
    with pytest.raises(FeatureError, match=r"has dtype float64, expected uint8"):
        IMAGE.check(np.zeros((4, 4, 3)))


def test_of_many_samples_the_first_number_that_is_lost_is_named():
    with pytest.raises(FeatureError, match=r"step data: feature 'a' holds .* int8 cannot hold: 300 at \[2, 1\]"):
        Feature("a", (2,), "int8").cast(np.array([[1, 2], [3, 4], [5, 300]]), "step data")
    assert STATE.cast(np.ones((5, 3)), "rows").dtype == np.float32


def test_a_number_too_large_for_the_float_type_is_not_called_infinite():
    feature = Feature("observation.state", (2,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FeatureError, match="holds float64 numbers that float32 cannot hold"):
            feature.check([0.0, 1e300])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_its_element(bad):
    with pytest.raises(FeatureError, match=rf"non-finite value \({bad}\) at y"):
        STATE.check(np.array([0, bad, 0], np.float32))


@pytest.mark.parametrize("feature", [STATE, IMAGE])
def test_a_feature_survives_json(feature):
    assert Feature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape": (2,), "names": ("x",)}, "one per element"),
        ({"shape": (0,)}, "at least 1"),
        ({"shape": (1,), "kind": "smell"}, "expected one of"),
        ({"shape": (1,), "dtype": "float33"}, "expected a numpy dtype"),
    ],
)
def test_a_feature_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(FeatureError, match=message):
        Feature("observation.state", **fields)


@pytest.mark.parametrize(
    "mapping",
    [
        {"name": "a"},
        {"name": "a", "shape": [1], "colour": "red"},
        {"name": "a", "shape": 3},
        {"name": "a", "shape": ["wide"]},
    ],
)
def test_a_mapping_that_describes_no_feature_is_refused(mapping):
    with pytest.raises(FeatureError, match="does not describe a feature"):
        Feature.from_dict(mapping)


def test_a_feature_declared_twice_is_refused():
    with pytest.raises(FeatureError, match=r"'observation\.state' is declared twice"):
        features([STATE, STATE])


def test_require_accepts_more_than_is_needed():
    require({STATE.name: STATE}, features([STATE, IMAGE]), "the policy", "the robot")


def test_require_names_a_missing_feature_and_the_closest():
    with pytest.raises(FeatureError) as error:
        require({"observation.images.frnt": IMAGE}, features([STATE, IMAGE]), "the policy", "the robot")
    assert str(error.value) == (
        "the policy needs feature 'observation.images.frnt', which the robot lacks. The closest is "
        "'observation.images.front'. It has: observation.images.front, observation.state."
    )


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Feature(STATE.name, (4,)), r"of shape \(3,\); the robot gives shape \(4,\)"),
        (Feature(STATE.name, (3,), "float64"), "of dtype float32; the robot gives dtype float64"),
        (Feature(STATE.name, (3,), names=("z", "y", "x")), r"to be \['x', 'y', 'z'\]; the robot gives \['z'"),
    ],
)
def test_require_names_what_differs(found, message):
    with pytest.raises(FeatureError, match=message):
        require({STATE.name: STATE}, {found.name: found}, "the policy", "the robot")


def test_a_window_of_steps_has_no_names_whether_or_not_a_layout_gave_them():
    state = Feature("observation.state", (10,), layout=ActionLayout((Part("pose"), Part("gripper"))))
    window = state.window(3)
    assert window == Feature("observation.state", (3, 10))
    assert window.check(np.zeros((3, 10))).shape == (3, 10)


def test_a_layout_that_cannot_be_read_names_its_feature():
    with pytest.raises(LayoutError, match="The feature 'action': 7 does not describe an action"):
        Feature.from_dict({"name": "action", "shape": [3], "kind": "action", "layout": 7})
