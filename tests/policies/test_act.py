import math

import numpy as np
import pytest
import torch
from tiny import OBJECTS, tiny_batch, tiny_observation, tiny_policy
from toy import SHARE, WAY, fit, toy_batch, toy_policy, toy_samples

from robolearn.core.errors import ConfigError
from robolearn.policies.act import ActConfig, kl_to_standard_normal
from robolearn.policies.networks.detr import sinusoids
from robolearn.policies.noise import Noise

SIZES = {
    "latent_dim": 4, "embed_dim": 16, "feedforward_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "heads": 2,
}  # fmt: skip
SMALL = ActConfig(obs_horizon=2, action_horizon=5, **SIZES)
GOAL = ActConfig(obs_horizon=2, action_horizon=5, goals=(OBJECTS.name,), goal_horizon=2, **SIZES)


def parameters(obs, action, chunk, latent, dim, feedforward, encoder_layers, decoder_layers):
    """Of the authors' network on one observation vector, written out from their layers."""
    attention = 4 * (dim * dim + dim)
    mlp = dim * feedforward + feedforward + feedforward * dim + dim
    encoder = encoder_layers * (attention + mlp + 2 * 2 * dim)
    decoder = decoder_layers * (2 * attention + mlp + 3 * 2 * dim) + 2 * dim
    cvae = dim + (action * dim + dim) + (obs * dim + dim) + (dim * 2 * latent + 2 * latent) + encoder
    inputs = (latent * dim + dim) + (obs * dim + dim) + 2 * dim
    return cvae + inputs + encoder + decoder + chunk * dim + (dim * action + action)


def test_parameters_are_those_of_the_published_layers():
    count = sum(p.numel() for p in tiny_policy("act", ActConfig(action_horizon=7, **SIZES)).parameters())
    assert count == parameters(6, 3, 7, 4, 16, 32, 1, 2)
    c = ActConfig()
    sizes = (c.latent_dim, c.embed_dim, c.feedforward_dim, c.encoder_layers, c.decoder_layers)
    # the paper says about 80 M for its 14-d arms, with a ResNet-18 (11.2 M) and the projection of its 512 maps
    assert parameters(14, 14, c.action_horizon, *sizes) + 11.2e6 + 513 * 512 == pytest.approx(80e6, rel=0.06)


def test_the_divergence_is_that_of_two_gaussians():
    mean, log_variance = torch.randn(6, 4), torch.randn(6, 4)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    assert torch.allclose(kl_to_standard_normal(mean, log_variance), expected, atol=1e-5)
    assert float(kl_to_standard_normal(torch.full((1, 2), 3.0), torch.zeros(1, 2))) == pytest.approx(9.0)


def test_padded_labels_do_not_count():
    policy = tiny_policy("act", SMALL).eval()
    batch = tiny_batch(policy)
    batch["action.is_pad"][:, -2:] = True
    loss = policy.loss(batch, Noise(0))
    batch["action"][:, -2:] += 1.0
    assert torch.equal(policy.loss(batch, Noise(0)), loss)
    batch["action"][:, -3] += 1.0
    assert not torch.equal(policy.loss(batch, Noise(0)), loss)


def test_the_loss_is_the_mean_over_rows():
    policy = tiny_policy("act", SMALL).eval()
    batch = tiny_batch(policy)
    batch["action.is_pad"][0, -3:] = True
    whole = policy.loss(batch, Noise(0))
    shards = [policy.loss({k: v[i::2] for k, v in batch.items()}, Noise(0, i, 2)) for i in range(2)]
    assert torch.allclose(whole, torch.stack(shards).mean(), atol=1e-6)


def test_every_decoder_layer_is_trained():
    """In the authors' code only the first one is."""
    policy = tiny_policy("act", SMALL)
    policy.loss(tiny_batch(policy), Noise(0)).backward()
    for layer in policy.network.decoder.layers:
        for weight in (layer.cross_attention.in_proj_weight, layer.mlp[0].weight, layer.mlp[3].weight):
            assert weight.grad.abs().max() > 0


@torch.no_grad()
def test_the_decoder_tells_the_places_of_what_it_attends_to():
    """The encoder before it, which knows them as well, is left out."""
    network = tiny_policy("act", SMALL).eval().network
    network.memory_encoder.layers = torch.nn.ModuleList()
    observation, z = torch.randn(3, 2, 6), torch.zeros(3, 4)
    changes = []
    for _ in range(2):
        chunks = [network.decode(o, None, z) for o in (observation, observation.flip(1))]
        changes.append(float((chunks[1] - chunks[0]).abs().max()))
        torch.nn.init.zeros_(network.memory_position)  # then places look alike
    assert changes[0] > 1e-3
    assert changes[1] < 1e-5


def test_positions_are_sines_and_cosines():
    table = sinusoids(10, 6)
    for place, element in [(0, 0), (3, 2), (7, 4)]:
        angle = place / 10_000 ** (element / 6)
        assert float(table[place, element]) == pytest.approx(math.sin(angle), abs=1e-5)
        assert float(table[place, element + 1]) == pytest.approx(math.cos(angle), abs=1e-5)


def test_acting_needs_no_chance_and_follows_the_goal():
    policy = tiny_policy("act", GOAL).eval()
    chunks = [policy.predict_chunk(tiny_observation(2), {OBJECTS.name: np.full((2, 2), x)}) for x in (0.0, 0.0, 1.0)]
    assert chunks[0].shape == (5, 3) and np.array_equal(chunks[0], chunks[1])
    assert np.abs(chunks[0] - chunks[2]).max() > 1e-3


@pytest.mark.slow
def test_without_style_act_answers_the_median_of_the_ways():
    """A heavy KL term empties z; absolute error then takes the more frequent way, every time."""
    policy = toy_policy("act", ActConfig(action_horizon=2, dropout=0.0, **SIZES))
    fit(policy, 80)
    assert toy_samples(policy).numpy() == pytest.approx(np.full((1000, 2), -WAY), abs=0.1)


@pytest.mark.slow
def test_a_light_penalty_lets_the_style_tell_the_ways_apart():
    policy = toy_policy("act", ActConfig(action_horizon=2, dropout=0.0, kl_weight=0.01, **SIZES))
    fit(policy, 120)
    batch = toy_batch(policy, 500, seed=10**6)
    context, a = policy.context(batch), policy.future(batch)
    mean, _ = policy.network.encode(context.observation, None, a, batch["action.is_pad"])
    error = (policy.network.decode(context.observation, None, mean) - a).abs().mean()
    without_style = (1 - SHARE) * 2 * WAY
    assert error.item() < 0.3 * without_style


def test_bad_options_are_named():
    for wrong in ({"latent_dim": 0}, {"kl_weight": -1.0}, {"kl_weight": math.inf}, {"dropout": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ActConfig(**wrong)
    with pytest.raises(ConfigError, match="not a multiple of heads"):
        tiny_policy("act", ActConfig(embed_dim=10, heads=4))
