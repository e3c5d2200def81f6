import dataclasses
import re

import pytest

from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import FeatureError, LayoutError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import POSE_NAMES
from robolearn.execution.match import Offer, check_match, converted_match
from robolearn.execution.policy_spec import PolicySpec

STATE, ACTION = Feature("observation.state", (3,)), Feature("action", (2,), names=("x", "y"))
SPEC = PolicySpec(features([STATE]), ACTION, 2, 8, 20.0)
OLD = Feature("action", (10,), kind="action", names=(*POSE_NAMES, "gripper"))
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


class Panda:
    prefix, robot_name, joint_names, has_gripper, free = "", "panda", tuple(f"joint{i}" for i in range(1, 8)), True, ""


class UR(Panda):
    robot_name, joint_names = "ur5e", ("a", "b", "c", "d", "e", "f")


class LeftPanda(Panda):
    prefix = "left"


class RightPanda(Panda):
    prefix = "right"


def actions(text: str, *arms: Panda) -> Feature:
    layout = Dialect.parse(text).layout(arms or (Panda(),))
    return Feature("action", (layout.size,), kind="action", layout=layout)


def pair(given: Feature, taken: Feature) -> tuple[PolicySpec, Offer]:
    return dataclasses.replace(SPEC, action_feature=given), dataclasses.replace(OFFER, action_feature=taken)


@pytest.mark.parametrize(
    ("given", "taken", "words"),
    [
        (actions("robosuite"), actions("pose.current.axis_angle"), "Actions of policy 'p' are pose relative to the "
         "current one (base axes, axis_angle, scaled, within -1 to 1); environment 'e' takes pose relative to the "
         "current one (base axes, axis_angle). A conversion would do: actions are converted: (panda): pose relative"),
        (actions("pose.current"), actions("pose.target"), "are pose relative to the current one (base axes, rot6d); "
         "environment 'e' takes pose relative to the last target (base axes, rot6d). A conversion would do"),
        (actions("pose.current"), actions("pose.current.tool"), "environment 'e' takes pose relative to the current "
         "one (tool axes, rot6d)"),
        (actions("joints"), actions("pose", LeftPanda(), RightPanda()), "are joints; environment 'e' takes left pose "
         "(rot6d). Actions are of one arm, taken are those of the arms ['left', 'right']. Say with --arm which one"),
        (OLD, actions("joints"), "are pose (rot6d)"),
    ],
)  # fmt: skip
def test_actions_of_another_meaning_are_refused_whatever_their_names(given, taken, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        check_match(*pair(given, taken), "policy 'p'")


def test_what_was_written_before_layouts_fits_what_means_the_same():
    check_match(*pair(OLD, actions("pose")))
    check_match(*pair(actions("pose"), OLD))
    moved = Feature("action", (2,), kind="action", names=("dx", "dy"), unit="m", frame="world")
    check_match(*pair(moved, dataclasses.replace(moved, names=("x", "y"))))  # two names for one meaning


def test_observed_numbers_of_another_meaning_are_refused():
    seen, given = (dataclasses.replace(actions(text), kind="state", name="s") for text in ("pose", "pose.quaternion"))
    spec = dataclasses.replace(SPEC, observation_features=features([seen]))
    with pytest.raises(
        LayoutError, match=re.escape("was trained on 's' as pose (rot6d); environment 'e' gives pose (q")
    ):
        check_match(spec, dataclasses.replace(OFFER, observation_features=features([given])))


def seen_by(text: str, *arms: Panda) -> Feature:
    return dataclasses.replace(actions(text, *arms), kind="state", name="s")


def test_poses_are_observed_alike_by_every_robot_and_joints_are_not():
    class LikePanda(Panda):
        robot_name = "fr3"

    spec, offer = pair(actions("pose"), actions("pose", UR()))
    spec = dataclasses.replace(spec, observation_features=features([seen_by("pose")]))
    offer = dataclasses.replace(offer, observation_features=features([seen_by("pose", UR())]))
    assert converted_match(spec, offer).description.endswith("that are meant for the robot panda are those of ur5e")
    joints = dataclasses.replace(spec, observation_features=features([seen_by("joints")]))
    with pytest.raises(LayoutError, match="was trained on 's' as robot 'panda'; environment 'e' gives robot 'fr3'"):
        converted_match(
            joints, dataclasses.replace(offer, observation_features=features([seen_by("joints", LikePanda())]))
        )


def test_a_conversion_is_found_where_there_is_one():
    assert converted_match(*pair(actions("pose"), actions("pose"))).identity
    with pytest.raises(LayoutError, match="made absolute first"):
        converted_match(*pair(actions("umi"), actions("joints")))
    plan = converted_match(*pair(actions("pose"), actions("pose", LeftPanda(), RightPanda())), arm="left")
    assert plan.description.endswith("the arm 'right' holds its last target")
    assert converted_match(SPEC, OFFER) is None  # nothing says what the numbers mean


def test_where_there_is_no_conversion_the_reason_is_said():
    words = "policy 'p' cannot act in environment 'e'. joints of the robot panda cannot be converted for the robot ur5e"
    with pytest.raises(LayoutError, match=re.escape(words)):
        converted_match(*pair(actions("joints"), actions("joints", UR())), "policy 'p'")
    with pytest.raises(FeatureError, match="trained on actions at 5 Hz"):
        converted_match(dataclasses.replace(SPEC, control_hz=5.0), OFFER)
