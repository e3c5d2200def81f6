"""A dataset whose actions say the same in another layout."""

import re

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import DatasetError, FeatureError, LayoutError, RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import POSE_NAMES, matrix_to_rot6d, rot6d_to_matrix, rpy_to_matrix
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.relabel import relabel
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.robots import robot

STATE = Feature("observation.state", (10,), names=(*POSE_NAMES, "gripper"), frame="base")
ACTION = Feature("action", (10,), kind="action", names=(*POSE_NAMES, "gripper"), frame="base")
FORCE = Feature("observation.force", (3,))


def poses(steps: int, lead: float) -> np.ndarray:
    """(T, 10) along a curve, `lead` steps ahead."""
    t = (np.arange(steps) + lead) * 0.02
    turns = matrix_to_rot6d(rpy_to_matrix(np.stack([0.5 * np.sin(t), 0.3 * t, 1.0 + t], axis=-1)))
    return np.concatenate([np.stack([0.5 + 0.1 * np.sin(t), 0.1 * t, 0.3 - 0.05 * t], -1), turns, t[:, None] % 1], -1)


def episode(steps: int) -> EpisodeData:
    values = {
        "observation.state": poses(steps, 0.0),
        "action": poses(steps, 1.5),
        "observation.force": np.ones((steps, 3)),
    }
    return EpisodeData(np.arange(steps) / 10, {name: rows.astype(np.float32) for name, rows in values.items()})


def written(path, action: Feature = ACTION, *episodes: EpisodeData) -> Dataset:
    with DatasetWriter.create(path, features([STATE, action, FORCE]), 10, durable=False) as writer:
        for data in episodes or (episode(8), episode(5)):
            writer.write_episode(data)
    return Dataset(path)


def test_relative_to_what_is_measured_is_from_each_step_s_own_observation(tmp_path):
    found = relabel(written(tmp_path / "a.zarr"), tmp_path / "b.zarr", "pose.current.tool")
    copy = Dataset(tmp_path / "b.zarr")
    seen, told, asked = (
        copy.array("observation.state"),
        copy.array("action"),
        Dataset(tmp_path / "a.zarr").array("action"),
    )
    start, goal = rot6d_to_matrix(seen[:, 3:9]), rot6d_to_matrix(asked[:, 3:9])
    offset = np.einsum("tji,tj->ti", start, asked[:, :3].astype(float) - seen[:, :3])
    np.testing.assert_allclose(told[:, :3], offset, atol=1e-6)
    np.testing.assert_allclose(rot6d_to_matrix(told[:, 3:9]), np.swapaxes(start, 1, 2) @ goal, atol=1e-6)
    assert found.counts.exact and found.errors.position_m < 1e-6 and found.errors.rotation_rad < 1e-5
    assert copy.features["action"].layout.parts[0] == Part("pose", reference="current", axes="tool")
    assert copy.attributes["metadata"]["provenance"]["options"]["action"] == "pose.current.tool"


def test_relative_to_the_last_target_begins_anew_with_each_episode(tmp_path):
    relabel(written(tmp_path / "a.zarr"), tmp_path / "b.zarr", "pose.target")
    copy = Dataset(tmp_path / "b.zarr")
    told, asked = copy.array("action")[:, :3], Dataset(tmp_path / "a.zarr").array("action")[:, :3]
    for steps in (copy.episode_slice(0), copy.episode_slice(1)):
        start = copy.array("observation.state")[steps.start, :3]
        np.testing.assert_allclose(start + np.cumsum(told[steps], axis=0), asked[steps], atol=1e-6)


def test_there_and_back_gives_the_same_targets(tmp_path):
    parent = written(tmp_path / "a.zarr")
    relabel(parent, tmp_path / "b.zarr", "pose.target.euler")
    relabel(Dataset(tmp_path / "b.zarr"), tmp_path / "c.zarr", "pose")
    again = Dataset(tmp_path / "c.zarr")
    np.testing.assert_allclose(again.array("action"), parent.array("action"), atol=2e-6)
    np.testing.assert_array_equal(again.array("observation.state"), parent.array("observation.state"))
    assert layout_of(again.features["action"]).parts == layout_of(parent.features["action"]).parts


def test_what_the_layout_cannot_say_is_clipped_counted_and_caught_up_with(tmp_path):
    data = episode(12)
    data.values["action"][3, :3] += [0.0, 0.0, 0.05]  # more than CALVIN's 2 cm in one step
    found = relabel(written(tmp_path / "a.zarr", ACTION, data), tmp_path / "b.zarr", "calvin")
    # two steps up and down, and the first, which begins where the arm is
    assert found.counts.clipped >= 2 and found.errors.position_m > 0.02
    told = Dataset(tmp_path / "b.zarr").array("action")
    assert np.abs(told).max() == 1.0
    back = relabel(Dataset(tmp_path / "b.zarr"), tmp_path / "c.zarr", "pose")
    assert back.counts.exact
    np.testing.assert_allclose(
        Dataset(tmp_path / "c.zarr").array("action")[-1, :3], data.values["action"][-1, :3], atol=1e-5
    )


def test_numbers_that_nothing_explains_are_refused_until_they_are(tmp_path):
    action = Feature("action", (7,), kind="action", names=tuple("abcdefg"))
    data = episode(4)
    data.values["action"] = np.zeros((4, 7), np.float32)
    data.values["action"][:, :3] = [1.0, 0.0, -1.0]
    parent = written(tmp_path / "a.zarr", action, data)
    words = r"does not say what the 7 numbers of its 'action' \(a, b, c, d, e, f, g\) mean, "
    words += r".*features .* --layout action=LAYOUT .*--stored LAYOUT"
    with pytest.raises(LayoutError, match=words):
        relabel(parent, tmp_path / "b.zarr", "pose")
    relabel(parent, tmp_path / "b.zarr", "pose", stored="calvin")
    moved = Dataset(tmp_path / "b.zarr").array("action")[-1, :3] - data.values["observation.state"][0, :3]
    np.testing.assert_allclose(moved, [0.08, 0.0, -0.08], atol=1e-6)
    with pytest.raises(LayoutError, match=r"The 'action' of .* has 7 numbers; 'pose' has 10 with a gripper, 9 without"):
        relabel(parent, tmp_path / "d.zarr", "pose", stored="pose")


@pytest.mark.parametrize(
    ("dialect", "options", "words"),
    [
        ("umi", {}, "depends on the chunk that it is in, and is formed in training. Absolute pose or joints"),
        ("joints", {}, "does not say which robot its arm is, and the joints are asked for"),
        ("pose.rpy", {"arm": "left"}, "--arm left: "),
        ("pose.rpy", {"robots": {"left": "panda"}}, "The robot 'panda' is said to be arm 'left'; arms are ['']."),
        ("pose.lpy", {}, "Unknown word 'lpy' in the action layout 'pose.lpy'. Did you mean 'rpy'?"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(tmp_path, dialect, options, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        relabel(written(tmp_path / "a.zarr"), tmp_path / "b.zarr", dialect, **options)
    assert not (tmp_path / "b.zarr").exists()


def test_a_dataset_that_says_it_itself_takes_no_other_word_for_it(tmp_path):
    layout = ActionLayout((Part("pose", rotation="rpy"), Part("gripper")))
    data = episode(3)
    data.values["action"] = np.zeros((3, 7), np.float32)
    parent = written(tmp_path / "a.zarr", Feature("action", (7,), kind="action", layout=layout), data)
    with pytest.raises(LayoutError, match=r"says itself what its actions are: pose \(rpy\), gripper; no --stored then"):
        relabel(parent, tmp_path / "b.zarr", "pose", stored="calvin")


def test_without_actions_there_is_nothing_to_relabel(tmp_path):
    with DatasetWriter.create(tmp_path / "a.zarr", features([STATE]), 10, durable=False) as writer:
        writer.write_episode(EpisodeData(np.arange(2) / 10, {"observation.state": np.zeros((2, 10), np.float32)}))
    with pytest.raises(FeatureError, match="Unknown feature 'action'"):
        relabel(Dataset(tmp_path / "a.zarr"), tmp_path / "b.zarr", "pose")


def streamed(path) -> Dataset:
    """Actions at 40 Hz, states at 20 Hz, on a grid of 10 Hz."""
    found = features([Feature(**{**vars(STATE), "rate_hz": 20.0}), Feature(**{**vars(ACTION), "rate_hz": 40.0})])
    rows = {}
    for name, rate, lead in (("observation.state", 20, 0.0), ("action", 40, 1.5)):
        count = rate  # one second
        values = poses(count, lead)
        stamps = np.arange(count) / rate
        at_step = np.searchsorted(stamps, np.arange(10) / 10 + 1e-9, side="right") - 1
        rows[name] = StreamRows(
            stamps, np.full(count, np.nan), np.arange(count), values.astype(np.float32), at_step=at_step
        )
    with DatasetWriter.create(path, found, 10, recorded="streams", durable=False) as writer:
        writer.write_episode(EpisodeData(np.arange(10) / 10, {}, streams=rows))
    return Dataset(path)


def test_absolute_actions_keep_their_own_rate(tmp_path):
    parent = streamed(tmp_path / "a.zarr")
    found = relabel(parent, tmp_path / "b.zarr", "pose.quaternion")
    copy = Dataset(tmp_path / "b.zarr")
    assert copy.stream("action").read_episode(0).values.shape == (40, 8) and found.made.notes == ()
    np.testing.assert_allclose(copy.array("action")[:, :3], parent.array("action")[:, :3], atol=1e-6)


def test_relative_actions_are_those_between_steps_of_the_grid(tmp_path):
    parent = streamed(tmp_path / "a.zarr")
    found = relabel(parent, tmp_path / "b.zarr", "pose.target")
    copy = Dataset(tmp_path / "b.zarr")
    assert copy.stream("action").read_episode(0).values.shape == copy.array("action").shape == (10, 10)
    assert copy.streams["action"].rate_hz == 10.0 and copy.streams["observation.state"].rate_hz == 20.0
    assert found.made.notes == ("action was recorded at its own rate; the copy has it at the rate of the steps",)
    start = copy.array("observation.state")[0, :3]
    np.testing.assert_allclose(
        start + np.cumsum(copy.array("action")[:, :3], 0), parent.array("action")[:, :3], atol=1e-6
    )


def test_an_action_that_is_no_number_is_said_with_its_episode(tmp_path, monkeypatch):
    """What older writers stored, or another program's."""
    data = episode(4)
    parent = written(tmp_path / "a.zarr", ACTION, episode(3), data)
    read = Dataset.read_episode

    def damaged(dataset, index):
        found = read(dataset, index)
        if index == 1:
            found.values["action"] = np.where(np.arange(10) == 2, np.nan, found.values["action"])
        return found

    monkeypatch.setattr(Dataset, "read_episode", damaged)
    with pytest.raises(DatasetError, match=r"episode 1: step 0: An action holds nan at z; expected finite numbers"):
        relabel(parent, tmp_path / "b.zarr", "pose.target")


def test_two_arms_are_relabelled_each_for_itself_and_one_of_them_can_be_kept(tmp_path, panda):
    """Where every joint turns a little at each step: poses of two arms become the joints of two arms."""
    home = panda.home_rad
    paths = {"left": home + 0.01 * np.arange(6)[:, None], "right": home - 0.01 * np.arange(6)[:, None]}
    rows = {
        arm: [np.concatenate([p, matrix_to_rot6d(r), [0.5]]) for p, r in map(panda.forward, path)]
        for arm, path in paths.items()
    }
    numbers = np.concatenate([rows["left"], rows["right"]], axis=1).astype(np.float32)
    parts = tuple(part for arm in paths for part in (Part("pose", arm=arm), Part("gripper", arm=arm)))
    layout = ActionLayout(parts, (("left", "panda"), ("right", "panda")))
    state, action = (
        Feature(name, (20,), kind=kind, layout=layout)
        for name, kind in (("observation.state", "state"), ("action", "action"))
    )
    with DatasetWriter.create(tmp_path / "a.zarr", features([state, action]), 10, durable=False) as writer:
        writer.write_episode(EpisodeData(np.arange(6) / 10, {"observation.state": numbers, "action": numbers}))
    found = relabel(Dataset(tmp_path / "a.zarr"), tmp_path / "b.zarr", "joints")
    copy = Dataset(tmp_path / "b.zarr")
    assert copy.features["action"].names[:2] == ("left_joint1", "left_joint2") and found.counts.exact
    for arm, first in (("left", 0), ("right", 8)):
        for row, joints in zip(rows[arm], copy.array("action")[:, first : first + 7], strict=True):
            np.testing.assert_allclose(panda.forward(joints.astype(float))[0], row[:3], atol=1e-6)
    kept = relabel(copy, tmp_path / "c.zarr", "pose", arm="right")
    assert kept.conversion.endswith("the arm 'left' of the actions is dropped")
    alone = Dataset(tmp_path / "c.zarr")
    assert alone.features["action"].layout.robots == (("right", "panda"),)
    np.testing.assert_allclose(alone.array("action"), numbers[:, 10:], atol=1e-5)


@pytest.fixture
def panda():
    try:
        return ArmKinematics(robot("panda"))
    except RobolearnError as error:
        pytest.skip(f"no files of the panda here: {error}")


def test_poses_that_the_arm_does_not_reach_are_held_counted_and_said(tmp_path, panda):
    position, rotation = panda.forward(panda.home_rad)
    asked = np.tile(np.concatenate([position, matrix_to_rot6d(rotation), [1.0]]), (4, 1)).astype(np.float32)
    asked[2, 0] += 1.0
    data = EpisodeData(np.arange(4) / 10, {"observation.state": asked[[0] * 4], "action": asked})
    with DatasetWriter.create(tmp_path / "a.zarr", features([STATE, ACTION]), 10, durable=False) as writer:
        writer.write_episode(data)
    found = relabel(Dataset(tmp_path / "a.zarr"), tmp_path / "b.zarr", "joints", robots={"": "panda"})
    assert found.counts.out_of_reach == 1 and found.counts.jumps == 2  # there and back
    assert found.errors.position_m == pytest.approx(found.counts.farthest_m, rel=1e-3)
    assert re.match(
        "Of 4 actions 1 out of reach, held at the nearest pose found .*, 2 that jump", found.counts.describe()
    )


def test_poses_of_an_arm_of_five_joints_leave_free_what_it_cannot_follow(tmp_path):
    arm = robot("so100")
    joints = ActionLayout((Part("joints", arm.joints), Part("gripper")), (("", "so100"),))
    rows = np.tile(np.array([*arm.home, 0.5], np.float32), (8, 1))
    values = {**episode(8).values, "action": rows}
    parent = written(
        tmp_path / "a.zarr",
        Feature("action", (6,), kind="action", layout=joints),
        EpisodeData(np.arange(8) / 10, values),
    )
    relabel(parent, tmp_path / "b.zarr", "pose")
    poses = Dataset(tmp_path / "b.zarr").features["action"].layout
    assert poses.parts[0].free == "sideways" and poses.robots == (("", "so100"),)
