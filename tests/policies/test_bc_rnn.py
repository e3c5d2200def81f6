import math

import numpy as np
import pytest
import torch
from tiny import OBJECTS, STATE, tiny_batch, tiny_observation, tiny_policy
from toy import fit, toy_policy, two_ways

from robolearn.core.errors import ConfigError
from robolearn.policies.bc_rnn import BcRnnConfig
from robolearn.policies.networks.gmm import Mixture
from robolearn.policies.noise import Noise

SMALL = BcRnnConfig(obs_horizon=4, hidden_dim=8, layers=1, modes=2)
GOAL = BcRnnConfig(obs_horizon=4, hidden_dim=8, layers=1, modes=2, goals=(OBJECTS.name,), goal_horizon=2)


def test_parameters_are_those_of_robomimic():
    """Two LSTM layers of 400, whose gates read input and state and have two biases, and one linear for each output."""
    layer = [4 * 400 * (inputs + 400) + 2 * 4 * 400 for inputs in (6, 400)]
    heads = 401 * (5 * 3) + 401 * (5 * 3) + 401 * 5
    count = sum(p.numel() for p in tiny_policy("bc_rnn", BcRnnConfig()).parameters())
    assert count == sum(layer) + heads


def test_the_loss_is_the_mean_over_rows_and_steps():
    policy = tiny_policy("bc_rnn", SMALL)
    batch = tiny_batch(policy)
    whole = policy.loss(batch, Noise(0))
    rows = [policy.loss({k: v[i : i + 1] for k, v in batch.items()}, Noise(0)) for i in range(4)]
    assert torch.allclose(whole, torch.stack(rows).mean(), atol=1e-6)
    log_prob = policy.mixtures(policy.context(batch)).log_prob(policy.actions(batch))
    assert torch.allclose(whole, -log_prob.mean(), atol=1e-6)


def test_steps_before_the_episode_have_no_label():
    policy = tiny_policy("bc_rnn", SMALL)
    batch = tiny_batch(policy)
    batch["action.is_pad"][:, :2] = True
    loss = policy.loss(batch, Noise(0))
    batch["action"][:, :2] += 1.0
    assert torch.equal(policy.loss(batch, Noise(0)), loss)
    batch["action"][:, 2] += 1.0
    assert not torch.equal(policy.loss(batch, Noise(0)), loss)


def test_earlier_predictions_do_not_see_later_observations():
    policy = tiny_policy("bc_rnn", SMALL)
    batch = tiny_batch(policy)
    before = policy.mixtures(policy.context(batch)).mean
    batch[STATE.name][:, 2] += 1.0
    after = policy.mixtures(policy.context(batch)).mean
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])


def test_each_step_predicts_the_chunk_from_it_on():
    policy = tiny_policy("bc_rnn", BcRnnConfig(obs_horizon=3, action_horizon=2, hidden_dim=8, layers=1, modes=2))
    batch = tiny_batch(policy)
    chunks, actions = policy.chunks(batch), policy.actions(batch)
    assert chunks.shape == (4, 3, 2, 3)
    for step in range(3):
        assert torch.equal(chunks[:, step], actions[:, step : step + 2])
    assert policy.predict_chunk(tiny_observation(3)).shape == (2, 3)


def test_the_action_is_drawn_from_the_mixture_of_the_newest_step():
    """Three steps, each sure of another mode: of their nine means only one can be drawn."""
    policy = tiny_policy("bc_rnn", BcRnnConfig(obs_horizon=3, hidden_dim=8, layers=1, modes=3))
    mean = torch.arange(9.0).view(1, 3, 3, 1).expand(1, 3, 3, 3)
    policy.mixtures = lambda context: Mixture(100 * torch.eye(3)[None], mean, torch.ones(1, 3, 3, 3))
    action = policy.sample(policy.context(tiny_batch(policy, rows=1)), torch.Generator().manual_seed(0))
    assert torch.allclose(action, torch.full((1, 1, 3), 8.0), atol=1e-3)


def test_a_generator_decides_the_action_and_the_goal_changes_it():
    policy = tiny_policy("bc_rnn", GOAL)

    def act(seed, goal):
        goal = {OBJECTS.name: np.full((2, 2), goal)}
        return policy.predict_chunk(tiny_observation(4), goal, generator=torch.Generator().manual_seed(seed))

    assert np.array_equal(act(0, 0.0), act(0, 0.0))
    assert np.abs(act(0, 0.0) - act(0, 2.0)).max() > 1e-3


@pytest.mark.slow
def test_both_ways_are_kept_with_their_shares():
    policy = toy_policy("bc_rnn", BcRnnConfig(obs_horizon=2, hidden_dim=16, layers=1, modes=3))
    fit(policy, 300, rate=1e-2)
    assert two_ways(policy) == pytest.approx(0.7, abs=0.06)


def test_bad_options_are_named():
    for wrong in ({"modes": 0}, {"min_std": 0.0}, {"sample_std": math.inf}, {"dropout": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            BcRnnConfig(**wrong)
