"""What of converted actions was not exact, in words; and what counts as a jump."""

import numpy as np
import pytest

from robolearn.core.rotation import rpy_to_matrix
from robolearn.kinematics.conversion_counts import FASTEST_M_S, FASTEST_RAD_S, Counts, jumps
from robolearn.kinematics.state import ArmState

DT_S = 0.1


def at(x: float = 0.0, yaw: float = 0.0, joints: float | None = None) -> ArmState:
    turn = rpy_to_matrix(np.array([0.3, -0.2, yaw]))
    return ArmState(None if joints is None else np.array([0.0, joints]), np.array([x, 0.0, 0.0]), turn)


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_a_tool_jumps_where_it_is_asked_to_move_or_turn_faster_than_any_does(share):
    assert jumps(at(), at(x=share * FASTEST_M_S * DT_S), DT_S) is (share > 1)
    assert jumps(at(yaw=0.4), at(yaw=0.4 + share * FASTEST_RAD_S * DT_S), DT_S) is (share > 1)


def test_joints_are_judged_by_their_own_limits_with_room_to_lag():
    speeds = np.array([1.0, 2.0])
    assert not jumps(at(joints=0.0), at(joints=0.39), DT_S, speeds)
    assert jumps(at(joints=0.0), at(joints=0.41), DT_S, speeds)


def test_in_a_long_step_the_tool_may_turn_any_way():
    assert not jumps(at(), at(yaw=3.1), 1.0)


def test_what_is_not_known_is_no_jump():
    assert not jumps(ArmState(), at(x=9.0), DT_S)
    assert not jumps(ArmState(position_m=np.zeros(2)), ArmState(position_m=np.full(2, 400.0)), DT_S)  # pixels


def test_counts_say_what_was_not_exact_and_nothing_where_all_was():
    counts = Counts(steps=9)
    assert counts.exact and counts.describe() == ""
    counts.missed(0.02, 0.1)
    counts.missed(0.01, 0.3)
    counts.clipped, counts.jumps = 3, 1
    assert not counts.exact
    assert counts.describe() == (
        "Of 9 actions 2 out of reach, held at the nearest pose found (up to 20 mm and 17.2 deg away), 3 clipped to the "
        "layout's limit, 1 that jump."
    )
