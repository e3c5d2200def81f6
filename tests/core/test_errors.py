import pytest

from robolearn.core import errors


@pytest.mark.parametrize(
    ("typed", "meant"), [("obervation.state", "observation.state"), ("ACTION", "action"), ("xyzzy", None)]
)
def test_closest_finds_typing_mistakes_and_nothing_else(typed, meant):
    assert errors.closest(typed, ["observation.state", "action"]) == meant


def test_closest_of_nothing_is_nothing():
    assert errors.closest("a", []) is None


def test_unknown_name_says_when_there_is_nothing_to_choose_from():
    assert errors.unknown_name("camera", "front", []) == "Unknown camera 'front'. Known: none."


def test_every_error_of_ours_is_one_a_user_can_act_on():
    ours = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(ours) >= 8
    assert all(issubclass(e, errors.RobolearnError) for e in ours)
