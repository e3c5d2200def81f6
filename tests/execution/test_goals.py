import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.execution.goals import Goals, GoalSource, goal_source, make_goals

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))
from tiny_world import ACTION, STATE, LinePolicy, SeekPolicy, write_ends

ENDS = (0.5, -0.8, 0.2)


@pytest.fixture
def dataset(tmp_path):
    return write_ends(tmp_path / "goals.zarr", ENDS)


def test_start_state_k_gets_the_end_of_episode_k_modulo_n(dataset):
    goals = Goals(GoalSource(dataset), SeekPolicy(goal_horizon=2).spec)
    for k in range(7):
        assert goals.episode(k) == k % 3
        end = ENDS[k % 3]
        np.testing.assert_allclose(goals.goal(k)[STATE.name], [[end - 0.01], [end]], atol=1e-6)


def test_an_episode_shorter_than_the_goal_repeats_its_first_step(dataset):
    goals = Goals(GoalSource(dataset), SeekPolicy(goal_horizon=7).spec)
    expected = [0.46, 0.46, 0.46, 0.47, 0.48, 0.49, 0.5]
    np.testing.assert_allclose(goals.goal(0)[STATE.name][:, 0], expected, atol=1e-6)


def test_goals_can_be_taken_from_a_mask(dataset):
    set_mask(dataset, "validation", [1])
    goals = Goals(GoalSource(dataset, "validation"), SeekPolicy().spec)
    assert {goals.episode(k) for k in range(5)} == {1}
    assert goals.to_dict()["mask"] == "validation"


def test_a_policy_that_wants_goals_says_how_to_give_them():
    with pytest.raises(ConfigError, match=r"^policy 'p' wants goals \(observation.state\); .* --goals DATASET.zarr$"):
        make_goals(None, SeekPolicy().spec, "policy 'p'")


def test_a_policy_without_goals_needs_none_and_takes_none(dataset):
    assert make_goals(None, LinePolicy().spec) is None
    with pytest.raises(ConfigError, match="takes no goals; leave out --goals"):
        make_goals(GoalSource(dataset), LinePolicy().spec)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Feature("observation.pose", (1,)), "needs feature 'observation.pose', which .*goals.zarr lacks"),
        (Feature(STATE.name, (2,)), r"of shape \(2,\); .* gives shape \(1,\)"),
        (Feature(STATE.name, (1,), names=("y",)), r"to be \['y'\]; .*goals.zarr gives \['x'\]"),
    ],
)
def test_goals_of_the_wrong_kind_are_refused_by_name(dataset, wanted, message):
    with pytest.raises(FeatureError, match=f"the goal of policy 'p' .*{message}"):
        make_goals(GoalSource(dataset), SeekPolicy(goal_feature=wanted).spec, "policy 'p'")


def test_a_mask_that_selects_nothing_or_is_unknown_is_refused(dataset):
    set_mask(dataset, "validation", [1])
    set_mask(dataset, "empty", [])
    with pytest.raises(DatasetError, match="Unknown mask 'valid'.*Did you mean 'validation'"):
        Goals(GoalSource(dataset, "valid"), SeekPolicy().spec)
    with pytest.raises(DatasetError, match="none of its 3 episodes is in mask 'empty'"):
        Goals(GoalSource(dataset, "empty"), SeekPolicy().spec)


def test_a_mask_needs_a_dataset():
    assert goal_source(None, None) is None
    with pytest.raises(ConfigError, match="give it with --goals"):
        goal_source(None, "validation")


def test_goal_images_are_read_as_pictures(tmp_path):
    camera = Feature("observation.images.top", (8, 8, 3), "uint8", "image")
    write_pictures(tmp_path / "pictures.zarr", camera, [10, 20, 30])
    goal = Goals(GoalSource(tmp_path / "pictures.zarr"), SeekPolicy(goal_feature=camera).spec).goal(0)[camera.name]
    assert (goal.shape, goal.dtype) == ((2, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(goal.mean((1, 2, 3)), [20, 30], atol=1.5)


def write_pictures(path, camera, shades):
    with DatasetWriter.create(path, features([camera, ACTION]), 20.0) as writer:
        writer.start_episode()
        for k, shade in enumerate(shades):
            picture = np.full(camera.shape, shade, np.uint8)
            writer.append(k / 20.0, {camera.name: picture, ACTION.name: np.zeros(2, np.float32)})
        writer.commit({"success": True})
