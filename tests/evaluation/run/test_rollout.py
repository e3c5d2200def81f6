import re
import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, FeatureError, MissingDependencyError
from robolearn.core.feature import Feature
from robolearn.evaluation.run.rollout import RolloutConfig, episode_generator, run_episode

sys.path.append(str(Path(__file__).parents[1]))
from tiny_world import LinePolicy, TinyLine


@pytest.mark.parametrize(("init_state", "steps"), [(0, 10), (5, 15), (20, 30)])
def test_going_right_takes_as_many_steps_as_the_distance_says(init_state, steps):
    result = run_episode(LinePolicy(), TinyLine(), init_state)
    assert (result.success, result.steps, result.first_success_step) == (True, steps, steps)
    assert result.final_score == pytest.approx(1.0, abs=1e-6)
    assert result.init_state == init_state


def test_an_episode_that_is_cut_short_is_a_failure_with_its_best_score():
    result = run_episode(LinePolicy(), TinyLine(), 2, RolloutConfig(max_steps=6))
    assert (result.success, result.steps, result.first_success_step) == (False, 6, None)
    assert result.max_score == pytest.approx(-0.2 + 0.6)


def test_a_score_that_falls_again_leaves_its_peak_as_the_best():
    class ThereAndBack(LinePolicy):
        def predict_chunk(self, observations, goal=None, executed=None, generator=None):
            return np.array([[0.1, 0], [0.1, 0], [0.1, 0], [-0.1, 0]], np.float32)

    result = run_episode(ThereAndBack(), TinyLine(max_steps=4), 0, RolloutConfig(execute=4))
    assert (result.max_score, result.final_score) == (pytest.approx(0.3), pytest.approx(0.2))


def test_the_environments_own_limit_holds():
    assert run_episode(LinePolicy(), TinyLine(max_steps=7), 0, RolloutConfig(max_steps=100)).steps == 7


@pytest.mark.parametrize(("execute", "inferences"), [(1, 10), (2, 5), (3, 4), (4, 3), (None, 5)])
def test_a_chunk_is_asked_for_when_the_executed_part_of_the_last_is_used(execute, inferences):
    assert run_episode(LinePolicy(), TinyLine(), 0, RolloutConfig(execute=execute)).inferences == inferences


def test_actions_are_executed_in_the_order_of_their_chunks():
    class Counting(LinePolicy):
        def predict_chunk(self, observations, goal=None, executed=None, generator=None):
            self.windows.append(observations)
            chunk = np.zeros((4, 2), np.float32)
            chunk[:, 1] = 10 * len(self.windows) + np.arange(4)
            return chunk

    env = TinyLine(max_steps=7)
    run_episode(Counting(), env, 0, RolloutConfig(execute=3))
    assert [a[1] for a in env.actions] == [10, 11, 12, 20, 21, 22, 30]


def test_the_policy_sees_the_newest_observations_oldest_first():
    policy = LinePolicy(obs_horizon=3)
    run_episode(policy, TinyLine(), 0, RolloutConfig(execute=2, max_steps=4))
    np.testing.assert_allclose([w[:, 0] for w in policy.windows], [[0, 0, 0], [0, 0.1, 0.2]], atol=1e-6)


def test_random_numbers_depend_on_seed_and_start_state_only():
    def draw(seed, k):
        return episode_generator(seed, k).initial_seed()

    assert draw(0, 1) == draw(0, 1)
    assert len({draw(s, k) for s in range(10) for k in range(10)}) == 100
    policy = LinePolicy(noise=0.05)
    alone = run_episode(policy, TinyLine(), 3)
    run_episode(policy, TinyLine(), 4)
    assert run_episode(policy, TinyLine(), 3) == alone


def test_a_non_finite_action_names_policy_step_and_element_and_is_never_stepped():
    env = TinyLine()
    with pytest.raises(FeatureError, match=r"policy 'p', start state 3, step 0: .*nan at step, action 1"):
        run_episode(LinePolicy(fault="nan"), env, 3, policy_name="policy 'p'")
    assert env.actions == []


def tiring(error):
    """A policy that predicts three chunks and then raises; of each, two actions are executed."""

    class Tiring(LinePolicy):
        def predict_chunk(self, *given):
            if len(self.windows) == 3:
                raise error
            return super().predict_chunk(*given)

    return Tiring()


def test_a_policy_that_fails_on_its_way_has_failed_and_says_how():
    result = run_episode(tiring(KeyError("no such layer")), TinyLine(), 0)
    assert (result.success, result.steps, result.inferences) == (False, 6, 3)
    assert result.max_score == pytest.approx(0.6)
    assert re.match(r"step 6: KeyError: 'no such layer' at .*test_rollout.py, line \d+", result.fault)


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk"), MissingDependencyError("no library")])
def test_what_the_machine_lacks_is_no_failure_of_the_policy(error):
    with pytest.raises(type(error)):
        run_episode(tiring(error), TinyLine(), 0)


def test_a_chunk_of_a_wrong_shape_names_both_shapes():
    policy = LinePolicy()
    policy.predict_chunk = lambda *_: np.zeros((3, 2), np.float32)
    with pytest.raises(FeatureError, match=r"step 0: predicted actions of shape \(3, 2\), expected \(4, 2\)"):
        run_episode(policy, TinyLine(), 0)


def test_an_observation_the_environment_lacks_names_both_sides():
    policy = LinePolicy(state=Feature("observation.environment_state", (1,)))
    with pytest.raises(FeatureError, match=r"policy 'p' needs feature 'observation.environment_state', which "
                                           r"environment 'tiny_line' lacks"):  # fmt: skip
        run_episode(policy, TinyLine(), 0, policy_name="policy 'p'")


def test_another_control_rate_is_refused():
    with pytest.raises(FeatureError, match=r"trained on actions at 10 Hz; environment 'tiny_line' takes them at 20 Hz"):
        run_episode(LinePolicy(control_hz=10.0), TinyLine(), 0)


@pytest.mark.parametrize("execute", [0, 5])
def test_executing_more_than_the_chunk_or_nothing_is_refused(execute):
    with pytest.raises(ConfigError, match=rf"--execute is {execute}; .* chunks of 4 actions, so give 1 to 4"):
        run_episode(LinePolicy(), TinyLine(), 0, RolloutConfig(execute=execute))


def test_watchers_see_the_start_and_every_step():
    seen = []
    run_episode(LinePolicy(), TinyLine(), 0, on_step=lambda env, step, success: seen.append((step, success)))
    assert seen == [(k, k == 10) for k in range(11)]
