"""A goal-conditioned policy in an environment: who is given which goal, and what went before it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature
from robolearn.evaluation.run.environment import open_world
from robolearn.evaluation.run.evaluate import EvaluationConfig, evaluate
from robolearn.evaluation.run.rollout import RolloutConfig, run_episode
from robolearn.evaluation.run.source import PolicySource
from robolearn.execution.goals import Goals, GoalSource

sys.path.append(str(Path(__file__).parents[1]))
from tiny_world import STATE, SeekPolicy, TinyLine, write_ends

ENDS = (0.5, -0.8, 0.2)


@pytest.fixture
def dataset(tmp_path):
    return write_ends(tmp_path / "goals.zarr", ENDS)


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
    assert policy.executed[0] is None
    assert [p[:, 1].tolist() for p in policy.executed[1:]] == [[1, 1], [2, 2]]
    assert all(p.dtype == np.float32 and p.shape == (2, 2) for p in policy.executed[1:])


def test_without_a_past_in_the_window_no_executed_actions_are_given(dataset):
    policy = SeekPolicy(obs_horizon=1)
    run_episode(policy, TinyLine(), 0, RolloutConfig(max_steps=3), goals=Goals(GoalSource(dataset), policy.spec))
    assert policy.executed == [None] * 3


@pytest.mark.slow
def test_results_say_which_goals_were_used(dataset, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    config = EvaluationConfig("tiny_line", 4, workers=1, goals=GoalSource(dataset))
    results = evaluate(PolicySource(factory="tiny_world:make_seeker"), config, tmp_path / "out")
    assert results.successes == 4
    assert [e.goal_episode for e in results.episodes] == [0, 1, 2, 0]
    goals = results.settings["goals"]
    assert (goals["dataset"], goals["mask"], goals["episodes"]) == (str(dataset), None, 3)
    assert len(goals["checksum"]) == 64


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
