import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature
from robolearn.datasets.write.edits import set_mask
from robolearn.evaluation.run.evaluate import EvaluationConfig, evaluate
from robolearn.evaluation.run.goals import Goals, GoalSource, goal_source, make_goals
from robolearn.evaluation.run.rollout import RolloutConfig, run_episode
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.run.workers import open_world

sys.path.append(str(Path(__file__).parents[1]))
from tiny_world import ACTION, STATE, LinePolicy, SeekPolicy, TinyLine, write_ends

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


def test_policy_and_environment_get_the_goal_of_the_start_state(dataset):
    """From x = -0.1 k to the end of episode k: |end + 0.1 k| / 0.1 steps, and success where the episode ended."""
    policy = SeekPolicy()
    goals = Goals(GoalSource(dataset), policy.spec)
    results = [run_episode(policy, TinyLine(), k, RolloutConfig(execute=1), goals=goals) for k in range(3)]
    assert [(r.success, r.steps, r.goal_episode) for r in results] == [(True, 5, 0), (True, 7, 1), (True, 4, 2)]
    assert {g[STATE.name].shape for g in policy.goals} == {(2, 1)}


def test_an_environment_that_takes_no_goals_is_reset_without(dataset):
    class NoGoals(TinyLine):
        accepts_goal = False

    policy = SeekPolicy()
    result = run_episode(
        policy, NoGoals(), 0, RolloutConfig(max_steps=8), goals=Goals(GoalSource(dataset), policy.spec)
    )
    assert result.goal_episode == 0
    assert not result.success  # x = 1, where it succeeds without goals, is not where this one leads


def test_the_policy_gets_the_actions_executed_since_its_oldest_observation(dataset):
    """The second element of an action counts predictions, of which each is executed twice."""
    policy = SeekPolicy(obs_horizon=3)
    run_episode(
        policy, TinyLine(), 0, RolloutConfig(execute=2, max_steps=5), goals=Goals(GoalSource(dataset), policy.spec)
    )
    assert policy.prefixes[0] is None
    assert [p[:, 1].tolist() for p in policy.prefixes[1:]] == [[1, 1], [2, 2]]
    assert all(p.dtype == np.float32 and p.shape == (2, 2) for p in policy.prefixes[1:])


def test_without_a_past_in_the_window_no_executed_actions_are_given(dataset):
    policy = SeekPolicy(obs_horizon=1)
    run_episode(policy, TinyLine(), 0, RolloutConfig(max_steps=3), goals=Goals(GoalSource(dataset), policy.spec))
    assert policy.prefixes == [None] * 3


def test_results_say_which_goals_were_used(dataset, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    config = EvaluationConfig("tiny_line", 4, workers=1, goals=GoalSource(dataset))
    results = evaluate(PolicySource(factory="tiny_world:make_seeker"), config, tmp_path / "out")
    assert results.successes == 4
    assert [e.goal_episode for e in results.episodes] == [0, 1, 2, 0]
    goals = results.settings["goals"]
    assert (goals["dataset"], goals["mask"], goals["episodes"]) == (str(dataset), None, 3)
    assert len(goals["checksum"]) == 64


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


def test_a_goal_that_the_environment_cannot_score_is_refused_before_any_episode(tmp_path, monkeypatch):
    pose = Feature("observation.pose", (1,))
    goals = GoalSource(write_ends(tmp_path / "poses.zarr", [0.3], feature=pose))
    spec = SeekPolicy(goal_feature=pose).spec
    with pytest.raises(
        FeatureError, match="the goal of the policy needs feature 'observation.pose', which env.* lacks"
    ):
        open_world(spec, "tiny_line", {}, goals)
    monkeypatch.setattr(TinyLine, "accepts_goal", False)
    open_world(spec, "tiny_line", {}, goals)  # its goal is its own affair


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
    from robolearn.core.feature import features
    from robolearn.datasets.write.writer import DatasetWriter

    with DatasetWriter.create(path, features([camera, ACTION]), 20.0) as writer:
        writer.start_episode()
        for k, shade in enumerate(shades):
            picture = np.full(camera.shape, shade, np.uint8)
            writer.append(k / 20.0, {camera.name: picture, ACTION.name: np.zeros(2, np.float32)})
        writer.commit({"success": True})
