"""What moves in the plane takes where it should go, or how far, each as it is said; the largest step stays."""

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import LayoutError
from robolearn.sim import make_env
from robolearn.sim.worlds import posts, pushing_plane

COMMANDED = {"avoiding": slice(0, 2), "block_push": slice(2, 4)}  # of observation.state
LONGEST_M = {"avoiding": posts.MAX_STEP_M, "block_push": pushing_plane.MAX_STEP_M}


def command(env, observation):
    return observation["observation.state"][COMMANDED[env.name]]


@pytest.mark.parametrize("name", COMMANDED)
@pytest.mark.parametrize("action", ["pose.target", "pose.current", "pose"])
def test_the_command_goes_where_the_action_says(name, action):
    env = make_env(name, action=action)
    observation, _ = env.reset()
    measured = slice(2, 4) if name == "avoiding" else slice(0, 2)
    for step in (np.array([0.006, 0.008]), np.array([-0.004, 0.01])):
        before, here = command(env, observation), observation["observation.state"][measured]
        start = {"pose.target": before, "pose.current": here, "pose": np.zeros(2)}[action]
        told = step if action != "pose" else before + step
        observation, *_ = env.step(told)
        np.testing.assert_allclose(command(env, observation), start + told, atol=1e-6)


@pytest.mark.parametrize("name", COMMANDED)
def test_no_layout_moves_it_further_in_one_step(name):
    for action in ("pose.target", "pose.current", "pose"):
        env = make_env(name, action=action)
        observation, _ = env.reset()
        before = command(env, observation)
        observation, *_ = env.step(before + [0.3, 0.0] if action == "pose" else [0.3, 0.0])
        assert command(env, observation) - before == pytest.approx([LONGEST_M[name], 0.0], abs=1e-6)


@pytest.mark.parametrize("name", COMMANDED)
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("joints", "takes poses of x and y, not 'joints'"),
        ("calvin", "takes poses of x and y, not 'calvin'"),
        ("pose.observation", "relative to the newest observation"),
        ("pose.target.tool", "moves in a plane, along the axes 'base', not 'tool'"),
        (ActionLayout((Part("pose"), Part("gripper"))), "takes one pose of x and y in the world, in m"),
        (ActionLayout((Part("pose", coordinates="xy", rotation="none", unit="px", frame="world"),)), "in m"),
    ],
)
def test_what_does_not_move_in_a_plane_is_refused(name, action, words):
    with pytest.raises(LayoutError, match=words):
        make_env(name, action=action)


def test_layouts_of_earlier_datasets_are_those_of_the_scenes():
    from robolearn.core.earlier_layouts import layout_of
    from robolearn.core.feature import Feature

    for name, names in (("avoiding", ("x", "y")), ("block_push", ("dx", "dy"))):
        earlier = Feature("action", (2,), kind="action", names=names, unit="m", frame="world")
        assert layout_of(earlier) == make_env(name).action_feature.layout
