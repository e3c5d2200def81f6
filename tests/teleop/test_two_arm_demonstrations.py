"""What the expert of two arms does is recorded, and done again from the recording."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from robolearn.core.feature import Feature
from robolearn.datasets.read.reader import Dataset
from robolearn.sim import make_env
from robolearn.teleop.demonstrations import record_demonstrations


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("two_arms") / "d.zarr"
    record_demonstrations("hand_over/panda", 1, path, [6])
    return Dataset(path)


def layout_of(feature: Feature):
    assert feature.layout is not None
    return feature.layout


def test_a_dataset_says_which_arm_and_which_robot_each_number_is_of(dataset):
    action = layout_of(dataset.features["action"])
    assert action.arms == ("left", "right")
    assert dict(action.robots) == {"left": "panda", "right": "panda"}
    assert layout_of(dataset.features["observation.state"]).names == action.names
    joints = layout_of(dataset.features["observation.joint_position"])
    assert joints.names[0] == "left_joint1" and joints.names[-1] == "right_joint7"
    assert dataset.sim_env["name"] == "hand_over/panda"


def test_its_actions_do_the_task_again(dataset):
    with closing(make_env("hand_over/panda")) as env:
        env.reset(options={"init_state": dataset.episodes[0]["init_state"]})
        for action in dataset.array("action"):
            _, _, _, _, info = env.step(action)
    assert info["success"]
    assert len(dataset.array("action")) > 80  # 4 s: it was no accident


def test_each_arm_is_where_its_own_numbers_say(dataset):
    with closing(make_env("hand_over/panda")) as env:
        env.set_sim_state(dataset.sim_states(0)[50])
        measured = env.arm_state()
        state = dataset.array("observation.state")[50].reshape(2, 10)
    for numbers, prefix in zip(state, ("left", "right"), strict=True):
        assert np.allclose(numbers[:3], measured[prefix].position_m, atol=1e-5)
        assert numbers[9] == pytest.approx(measured[prefix].opening, abs=1e-5)
