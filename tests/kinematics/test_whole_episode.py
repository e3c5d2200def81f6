"""Poses of whole episodes are converted at once to what they become step by step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import Dialect
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d
from robolearn.datasets.read.arms import layout_in
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.kinematics.whole_episode import convert_poses

TWO = ActionLayout(tuple(p for arm in ("left", "right") for p in (Part("pose", arm=arm), Part("gripper", arm=arm))))
FEATURES = features([Feature("observation.environment_state", (1,)), Feature("observation.state", (20,), layout=TWO)])
DIALECTS = ("pose", "pose.axis_angle", "pose.quaternion", "pose.rpy", "pose.current", "pose.current.tool.axis_angle",
            "pose.target.rpy", "pose.target.euler", "pose.target.tool")  # fmt: skip


def episode(seed: int, wild: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(T, 20) actions and what was observed; `wild` moves jump."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(2):
        ways = rng.uniform(-1, 1, (2, 2, 6))
        steps = np.arange(5)[:, None] * 0.05
        numbers = np.stack([ways[0] + steps[k] * ways[1] + wild * rng.uniform(-1, 1, (2, 6)) for k in range(5)])
        turns = matrix_to_rot6d(axis_angle_to_matrix(numbers[..., 3:]))
        rows.append(np.concatenate([numbers[..., :3], turns, rng.uniform(0, 1, (5, 2, 1))], axis=-1).reshape(5, 20))
    return rows[0], {"observation.environment_state": np.zeros((5, 1)), "observation.state": rows[1]}


def step_by_step(converter, actions, observations):
    told = []
    for k, action in enumerate(actions):
        observation = {name: rows[k] for name, rows in observations.items()}
        if k == 0:
            converter.start(observation)
        told.append(converter.convert(action, observation))
    return np.stack(told)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), words=st.sampled_from(DIALECTS), wild=st.sampled_from([0.0, 0.3]))
def test_all_steps_at_once_are_the_steps_one_by_one(seed, words, wild):
    actions, observations = episode(seed, wild)
    made = conversion(TWO, layout_in(words, TWO, "it"), dt_s=0.1)
    slow = ActionConverter(made, FEATURES)
    expected = step_by_step(slow, actions, observations)
    fast = ActionConverter(made, FEATURES)
    found = convert_poses(made, actions, observations, FEATURES, fast.counts)
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert fast.counts == slow.counts
    assert bool(wild) or fast.counts.exact


def test_grippers_are_scaled_and_arms_that_are_dropped_are_left_out():
    actions, observations = episode(0, 0.0)
    half = Part("gripper", arm="right", scale=(0.5,), offset=(0.5,))
    one = ActionLayout((Part("pose", arm="right", rotation="axis_angle"), half))
    made = conversion(TWO, one, "right", dt_s=0.1)
    found = convert_poses(made, actions, observations, FEATURES, ActionConverter(made, FEATURES).counts)
    assert found is not None
    np.testing.assert_allclose(found[:, 6], 2 * actions[:, 19] - 1)
    np.testing.assert_array_equal(found[:, :3], actions[:, 10:13])


@pytest.mark.parametrize("words", ["calvin", "joints"])
def test_what_depends_on_the_step_before_is_not_done_at_once(words):
    actions, observations = episode(1, 0.0)
    one = ActionLayout((Part("pose"), Part("gripper")), {"": "panda"})
    target = Dialect.parse(words).layout([_Panda()])
    seen = features([Feature("observation.state", (10,), layout=one)])
    made = conversion(one, target, dt_s=0.1)
    first = {"observation.state": observations["observation.state"][:, :10]}
    assert convert_poses(made, actions[:, :10], first, seen, ActionConverter(made, seen).counts) is None


class _Panda:
    prefix, robot_name, has_gripper, free = "", "panda", True, ""
    joint_names = tuple(f"joint{i}" for i in range(1, 8))


def test_numbers_that_are_not_finite_are_left_to_be_named_by_their_step():
    actions, observations = episode(2, 0.0)
    actions[3, 4] = np.inf
    made = conversion(TWO, layout_in("pose.current", TWO, "it"))
    assert convert_poses(made, actions, observations, FEATURES, ActionConverter(made, FEATURES).counts) is None
