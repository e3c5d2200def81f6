import numpy as np
import pytest
import torch
from tiny import ACTION, OBJECTS, STATE, tiny_batch, tiny_observation, tiny_policy
from toy import fit, toy_policy, toy_samples

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.policies.bc import BcConfig
from robolearn.policies.noise import Noise

GOAL = BcConfig(obs_horizon=2, action_horizon=3, hidden_dim=16, layers=1, goals=(OBJECTS.name,), goal_horizon=2)


def parameters(*widths):
    """Of an MLP with LayerNorm in every hidden layer, written out."""
    linear = sum(before * after + after for before, after in zip(widths[:-1], widths[1:], strict=True))
    return linear + sum(2 * width for width in widths[1:-1])


def test_bc_is_deterministic_and_fits_a_linear_rule():
    torch.manual_seed(0)
    policy = tiny_policy("bc", BcConfig(obs_horizon=2, action_horizon=3, hidden_dim=32, layers=1))
    matrix = torch.randn(4, 3) * 0.3
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for step in range(300):
        batch = tiny_batch(policy, 64, seed=step)
        batch[ACTION.name] = (batch[STATE.name][:, -1:] @ matrix).expand(-1, 4, -1)
        batch[OBJECTS.name].zero_()
        loss = policy.loss(batch, Noise(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.01
    observation = tiny_observation(2)
    assert np.array_equal(policy.predict_chunk(observation), policy.predict_chunk(observation))


def test_the_loss_is_the_squared_error_of_the_future_actions_alone():
    policy = tiny_policy("bc", BcConfig(obs_horizon=3, action_horizon=2, hidden_dim=8, layers=1))
    batch = tiny_batch(policy)
    torch.nn.init.zeros_(policy.network[-1].weight)
    torch.nn.init.zeros_(policy.network[-1].bias)
    expected = policy.actions(batch)[:, 2:].square().mean()
    assert policy.loss(batch, Noise(0)).item() == pytest.approx(float(expected), rel=1e-6)


def test_parameters_follow_from_the_widths():
    count = sum(p.numel() for p in tiny_policy("bc", GOAL).parameters())
    assert count == parameters(2 * 6 + 2 * 2, 16, 3 * 3)
    default = tiny_policy("bc", BcConfig())
    assert sum(p.numel() for p in default.parameters()) == parameters(6, 512, 512, 512, 8 * 3)


def test_the_goal_changes_the_action():
    policy = tiny_policy("bc", GOAL)
    observation = tiny_observation(2)
    chunks = [policy.predict_chunk(observation, goal={OBJECTS.name: np.full((2, 2), x)}) for x in (0.0, 1.0)]
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-3


def test_a_goal_is_demanded_where_it_was_trained_with():
    with pytest.raises(FeatureError, match=r"needs a goal \(observation.environment_state, 2 steps\), found none"):
        tiny_policy("bc", GOAL).predict_chunk(tiny_observation(2))


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"hidden_dim": 0}, {"dropout": 1.0}, {"goal_horizon": 0}])
def test_bad_options_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BcConfig(**wrong)


def test_where_ways_part_bc_takes_their_mean():
    """The negative control of the multi-modal policies: 0.7 * -0.5 + 0.3 * 0.5 is no way at all."""
    policy = toy_policy("bc", BcConfig(action_horizon=2, hidden_dim=32, layers=1))
    fit(policy, 150)
    assert toy_samples(policy).numpy() == pytest.approx(np.full((1000, 2), -0.2), abs=0.12)
