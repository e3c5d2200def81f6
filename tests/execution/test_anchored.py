"""Chunks relative to the newest observation: made absolute with the observation they were computed from, no other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from robolearn.execution.anchored import AnchoredPolicy, anchored, anchored_spec, described_actions, trained_spec
from robolearn.execution.policy_spec import PolicySpec
from robolearn.execution.receding_horizon import RecedingHorizon

STATE, HORIZON = "observation.state", 4
MEASURED = ActionLayout((Part("pose"), Part("gripper")))
UMI = ActionLayout((Part("pose", reference="observation", axes="tool"), Part("gripper")))


def spec_of(layout: ActionLayout, obs_horizon: int = 2) -> PolicySpec:
    state = Feature(STATE, (MEASURED.size,), layout=MEASURED)
    action = Feature("action", (layout.size,), kind="action", layout=layout)
    return PolicySpec(features([state]), action, obs_horizon, HORIZON, 10.0)


def transform(twist) -> np.ndarray:
    """(6,) position and axis-angle -> (4, 4)."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = axis_angle_to_matrix(np.asarray(twist[3:])), twist[:3]
    return found


def numbers(matrix: np.ndarray, opening: float = 0.5) -> np.ndarray:
    return np.concatenate([matrix[:3, 3], matrix_to_rot6d(matrix[:3, :3]), [opening]])


def matrix(row: np.ndarray) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = rot6d_to_matrix(row[3:9]), row[:3]
    return found


class Knowing:
    """Wants to be at `way(k)` in step k, whose number it is told in place of an opening, and answers relative poses."""

    def __init__(self, way, obs_horizon=2):
        self.spec, self.way, self.told = spec_of(UMI, obs_horizon), way, []

    def predict_chunk(self, observations, goal=None, executed=None, generator=None):
        self.told.append(executed)
        newest = observations[STATE][-1]
        back, step = np.linalg.inv(matrix(newest)), round(float(newest[9]))
        return np.stack([numbers(back @ self.way(step + i)) for i in range(HORIZON)]).astype(np.float32)


def way(step: int) -> np.ndarray:
    return transform(np.array([0.1, 0.02, -0.03, 0.2, -0.1, 0.05]) * step)


def seen(step: int) -> np.ndarray:
    """The arm lags behind where it was told to go, and is turned a little."""
    return numbers(way(step) @ transform([0.02, 0, -0.01, 0.1, 0, -0.2]), step).astype(np.float32)


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("execute", [1, 2, 3, 4])
def test_whatever_of_a_chunk_is_used_and_however_late_it_comes_it_leads_where_it_was_meant_to(execute, late):
    policy = Knowing(way)
    acting = anchored(policy)
    horizon, waiting, done = RecedingHorizon(acting.spec, execute), None, []
    horizon.begin()
    for step in range(12):
        now_s = step * 0.1
        request = horizon.observe({STATE: seen(step)}, now_s, awaited=waiting is not None)
        if request is not None:
            waiting = step + (late if done else 0), request
        if waiting is not None and waiting[0] <= step:
            # the answer to an observation of `late` steps ago: the arm has moved on since
            horizon.scheduler.place(waiting[1].put_to(acting), waiting[1].t_obs_s, now_s)
            waiting = None
        action = horizon.scheduler.action_at(now_s)
        if action is not None:
            done.append(step)
            np.testing.assert_allclose(matrix(action), way(step), atol=1e-5)
    assert done[:4] == [0, 1, 2, 3] and len(policy.told) >= 12 // (execute + late)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-0.9, 0.9), min_size=6 * 4, max_size=6 * 4))
def test_executed_actions_are_told_relative_to_the_newest_observation(twists):
    measured, *executed = (transform(twist) for twist in np.reshape(twists, (4, 6)))
    policy = Knowing(way, obs_horizon=4)
    newest = numbers(measured, 0).astype(np.float32)
    window = {STATE: np.stack([numbers(way(9)).astype(np.float32)] * 3 + [newest])}
    anchored(policy).predict_chunk(window, None, np.stack([numbers(e) for e in executed]))
    expected = [numbers(np.linalg.inv(measured) @ e) for e in executed]
    np.testing.assert_allclose(policy.told[0], np.stack(expected), atol=1e-5)


def test_a_spec_says_that_its_actions_are_absolute_and_what_was_trained():
    acting = anchored(Knowing(way))
    assert acting.spec.action_feature.layout == MEASURED and acting.spec == anchored_spec(spec_of(UMI))
    assert trained_spec(acting) == spec_of(UMI)
    assert described_actions(acting) == (
        "actions: pose (rot6d), gripper, made absolute with the observation of their chunk from pose relative to the "
        "newest observation (tool axes, rot6d), gripper"
    )


def test_a_policy_of_any_other_layout_is_left_as_it_is():
    plain = Knowing(way)
    plain.spec = spec_of(ActionLayout((Part("pose", reference="current"), Part("gripper"))))
    assert anchored(plain) is plain and anchored_spec(plain.spec) is plain.spec and trained_spec(plain) is plain.spec
    assert anchored(anchored(Knowing(way))).spec == anchored_spec(spec_of(UMI))


def test_a_policy_that_sees_its_arms_joints_alone_is_told_what_can_be_relative_to_them():
    blind, joints = Knowing(way), ActionLayout((Part("joints", ("a", "b")),))
    seen = features([Feature("observation.state", (2,), kind="state", layout=joints)])
    blind.spec = PolicySpec(seen, blind.spec.action_feature, 1, HORIZON, 10.0)
    with pytest.raises(
        LayoutError, match=r"it has observation\.state.*joints, which are observed, 'joints.observation'"
    ):
        AnchoredPolicy(blind)


def test_a_policy_that_does_not_see_its_arm_cannot_be_anchored():
    blind = Knowing(way)
    blind.spec = PolicySpec(features([Feature("x", (2,))]), blind.spec.action_feature, 1, HORIZON, 10.0)
    with pytest.raises(LayoutError, match=r"no observation of the policy says where that arm is .*observation\.state"):
        AnchoredPolicy(blind)
