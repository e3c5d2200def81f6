"""Where the tools went: read from measured poses, and put into the world where it is known how the arms stand."""

import numpy as np
import pytest
from two_arms import MOUNTS, RADIUS_M, STEPS, circle, record

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import POSE_NAMES
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.view.paths import MAX_POINTS, describe_paths, tool_paths
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.kinematics.robots import robot


def test_two_arms_have_a_path_each_in_the_world(tmp_path):
    left, right = tool_paths(Dataset(record(tmp_path / "two.zarr")), 0)
    assert [(path.arm, path.robot, path.frame) for path in (left, right)] == [
        ("left", "panda", "world"),
        ("right", "ur5e", "world"),
    ]
    np.testing.assert_allclose(left.points_m, circle(6.0) + [0.0, 0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(right.points_m, circle(-3.0) * [-1, -1, 1] + [1.0, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(left.opening + right.opening, 1.0, atol=1e-6)


def test_without_mounts_each_is_in_its_own_base(tmp_path):
    left, right = tool_paths(Dataset(record(tmp_path / "two.zarr", mounts=False)), 0)
    assert left.frame == right.frame == "base"
    assert np.ptp(right.points_m[:, 0]) == pytest.approx(2 * RADIUS_M, rel=0.01)


@pytest.mark.parametrize(
    "mount",
    [
        7, {}, {"prefix": "left"},
        {"prefix": "left", "position_m": [0, 0], "quaternion": [1, 0, 0, 0]},
        {"prefix": "left", "position_m": "abc", "quaternion": [1, 0, 0, 0]},
        {"prefix": "left", "position_m": [0, 0, 0], "quaternion": [0, 0, 0, 0]},
    ],
)  # fmt: skip
def test_where_an_arm_stands_is_not_known_where_what_is_said_is_no_pose(tmp_path, mount):
    left, right = tool_paths(Dataset(record(tmp_path / "two.zarr", mounts=[mount, MOUNTS[1]])), 0)
    assert (left.frame, right.frame) == ("base", "world")


@pytest.mark.parametrize(
    ("env", "key"),
    [({"name": 7}, "name"), ({"mounts": 7}, "mounts"), ({"mounts": MOUNTS * 100}, "mounts"), ({"robots": 7}, "robots")],
)  # fmt: skip
def test_what_describes_no_simulated_environment_is_said_in_one_line(tmp_path, env, key):
    with pytest.raises(DatasetError, match=f"no simulated environment: its {key} is not what it should be"):
        tool_paths(Dataset(record(tmp_path / "two.zarr", **{"mounts": True, **env})), 0)


def one_feature(path, feature, rows):
    with DatasetWriter.create(path, features([feature]), 20, durable=False) as writer:
        writer.write_episode(EpisodeData(np.arange(len(rows)) / 20, {feature.name: rows.astype(feature.dtype)}))
    return Dataset(path)


def test_a_dataset_without_layouts_has_the_path_that_its_names_say(tmp_path):
    state = Feature("observation.state", (10,), names=(*POSE_NAMES, "gripper"))
    rows = np.concatenate([circle(1.0), np.zeros((STEPS, 6)), np.ones((STEPS, 1))], axis=1)
    (path,) = tool_paths(one_feature(tmp_path / "old.zarr", state, rows), 0)
    assert (path.arm, path.robot, path.source) == ("", None, "observation.state")
    np.testing.assert_allclose(path.points_m, circle(1.0), atol=1e-6)


def test_where_nothing_says_where_the_tool_is_there_is_no_path(tmp_path):
    state = Feature("observation.state", (3,), names=("x", "y", "z"))
    assert describe_paths(one_feature(tmp_path / "d.zarr", state, circle(1.0)), 0)["arms"] == []


def test_a_long_path_is_thinned_from_its_first_to_its_last_step(tmp_path):
    state = Feature("observation.state", (10,), names=(*POSE_NAMES, "gripper"))
    rows = np.zeros((3 * MAX_POINTS, 10))
    rows[:, 0] = np.arange(len(rows))
    found = describe_paths(one_feature(tmp_path / "long.zarr", state, rows), 0)
    (arm,) = found["arms"]
    assert len(arm["points"]) == len(arm["opening"]) == len(found["times"]) == MAX_POINTS
    assert [arm["points"][0][0], arm["points"][-1][0]] == [0, len(rows) - 1]


def test_measured_joints_give_the_path_where_no_pose_is_measured(tmp_path):
    panda = robot("panda")
    if not panda.is_present:
        pytest.skip("the files of panda are not on this machine")
    layout = ActionLayout((Part("joints", panda.joints),), (("", "panda"),))
    rows = panda.home_rad + np.linspace(0.0, 0.3, STEPS)[:, None] * [1, 0, 0, 0, 0, 0, 0]
    (path,) = tool_paths(
        one_feature(tmp_path / "d.zarr", Feature("observation.joint_position", (7,), layout=layout), rows), 0
    )
    # the first joint turns about the base's z axis
    x, y, z = path.points_m.T
    np.testing.assert_allclose(np.hypot(x, y), np.hypot(x[0], y[0]), atol=1e-6)
    np.testing.assert_allclose(np.arctan2(y, x) - np.arctan2(y[0], x[0]), np.linspace(0.0, 0.3, STEPS), atol=1e-6)
    np.testing.assert_allclose(z, z[0], atol=1e-6)
    assert 0.4 < x[0] < 0.7 and 0.2 < z[0] < 0.5


def test_joints_of_a_robot_that_is_not_known_give_none(tmp_path):
    layout = ActionLayout((Part("joints", ("a", "b")),), (("", "panda"),))
    state = Feature("observation.joint_position", (2,), layout=layout)
    assert tool_paths(one_feature(tmp_path / "d.zarr", state, np.zeros((STEPS, 2))), 0) == []
