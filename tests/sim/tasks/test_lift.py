"""The task that docs/simulators.md shows: how little one needs, and that it is one."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.rotation import matrix_to_rot6d, quaternion_to_matrix
from robolearn.sim import make_env
from robolearn.sim.registry import ENVIRONMENTS
from robolearn.sim.tasks import lift

LONGEST_LINES = 60
ROOT = Path(__file__).resolve().parents[3]


def test_a_new_task_on_an_existing_world_is_a_short_file_and_a_line_of_the_registry():
    assert len(inspect.getsource(lift).splitlines()) <= LONGEST_LINES
    assert ENVIRONMENTS["lift"] == "robolearn.sim.tasks.lift:Lift"
    registry = (ROOT / "sim/registry.py").read_text()
    assert len(re.findall(r".*tasks\.lift.*", registry)) == 1


def test_a_bar_that_is_high_and_fast_scores_less_than_success():
    env = make_env("lift")
    env.reset()
    bar = env.simulation.body("bar")
    scores = []
    for height, speed in ((0.014, 0.0), (0.2, 1.0), (0.2, 0.0)):
        bar.place([0.5, 0.0, height], [1.0, 0.0, 0.0, 0.0])
        env.data.qvel[-6:] = [0.0, 0.0, speed, 0.0, 0.0, 0.0]
        env.simulation.forward()
        scores.append(env.task_info()["score"])
    assert 0.0 < scores[0] < scores[1] < scores[2] == 1.0
    assert env.task_info()["success"]


def test_the_docs_show_the_file_as_it_is():
    shown = (ROOT / "docs/simulators.md").read_text()
    assert inspect.getsource(lift.Lift) in shown


def grasp(env, init_state: int) -> list[dict]:
    """Over the bar, down, close, up; the info of every step."""
    env.reset(options={"init_state": init_state})
    bar, turn = env.simulation.body("bar"), quaternion_to_matrix(env.data.qpos[-4:])
    along = turn[:, 0]
    down = np.array([0.0, 0.0, -1.0])
    rotation = matrix_to_rot6d(np.stack([np.cross(along, down), along, down], axis=1))
    x, y, _ = bar.position_m.copy()
    told = []
    for height, opening, steps in ((0.12, 1.0, 30), (0.014, 1.0, 30), (0.014, 0.0, 12), (0.15, 0.0, 60)):
        action = np.array([x, y, height, *rotation, opening], np.float32)
        for _ in range(steps):
            _, reward, terminated, _, info = env.step(action)
            told.append(info)
            assert reward == float(info["success"]) and terminated == info["success"]
            if terminated:
                return told
    return told


@pytest.mark.parametrize("init_state", [0, 1, 2])
def test_a_grasp_and_a_lift_succeed_and_a_lift_without_the_bar_does_not(init_state):
    env = make_env("lift")
    told = grasp(env, init_state)
    assert told[-1]["success"] and told[-1]["score"] == 1.0 and not told[60]["success"]
    observation, _ = env.reset(options={"init_state": init_state})
    action = observation["observation.state"].copy()
    action[2] += 0.1
    for _ in range(20):
        info = env.step(action)[-1]
    assert not info["success"] and info["height_m"] == pytest.approx(0.014, abs=1e-3)


def test_it_takes_every_layout_that_its_robot_takes():
    for action in ("pose", "joints", "velocity", "pose.target.tool.axis_angle", "joints.current", "calvin"):
        env = make_env("lift", action=action)
        assert env.action_feature.layout == env.world.layout(action)
        env.reset()
        env.step(env.action_space.sample() * 0)
