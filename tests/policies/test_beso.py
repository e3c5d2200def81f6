from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ACTION, OBJECTS, STATE, tiny_observation, tiny_policy

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.policies.beso import BesoConfig
from robolearn.policies.networks.score_transformer import ScoreTransformer

SMALL = BesoConfig(obs_horizon=3, action_horizon=4, embed_dim=24, layers=2, heads=2, attention_dropout=0.0, dropout=0.0)


def randomise(policy):
    """Weights large enough for inputs to matter; a fresh GPT head hardly looks at them."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_(0.0, 0.3)
    return policy.eval()


def test_the_block_push_network_has_the_published_size():
    # 10-d observations, 2-d actions, window 5, one goal state: 2.8 M weights
    network = ScoreTransformer(10, 2, 5, 1, 1, dim=240, layers=4, heads=12, attention_dropout=0.05, dropout=0.05)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(2.78, abs=0.03)


@pytest.mark.parametrize("changed", range(6))
def test_no_action_sees_a_later_token(changed):
    network = ScoreTransformer(6, 3, 3, 4, 0, 24, 2, 2, 0.0, 0.0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.3)
    observation, action = torch.randn(1, 3, 6), torch.randn(1, 6, 3)
    before = network(observation, action, torch.zeros(1), None)
    other = action.clone()
    other[:, changed] += 1.0
    after = network(observation, other, torch.zeros(1), None)
    same = torch.isclose(before, after, atol=1e-6).all(dim=-1)[0]
    assert same[:changed].all() and not same[changed:].any()


def test_the_first_actions_ignore_later_observations():
    network = ScoreTransformer(6, 3, 3, 4, 0, 24, 2, 2, 0.0, 0.0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.3)
    observation, action = torch.randn(1, 3, 6), torch.randn(1, 6, 3)
    other = observation.clone()
    other[:, 2] += 1.0
    same = torch.isclose(
        network(observation, action, torch.zeros(1), None), network(other, action, torch.zeros(1), None), atol=1e-6
    ).all(dim=-1)[0]
    assert same.tolist() == [True, True, False, False, False, False]


def test_prediction_is_a_pure_function_of_its_arguments():
    policy = randomise(tiny_policy("beso", SMALL))
    observation = tiny_observation(3)
    chunks = []
    for other_seed in (5, 6):
        policy.predict_chunk(tiny_observation(3, other_seed))
        chunks.append(policy.predict_chunk(observation, generator=torch.Generator().manual_seed(1)))
    assert chunks[0].shape == (4, 3) and chunks[0].dtype == np.float32
    assert np.array_equal(chunks[0], chunks[1])


def test_the_loss_of_a_perfect_network_is_zero():
    policy = tiny_policy("beso", replace(SMALL, obs_horizon=1))
    batch = {f.name: torch.randn(8, h, *f.shape) for f, h in ((STATE, 1), (OBJECTS, 1), (ACTION, 4))}
    clean = policy.action_vector(batch)

    def perfect(observation, scaled, noise, goal, keep_goal=None):
        sigma = (4 * noise).exp()[:, None, None]
        total = (sigma**2 + 0.25).sqrt()
        noisy = scaled * total
        return (clean - 0.25 / total**2 * noisy) / (sigma * 0.5 / total)

    policy.network.forward = perfect
    assert float(policy.loss(batch)) == pytest.approx(0.0, abs=1e-9)


def test_dropping_goals_replaces_whole_goals_by_the_learned_token():
    policy = randomise(tiny_policy("beso", replace(SMALL, goal_horizon=2)))
    network = policy.network
    observation, action, goal = torch.randn(2, 3, 6), torch.randn(2, 6, 3), torch.randn(2, 2, 6)
    keep = torch.tensor([True, False])
    mixed = network(observation, action, torch.zeros(2), goal, keep)
    given = network(observation, action, torch.zeros(2), goal)
    free = network(observation, action, torch.zeros(2), None)
    assert torch.allclose(mixed[0], given[0], atol=1e-6) and torch.allclose(mixed[1], free[1], atol=1e-6)
    assert not torch.allclose(given[1], free[1], atol=1e-4)


def test_guidance_zero_ignores_the_goal_and_one_is_unguided():
    observation, goal = tiny_observation(3), tiny_observation(2, seed=9)
    chunks = {}
    for guidance in (0.0, 1.0, 2.0):
        policy = randomise(tiny_policy("beso", replace(SMALL, goal_horizon=2, guidance=guidance, clip=100.0)))
        chunks[guidance] = policy.predict_chunk(observation, goal, generator=torch.Generator().manual_seed(0))
        chunks["free"] = policy.predict_chunk(observation, None, generator=torch.Generator().manual_seed(0))
    assert np.allclose(chunks[0.0], chunks["free"], atol=1e-4)
    assert not np.allclose(chunks[1.0], chunks["free"], atol=1e-3)
    assert not np.allclose(chunks[1.0], chunks[2.0], atol=1e-3)


def test_executed_actions_change_what_follows():
    policy = randomise(tiny_policy("beso", replace(SMALL, clip=100.0)))
    observation = tiny_observation(3)
    chunks = [
        policy.predict_chunk(observation, prefix=prefix, generator=torch.Generator().manual_seed(0))
        for prefix in (None, np.zeros((2, 3)), np.ones((2, 3)), np.ones((5, 3)))
    ]
    assert not np.allclose(chunks[1], chunks[2], atol=1e-4)
    assert np.array_equal(chunks[2], chunks[3]), "only the last obs_horizon - 1 executed actions count"


@pytest.mark.parametrize("prefix", [np.zeros((2, 2)), np.zeros(3), np.full((2, 3), np.nan)], ids=str)
def test_malformed_executed_actions_are_refused(prefix):
    with pytest.raises(FeatureError, match=r"executed actions of shape \(steps, 3\) and finite numbers"):
        tiny_policy("beso", SMALL).predict_chunk(tiny_observation(3), prefix=prefix)


def test_a_goal_for_a_goal_free_policy_is_refused():
    policy = tiny_policy("beso", SMALL)
    with pytest.raises(FeatureError, match="takes no goal"):
        policy.predict_chunk(tiny_observation(3), goal=tiny_observation(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("observation.environment_state"), "needs feature 'observation.environment_state'"),
        (lambda o: o.update({"observation.state": o["observation.state"][:1]}), r"expects .* \(3, 4\)"),
        (lambda o: o["observation.state"].__setitem__((0, 0), np.nan), "non-finite"),
        (lambda o: o.update({"observation.state": o["observation.state"].astype(str)}), "as numbers, found dtype <U"),
    ],
)
def test_wrong_observations_are_named(change, message):
    policy, observation = tiny_policy("beso", SMALL), tiny_observation(3)
    change(observation)
    with pytest.raises(FeatureError, match=message):
        policy.predict_chunk(observation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_min": 2.0}, "sigma_min < sigma_max"),
        ({"sampling_steps": 0}, "sampling_steps"),
        ({"heads": 7}, "multiple of heads"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        tiny_policy("beso", replace(SMALL, **options))
