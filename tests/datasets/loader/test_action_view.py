"""Actions in another layout than they are stored in: for each step, and relative to a window's newest observation."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import ConfigError, DatasetError, LayoutError, RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import matrix_to_axis_angle, matrix_to_rot6d
from robolearn.datasets.loader import ActionView, FutureGoal, Loader, Source, WindowSpec
from robolearn.datasets.loader.collection import Collection
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.observed import ObservedReference
from robolearn.kinematics.robots import robot

sys.path.append(str(Path(__file__).parent))
from posed_datasets import ACTION, STATE, homogeneous, write_joints, write_poses

MENAGERIE = Path(__file__).resolve().parents[4] / "shared" / "data" / "menagerie"
CHUNKS = WindowSpec.chunks([STATE], ACTION, 2, 4)


@pytest.fixture(scope="module")
def posed(tmp_path_factory):
    """Episodes of 9, 4 and 6 steps; tests leave it as it is."""
    return write_poses(tmp_path_factory.mktemp("posed") / "one.zarr", [9, 4, 6])


def every_window(loader):
    batches = [{name: value.copy() for name, value in batch.items()} for batch in loader.all()]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_the_stored_layout_is_the_stored_column_itself(posed):
    view = ActionView(posed, "pose")
    assert view.column(range(3)) is posed.array(ACTION)
    assert view.description == "actions are as stored: pose (rot6d), gripper"
    plain, viewed = Loader(posed, CHUNKS, 5, seed=1), Loader(posed, CHUNKS, 5, seed=1, action="pose")
    assert all((plain.at(k)[name] == viewed.at(k)[name]).all() for k in range(4) for name in plain.at(k))


def test_what_is_relative_to_the_measured_pose_is_formed_from_that_of_its_own_step(posed):
    batch = every_window(Loader(posed, CHUNKS, 5, action="pose.current.tool.axis_angle"))
    stored = every_window(Loader(posed, CHUNKS, 5))
    now = 1  # the newest of two observations
    for found, told, measured in zip(batch[ACTION], stored[ACTION], stored[STATE], strict=True):
        delta = np.linalg.inv(homogeneous(measured[now])) @ homogeneous(told[now])
        np.testing.assert_allclose(found[now, :3], delta[:3, 3], atol=1e-6)
        np.testing.assert_allclose(found[now, 3:6], matrix_to_axis_angle(delta[:3, :3]), atol=1e-6)
        assert found[now, 6] == told[now, 9]


def test_what_is_relative_to_the_last_target_adds_up_to_the_stored_targets(posed):
    view = ActionView(posed, "pose.target.axis_angle")
    steps = posed.episode_slice(1)
    deltas, told = view.column([1])[steps].astype(float), posed.array(ACTION)[steps]
    start = posed.array(STATE)[steps][0]
    np.testing.assert_allclose(start[:3] + np.cumsum(deltas[:, :3], axis=0), told[:, :3], atol=1e-6)
    assert view.counts.steps == 4  # of the episode that was asked for


@pytest.mark.parametrize("arms", [("",), ("left", "right")])
def test_umi_actions_are_seen_from_the_newest_observation_of_their_window(tmp_path, arms):
    dataset = write_poses(tmp_path / "d.zarr", [5, 7], arms)
    stored, found = (every_window(Loader(dataset, CHUNKS, 4, action=action)) for action in (None, "umi"))
    assert found[ACTION].dtype == np.float32 and found[ACTION].shape == (12, 5, 10 * len(arms))
    for window in range(12):
        for arm in range(len(arms)):
            at = slice(10 * arm, 10 * arm + 9)
            newest = np.linalg.inv(homogeneous(stored[STATE][window, -1, at]))
            for step in range(5):  # the executed one before the newest observation, too
                delta = newest @ homogeneous(stored[ACTION][window, step, at])
                numbers = np.concatenate([delta[:3, 3], matrix_to_rot6d(delta[:3, :3])])
                np.testing.assert_allclose(found[ACTION][window, step, at], numbers, atol=1e-6)
        grippers = [10 * arm + 9 for arm in range(len(arms))]
        assert (found[ACTION][window][:, grippers] == stored[ACTION][window][:, grippers]).all()


def test_windows_do_not_depend_on_who_forms_them(posed):
    whole = Loader(posed, CHUNKS, 6, seed=2, action="umi")
    with Loader(posed, CHUNKS, 6, seed=2, action="umi", workers=2) as ahead:
        halves = [Loader(posed, CHUNKS, 6, seed=2, action="umi", rank=rank, world_size=2) for rank in (0, 1)]
        for step in range(4):
            expected = whole.at(step)[ACTION]
            assert (ahead.at(step)[ACTION] == expected).all()
            for rank, half in enumerate(halves):
                assert (half.at(step)[ACTION] == expected[rank::2]).all()


def test_relative_to_the_observation_and_back_is_the_same_action(posed):
    layout = ActionView(posed, "pose.observation.base.axis_angle").feature.layout
    reference = ObservedReference(layout, posed.features)
    told, seen = every_window(Loader(posed, CHUNKS, 6, action=reference.absolute)), {}
    seen[STATE] = told[STATE][:, -1]
    relative = reference.to_relative(told[ACTION], seen)
    np.testing.assert_allclose(reference.to_absolute(relative, seen), told[ACTION], atol=1e-6)
    assert reference.needs == (STATE,)


def test_joints_relative_to_the_observation_are_differences_to_those_measured(tmp_path):
    measured, arms = "observation.joint_position", ("left", "right")
    dataset = write_joints(tmp_path / "d.zarr", [6, 5], arms)
    windows = WindowSpec.chunks([measured], ACTION, 1, 3)
    stored, found = (
        every_window(Loader(dataset, windows, 4, action=action)) for action in (None, "joints.observation")
    )
    for arm, joints in enumerate((slice(0, 3), slice(4, 7))):
        here = stored[measured][:, :, 3 * arm : 3 * arm + 3]
        np.testing.assert_allclose(found[ACTION][..., joints], stored[ACTION][..., joints] - here, atol=1e-6)
        assert (found[ACTION][..., 4 * arm + 3] == stored[ACTION][..., 4 * arm + 3]).all()


def test_poses_are_seen_as_joints_that_lead_there(tmp_path, monkeypatch):
    if "MENAGERIE_ROOT" not in os.environ:
        monkeypatch.setenv("MENAGERIE_ROOT", str(MENAGERIE))
    arm = robot("vx300s")
    try:
        kinematics = ArmKinematics(arm)
    except RobolearnError as error:
        pytest.skip(f"no files of vx300s here: {error}")
    way = kinematics.home_rad + np.linspace(0, 0.3, 5)[:, None] * [1, -0.5, 0.5, 0.3, -0.4, 1]
    layout = ActionLayout((Part("pose"), Part("gripper")), {"": "vx300s"})
    poses = [kinematics.forward(joints) for joints in way]
    told = [np.concatenate([position, rotation[:2].ravel(), [0.5]]).astype(np.float32) for position, rotation in poses]
    declared = [Feature(STATE, (10,), layout=layout), Feature(ACTION, (10,), kind="action", layout=layout)]
    with DatasetWriter.create(tmp_path / "d.zarr", features(declared), 10.0, durable=False) as writer:
        writer.start_episode()
        for k, numbers in enumerate(told):
            writer.append(k / 10, {STATE: told[max(k - 1, 0)], ACTION: numbers})
        writer.commit({})
    batch = every_window(Loader(Dataset(tmp_path / "d.zarr"), WindowSpec({ACTION: (0,)}), 5, action="joints"))
    assert batch[ACTION].shape == (5, 1, 7)
    for found, (position, rotation) in zip(batch[ACTION][:, 0], poses, strict=True):
        reached = kinematics.forward(found[:6].astype(float))
        np.testing.assert_allclose(reached[0], position, atol=1e-5)
        np.testing.assert_allclose(reached[1], rotation, atol=1e-5)


def test_datasets_of_different_layouts_are_brought_to_one(tmp_path, posed):
    other = write_poses(tmp_path / "undeclared.zarr", [5], declared=False)
    mixed = Loader([Source(posed), Source(other)], CHUNKS, 4, action="pose.current")
    assert len(every_window(mixed)[ACTION]) == 24
    deltas = [Source(posed, action=ActionView(posed, "pose.current")), Source(other)]
    with pytest.raises(LayoutError, match=r"pose relative to the current one .* in .*one\.zarr but pose \(rot6d\) in"):
        Loader(deltas, CHUNKS, 4)


def test_poses_of_two_robots_are_loaded_together_and_are_then_of_none(tmp_path):
    one, other = (
        write_poses(tmp_path / f"{name}.zarr", [6], seed=seed, robots=(("", name),))
        for seed, name in enumerate(("ur5e", "xarm7"))
    )
    for action in (None, "pose.current"):
        assert len(every_window(Loader([Source(one), Source(other)], CHUNKS, 4, action=action))[ACTION]) == 12
    for sources, robots in (([one, other], ()), ([one, one], (("", "ur5e"),))):
        found = Collection([Source(dataset) for dataset in sources], [STATE, ACTION]).features
        assert [found[name].layout.robots for name in (STATE, ACTION)] == [robots, robots]


def test_joints_of_two_robots_are_refused(tmp_path):
    one, other = (write_joints(tmp_path / f"{name}.zarr", [6], robots=(("", name),)) for name in ("ur5e", "xarm7"))
    silent = write_joints(tmp_path / "silent.zarr", [6])
    for datasets in ([one, other], [silent, one, other]):
        with pytest.raises(LayoutError, match=r"'action' is robot 'ur5e' in .*ur5e\.zarr but robot 'xarm7' in .*xarm7"):
            Loader([Source(dataset) for dataset in datasets], WindowSpec({ACTION: (0,)}), 4)


def test_what_cannot_be_shown_is_refused_with_a_reason(tmp_path, posed, dataset):
    with pytest.raises(
        LayoutError,
        match=r"small\.zarr does not say what the 2 numbers .*features .*small.zarr --layout action=LAYOUT",
    ):
        Loader(dataset, CHUNKS, 4, action="umi")
    with pytest.raises(LayoutError, match="Unknown word 'joint' .* Did you mean 'joints'"):
        Loader(posed, CHUNKS, 4, action="joint")
    with pytest.raises(LayoutError, match="does not say which robot its arm is.*--robot NAME"):
        Loader(posed, CHUNKS, 4, action="joints")
    blind = WindowSpec({"observation.environment_state": (0,), ACTION: (0, 1)})
    with pytest.raises(LayoutError, match=r"no observation of the policy says where that arm is .*observation\.state"):
        Loader(posed, blind, 4, action="umi")
    with pytest.raises(ConfigError, match="Goals of 'action', which is relative"):
        Loader(posed, CHUNKS, 4, action="umi", goals=FutureGoal((ACTION,)))


def test_a_number_that_is_not_finite_names_its_step(tmp_path):
    written = write_poses(tmp_path / "d.zarr", [3, 4])
    view = ActionView(written, "pose.current")
    spoilt = written.array(ACTION).copy()
    spoilt[4, 1] = np.nan
    written.array = lambda name: spoilt if name == ACTION else type(written).array(written, name)
    with pytest.raises(DatasetError, match=r"d\.zarr, episode 1, step 1: .*nan at y; expected finite"):
        view.column([0, 1])
    assert np.isfinite(view.column([0])).all()
