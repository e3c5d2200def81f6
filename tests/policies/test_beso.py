import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import OBJECTS, STATE, tiny_batch, tiny_observation, tiny_policy

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.policies.beso import BesoConfig
from robolearn.policies.noise import Noise
from robolearn.policies.samplers import SAMPLERS, SCHEDULES

SINGLE = BesoConfig(obs_horizon=3, embed_dim=24, layers=2, heads=2, attention_dropout=0.0, dropout=0.0)
CHUNK = replace(SINGLE, action_horizon=4)
GOAL = replace(SINGLE, goals=("observation.state",), goal_horizon=2)
MODES = pytest.mark.parametrize("config", [SINGLE, CHUNK, GOAL, replace(SINGLE, executed_actions=False)])


def randomise(policy):
    """Weights large enough for inputs to matter; a fresh GPT head hardly looks at them."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_(0.0, 0.3)
    return policy.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@MODES
def test_prediction_is_a_pure_function_of_its_arguments(config):
    policy = randomise(tiny_policy("beso", config))
    chunks = []
    for other_seed in (5, 6):
        policy.predict_chunk(tiny_observation(3, other_seed))
        chunks.append(policy.predict_chunk(tiny_observation(3), generator=seeded(1)))
    assert chunks[0].shape == (config.action_horizon, 3) and chunks[0].dtype == np.float32
    assert np.array_equal(chunks[0], chunks[1])


def perfect_network(policy, batch):
    """Answers with the true target of `batch`, whatever noise it sees."""
    actions = policy.actions(batch)

    def forward(context, scaled, noise):
        clean = actions[:, -scaled.shape[1] :]
        sigma = (4 * noise).exp()[..., None]
        total = (sigma**2 + 0.25).sqrt()
        return (clean - 0.25 / total**2 * scaled * total) / (sigma * 0.5 / total)

    return forward


@MODES
def test_the_loss_of_a_perfect_network_is_zero(config):
    policy = tiny_policy("beso", config)
    batch = tiny_batch(policy, rows=8)
    policy.network.forward = perfect_network(policy, batch)
    assert float(policy.loss(batch, Noise(0))) == pytest.approx(0.0, abs=1e-9)


def test_every_step_of_a_window_is_a_target_but_those_from_before_the_episode():
    policy = tiny_policy("beso", SINGLE)
    batch = tiny_batch(policy, rows=1)
    perfect = perfect_network(policy, batch)
    wrong = torch.tensor([1.0, 2.0, 4.0])[:, None]
    policy.network.forward = lambda *args: perfect(*args) + wrong
    assert float(policy.loss(batch, Noise(0))) == pytest.approx((1 + 4 + 16) / 3, rel=1e-4)
    batch["action.is_pad"][0, 0] = True
    assert float(policy.loss(batch, Noise(0))) == pytest.approx((4 + 16) / 2, rel=1e-4)


def test_the_first_action_of_an_episode_is_not_shown_to_the_policy_that_predicts_it():
    # before the episode the window repeats its first action, which is the label of the first step
    policy = randomise(tiny_policy("beso", SINGLE))
    batch = tiny_batch(policy, rows=1)
    batch["action.is_pad"][:, :2] = True
    losses = []
    for repeated in (0.0, 0.4):
        batch["action"][:, :2] = repeated
        losses.append(float(policy.loss(batch, Noise(0)).detach()))
    assert losses[0] == losses[1]


def test_goals_are_dropped_at_the_given_rate():
    policy = tiny_policy("beso", replace(GOAL, goal_dropout=0.25))
    kept = []
    context = policy.network.context
    policy.network.context = lambda *args: kept.append(args[-1]) or context(*args)
    policy.loss(tiny_batch(policy, rows=4000), Noise(0))
    assert kept[0].shape == (4000,)
    assert float(kept[0].float().mean()) == pytest.approx(0.75, abs=0.03)


def test_guidance_is_an_extrapolation_from_the_goal_free_prediction():
    observation, goal = tiny_observation(3), tiny_observation(2, seed=9)
    # one step from the largest noise level: the answer is D itself, which is linear in the guidance weight
    base = replace(GOAL, sampling_steps=1, clip=1e6)
    chunks = {}
    for weight in (0.0, 1.0, 2.5):
        policy = randomise(tiny_policy("beso", replace(base, guidance=weight)))
        chunks[weight] = policy.predict_chunk(observation, goal, generator=seeded())
        free = policy.predict_chunk(observation, None, generator=seeded())
        assert np.allclose(free, chunks[0.0], atol=1e-4)
    assert not np.allclose(chunks[1.0], free, atol=1e-2)
    assert np.allclose(chunks[2.5], free + 2.5 * (chunks[1.0] - free), rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("full_precision")  # the batch and one row of it take different ways through the weights
def test_rows_of_a_guided_batch_do_not_mix(monkeypatch):
    policy = randomise(tiny_policy("beso", replace(GOAL, guidance=1.7, sampler="ddim", clip=1e6)))
    batch, noise = tiny_batch(policy, rows=3), torch.randn(3, 1, 3, generator=seeded())

    def predict(rows):
        monkeypatch.setattr("robolearn.policies.beso.randn", lambda shape, generator, like: noise[rows])
        return policy.predict({name: values[rows] for name, values in batch.items()})

    together = predict(slice(0, 3))
    assert (together[1:] - together[:-1]).abs().min() > 0.05, "rows differ, so that mixing them shows"
    for row in range(3):
        assert torch.allclose(predict(slice(row, row + 1))[0], together[row], rtol=1e-4, atol=1e-5)


def test_a_policy_trained_with_goals_only_wants_one():
    policy = tiny_policy("beso", replace(GOAL, goal_dropout=0.0)).eval()
    assert policy.predict_chunk(tiny_observation(3), tiny_observation(2)).shape == (1, 3)
    with pytest.raises(FeatureError, match=r"goal_dropout 0.* expected the features observation\.state as a goal"):
        policy.predict_chunk(tiny_observation(3))


@pytest.mark.parametrize("config", [SINGLE, CHUNK])
def test_executed_actions_change_what_follows(config):
    policy = randomise(tiny_policy("beso", replace(config, clip=100.0)))
    chunks = [
        policy.predict_chunk(tiny_observation(3), executed=executed, generator=seeded())
        for executed in (None, np.zeros((2, 3)), np.ones((2, 3)), np.ones((5, 3)))
    ]
    assert not np.allclose(chunks[0], chunks[1], atol=1e-4), "unknown is not zero"
    assert not np.allclose(chunks[1], chunks[2], atol=1e-4)
    assert np.array_equal(chunks[2], chunks[3]), "only the last obs_horizon - 1 executed actions count"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_and_schedule_finds_the_one_action_of_the_data(sampler, schedule):
    policy = tiny_policy("beso", replace(CHUNK, sampler=sampler, schedule=schedule)).eval()
    target = torch.full((1, 4, 3), 0.3)
    policy._denoiser = lambda context: lambda action, sigma: target
    context = policy.context(tiny_batch(policy, rows=1))
    assert torch.allclose(policy.sample(context, seeded()), target, atol=1e-6)


def test_actions_are_clipped_to_a_multiple_of_the_datas_range():
    policy = tiny_policy("beso", replace(SINGLE, clip=0.8)).eval()
    policy._denoiser = lambda context: lambda action, sigma: torch.full_like(action, 5.0)
    assert torch.equal(policy.sample(policy.context(tiny_batch(policy)), seeded()), torch.full((4, 1, 3), 0.8))


def test_a_value_function_pulls_actions_up_its_slope():
    policy = randomise(tiny_policy("beso", replace(CHUNK, sampling_steps=1, sigma_max=1.0, clip=1e6, value_weight=0.5)))
    batch = tiny_batch(policy, rows=2)
    plain = policy.sample(policy.context(batch), seeded())
    slope = torch.randn(4, 3, generator=seeded(1), requires_grad=True)
    seen = []

    def value(context, action, sigma):
        seen.append(sigma)
        return ((action * slope).sum(dim=-1) * context.observation[..., :1, 0]).sum(dim=1)

    policy.value = value
    with torch.inference_mode():
        guided = policy.sample(policy.context(batch), seeded())
    of_row = policy.context(batch).observation[:, 0, 0][:, None, None]
    # one step at sigma = 1: the action is D + weight sigma^2 dQ/da
    assert torch.allclose(guided - plain, 0.5 * slope.detach() * of_row, atol=1e-5)
    assert seen == [1.0]


@pytest.mark.slow
def test_training_fits_two_modes_that_regression_would_average():
    # the action is -0.5 or 0.5 by chance: samples must be near one of them, and reach both
    torch.manual_seed(0)
    config = replace(SINGLE, obs_horizon=1, layers=1, sigma_min=0.02, sampling_steps=8)
    policy = tiny_policy("beso", config)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    batch = {
        name: torch.zeros(128, 1, *feature.shape) for name, feature in ((STATE.name, STATE), (OBJECTS.name, OBJECTS))
    }
    batch |= {"action.is_pad": torch.zeros(128, 1, dtype=torch.bool)}
    centre = policy._action_offset
    for step in range(300):
        side = torch.randint(0, 2, (128, 1, 1), generator=seeded(step)) - 0.5
        batch["action"] = (side.expand(128, 1, 3) - centre) / policy._action_scale
        optimizer.zero_grad()
        policy.loss(batch, Noise(step)).backward()
        optimizer.step()
    sampled = policy.eval().sample(policy.context(batch), seeded())[:, 0]
    assert float((sampled.abs() - 0.5).abs().mean()) < 0.15
    assert 0.3 < float((sampled[:, 0] > 0).float().mean()) < 0.7
    together = (sampled[:, 0] > 0) == (sampled[:, 2] > 0)
    assert float(together.float().mean()) > 0.9


@pytest.mark.parametrize("executed", [np.zeros((2, 2)), np.zeros(3), np.full((2, 3), np.nan)], ids=str)
def test_malformed_executed_actions_are_refused(executed):
    with pytest.raises(FeatureError, match=r"executed actions of shape \(steps, 3\) and finite numbers"):
        tiny_policy("beso", SINGLE).predict_chunk(tiny_observation(3), executed=executed)


def test_half_a_goal_is_refused():
    policy = tiny_policy("beso", replace(GOAL, goals=(STATE.name, OBJECTS.name)))
    batch = tiny_batch(policy)
    del batch[f"goal.{OBJECTS.name}"]
    with pytest.raises(FeatureError, match=f"needs all its features .* found none of {OBJECTS.name}"):
        policy.loss(batch, Noise(0))


def test_a_goal_for_a_goal_free_policy_is_refused():
    with pytest.raises(FeatureError, match="takes no goal"):
        tiny_policy("beso", SINGLE).predict_chunk(tiny_observation(3), goal=tiny_observation(1))


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
    policy, observation = tiny_policy("beso", SINGLE), tiny_observation(3)
    change(observation)
    with pytest.raises(FeatureError, match=message):
        policy.predict_chunk(observation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_min": 3.0}, "sigma_min < sigma_max"),
        ({"sampling_steps": 0}, "sampling_steps must be at least 1, found 0"),
        ({"heads": 7}, "multiple of heads"),
        ({"goal_dropout": 1.0}, r"goal_dropout must lie in \[0, 1\), found 1.0"),
        ({"sigma_max": math.inf}, "sigma_max must be finite, found inf"),
        ({"sigma_min": math.nan}, "sigma_min must be finite, found nan"),
        ({"sigma_data": math.inf}, "sigma_data must be finite, found inf"),
        ({"sigma_data": 0.0}, "sigma_data must be positive, found 0"),
        ({"guidance": math.nan}, "guidance must be finite, found nan"),
        ({"value_weight": math.nan}, "value_weight must be finite, found nan"),
        ({"clip": math.nan}, "clip must be positive, found nan"),
        ({"obs_horizon": 0}, "obs_horizon must be at least 1, found 0"),
        ({"action_horizon": 0}, "action_horizon must be at least 1, found 0"),
        ({"goals": ("observation.state",), "goal_dropout": 0.0, "guidance": 2.0}, "goal_dropout above 0, found 0"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        tiny_policy("beso", replace(SINGLE, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "hean"}, "Unknown sampler 'hean'. Did you mean 'heun'?"),
        ({"schedule": "vip"}, "Unknown schedule 'vip'. Did you mean 'vp'?"),
    ],
)
def test_misspelt_samplers_are_found_before_training(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(SINGLE, **options)


def test_actions_may_go_unclipped():
    assert replace(SINGLE, clip=math.inf).clip == math.inf


def test_sampling_options_are_fields_of_the_configuration():
    policy = tiny_policy("beso", SINGLE)
    assert all(hasattr(SINGLE, name) for name in policy.SAMPLING)
