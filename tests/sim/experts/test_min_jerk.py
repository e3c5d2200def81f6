import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.sim.experts.min_jerk import MinJerk

PERIOD_S = 0.05


@given(st.floats(0.5, 3.0), st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=2))
def test_towards_a_goal_that_stays_it_is_the_minimum_jerk_quintic(duration_s, goal):
    motion = MinJerk(np.zeros(2), PERIOD_S)
    motion.go(np.array(goal), duration_s)
    planned_anew_s = duration_s - 3 * PERIOD_S  # in the last periods it never plans for less than three
    for step in range(1, int(planned_anew_s / PERIOD_S) + 1):
        s = step * PERIOD_S / duration_s
        expected = np.array(goal) * (10 * s**3 - 15 * s**4 + 6 * s**5)  # Flash and Hogan 1985, equation 4
        assert motion.step() == pytest.approx(expected, abs=1e-9)


def test_a_goal_that_moves_is_met_at_rest_and_without_a_jump():
    motion = MinJerk(np.zeros(1), PERIOD_S)
    motion.go(np.array([0.2]), 1.0)
    places = [motion.position]
    for step in range(40):
        motion.goal = np.array([0.2 + 0.05 * min(step / 15, 1.0)])
        places.append(motion.step())
    assert places[-1] == pytest.approx(0.25, abs=1e-3)
    assert places[-1] - places[-2] == pytest.approx(0.0, abs=1e-4)
    assert np.abs(np.diff(places, n=2, axis=0)).max() < 0.006  # m in a period, of a period


def test_it_says_how_long_it_still_takes():
    motion = MinJerk(np.zeros(1), PERIOD_S)
    motion.go(np.ones(1), 0.5)
    for _ in range(4):
        motion.step()
    assert motion.remaining_s == pytest.approx(0.3)
