"""A scene as something that can be driven."""

import numpy as np

from robolearn.sim.env import SimEnv
from robolearn.teleop.target import SimTarget
from robolearn.teleop.viewer import open_viewer


def test_the_workspace_is_that_of_the_scene_and_without_borders_where_it_names_none(point_env):
    low, high = SimTarget(point_env).workspace_m
    np.testing.assert_array_equal([low, high], [[0.2, -0.4, 0.0], [0.8, 0.4, 0.5]])
    point_env.workspace_low_m, point_env.workspace_high_m = SimEnv.workspace_low_m, SimEnv.workspace_high_m
    low, high = SimTarget(point_env).workspace_m
    assert (low == -np.inf).all() and (high == np.inf).all() and low.dtype == high.dtype == np.float64


def test_a_scene_is_recorded_by_its_steps_and_has_no_robot(point_env):
    target = SimTarget(point_env)
    assert (target.env, target.robot) == (point_env, None)


def test_a_scene_that_mujocos_viewer_cannot_show_says_so(point_env):
    assert open_viewer(point_env) == (None, "No viewer: point is not a MuJoCo scene of our own.")
