import math

import numpy as np
import pytest
import torch
from tiny import OBJECTS, STATE, tiny_batch, tiny_observation, tiny_policy
from toy import fit, toy_policy, toy_samples, two_ways

from robolearn.core.errors import ConfigError
from robolearn.policies.bc_transformer import BcTransformerConfig
from robolearn.policies.noise import Noise

SIZES = {"embed_dim": 16, "layers": 2, "heads": 2, "modes": 2}
SMALL = BcTransformerConfig(obs_horizon=4, **SIZES)
GOAL = BcTransformerConfig(obs_horizon=4, goals=(OBJECTS.name,), goal_horizon=2, **SIZES)
MEAN = BcTransformerConfig(obs_horizon=4, head="regression", **SIZES)


def features(policy, batch):
    context = policy.context(batch)
    return policy.gpt(context.observation, context.goal)


def test_parameters_are_those_of_robomimic_but_for_three_biases_a_layer():
    d, window = 512, 10
    block = 3 * d * d + (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d) + 2 * 2 * d
    robomimic = (6 * d + d) + window * d + 2 * d + 6 * block + 2 * d + (d + 1) * 5 * (3 + 3 + 1)
    count = sum(p.numel() for p in tiny_policy("bc_transformer", BcTransformerConfig()).parameters())
    assert count == robomimic + 6 * 3 * d


@pytest.mark.parametrize("config", [SMALL, MEAN], ids=["mixture", "regression"])
def test_steps_before_the_episode_have_no_label(config):
    policy = tiny_policy("bc_transformer", config).eval()
    batch = tiny_batch(policy)
    batch["action.is_pad"][:, :2] = True
    loss = policy.loss(batch, Noise(0))
    batch["action"][:, :2] += 1.0
    assert torch.equal(policy.loss(batch, Noise(0)), loss)
    batch["action"][:, 2] += 1.0
    assert not torch.equal(policy.loss(batch, Noise(0)), loss)


def test_the_regression_loss_is_the_squared_error_of_all_steps():
    policy = tiny_policy("bc_transformer", MEAN).eval()
    torch.nn.init.zeros_(policy.head.weight)
    torch.nn.init.zeros_(policy.head.bias)
    batch = tiny_batch(policy)
    assert torch.allclose(policy.loss(batch, Noise(0)), policy.actions(batch).square().mean(), atol=1e-6)


def test_earlier_steps_do_not_see_later_observations():
    policy = tiny_policy("bc_transformer", GOAL).eval()
    batch = tiny_batch(policy)
    before = features(policy, batch)
    batch[STATE.name][:, 2] += 1.0
    after = features(policy, batch)
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-6)
    assert not torch.allclose(before[:, 2], after[:, 2], atol=1e-3)


def test_every_step_sees_the_goal():
    policy = tiny_policy("bc_transformer", GOAL).eval()
    batch = tiny_batch(policy)
    before = features(policy, batch)
    batch["goal." + OBJECTS.name][:, -1] += 1.0
    assert ((features(policy, batch) - before).abs().amax(dim=-1) > 1e-4).all()


def test_a_generator_decides_the_action():
    policy = tiny_policy("bc_transformer", GOAL).eval()
    goal = {OBJECTS.name: np.zeros((2, 2))}

    def act(seed):
        return policy.predict_chunk(tiny_observation(4), goal, generator=torch.Generator().manual_seed(seed))

    assert act(0).shape == (1, 3) and np.array_equal(act(0), act(0))
    assert any(not np.array_equal(act(0), act(seed)) for seed in range(1, 9))


@pytest.mark.slow
def test_a_mixture_keeps_both_ways_and_a_regression_takes_their_mean():
    small = {"obs_horizon": 2, "embed_dim": 16, "layers": 1, "heads": 2, "modes": 3, "dropout": 0.0}
    policy = toy_policy("bc_transformer", BcTransformerConfig(**small))
    fit(policy, 150, rate=1e-2)
    assert two_ways(policy) == pytest.approx(0.7, abs=0.06)
    policy = toy_policy("bc_transformer", BcTransformerConfig(**small, head="regression"))
    fit(policy, 60, rate=1e-2)
    assert toy_samples(policy).numpy() == pytest.approx(np.full((1000, 1), -0.2), abs=0.15)


def test_bad_options_are_named():
    for wrong in (
        {"modes": 0},
        {"sample_std": 0.0},
        {"min_std": math.inf},
        {"attention_dropout": -0.1},
        {"head": "linear"},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            BcTransformerConfig(**wrong)
