"""Experts of robosuite's cubes: how a cube is held, and demonstrations through the scripted operator that succeed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.rotation import angle_between, axis_angle_to_matrix
from robolearn.hardware.input.protocol import Event
from robolearn.sim.experts.grasping import cube_rotation, grasp_rotation
from robolearn.sim.experts.robosuite_lift import LiftExpert

AHEAD = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # fingers along the world's y, pointing down


def yawed(degrees: float) -> np.ndarray:
    return axis_angle_to_matrix(np.array([0.0, 0.0, np.radians(degrees)]))


def test_robosuites_quaternions_have_the_real_part_last():
    half = np.radians(30) / 2
    np.testing.assert_allclose(cube_rotation(np.array([0, 0, np.sin(half), np.cos(half)])), yawed(30), atol=1e-12)


@pytest.mark.parametrize(("cube", "turn"), [(0, 0), (30, 30), (60, -30), (100, 10), (180, 0), (-50, 40), (269, -1)])
def test_a_cube_is_held_by_the_faces_that_need_the_least_turning(cube, turn):
    np.testing.assert_allclose(grasp_rotation(yawed(cube)), yawed(turn) @ AHEAD, atol=1e-9)


@pytest.mark.parametrize("cube", [10, -20])
def test_fingers_stay_clear_of_what_is_beside_the_cube(cube):
    beside, ahead, far = np.array([0.0, 0.07, 0]), np.array([0.07, 0.0, 0]), np.array([0.0, 0.12, 0])
    straight = yawed(cube) @ AHEAD
    np.testing.assert_allclose(grasp_rotation(yawed(cube), ahead), straight, atol=1e-9)
    np.testing.assert_allclose(grasp_rotation(yawed(cube), far), straight, atol=1e-9)
    turned = grasp_rotation(yawed(cube), beside)
    assert angle_between(turned, straight) == pytest.approx(np.pi / 2)
    assert abs(turned[:, 0] @ beside) < abs(turned[:, 1] @ beside)
    assert abs(np.degrees(np.arctan2(turned[1, 1], turned[0, 1]))) <= 90, "the nearer way round"


def lift_observation(to_cube: tuple[float, float, float]) -> dict[str, np.ndarray]:
    objects = np.array([0, 0, 0, 0, 0, 0, 1, *to_cube])
    return {
        "observation.state": np.array([0.5, 0, 0.1, *AHEAD[0], *AHEAD[1], 1]),
        "observation.environment_state": objects,
    }


def test_a_cube_that_was_lost_is_grasped_again():
    expert = LiftExpert()
    for _ in range(3):
        expert.waypoint(lift_observation((0, 0, 0)))
        expert.reached()
    assert expert.waypoint(lift_observation((0, 0, 0))).name == "lift"
    assert expert.waypoint(lift_observation((0, 0, -0.06))).name == "approach"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("robosuite") is None, reason="robosuite is not installed")
@pytest.mark.parametrize(("task", "longest_s"), [("Lift", 6.0), ("Stack", 10.0)])
def test_the_scripted_operator_solves_the_task(task, longest_s):
    from robolearn.sim import make_env
    from robolearn.teleop.operators import make_operator
    from robolearn.teleop.session import TeleopSession
    from robolearn.teleop.target import SimTarget

    env, clock = make_env(f"robosuite/{task}"), VirtualClock()
    operator = make_operator("scripted", env.name, clock, env.control_hz, seed=1)
    session = TeleopSession(SimTarget(env), operator, clock, env.control_hz)
    for state in (20_000, 20_001):
        episode = session.run_episode(state)
        assert episode.success
        assert episode.ending is Event.SAVE
        assert episode.duration_s < longest_s
    env.close()
