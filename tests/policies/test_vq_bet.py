import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import OBJECTS, STATE, tiny_batch, tiny_observation, tiny_policy
from toy import SHARE, fit, toy_policy, two_ways

from robolearn.core.errors import ConfigError
from robolearn.policies.noise import Noise
from robolearn.policies.vq_bet import VqBetConfig, focal_loss

SIZES = {
    "embed_dim": 12, "layers": 1, "heads": 2, "feature_dim": 16, "head_dim": 16, "codes": 4, "latent_dim": 8,
    "vq_hidden_dim": 16,
}  # fmt: skip
SMALL = VqBetConfig(obs_horizon=3, action_horizon=2, **SIZES)
GOAL = VqBetConfig(obs_horizon=3, action_horizon=2, goals=(OBJECTS.name,), goal_horizon=2, **SIZES)
SEQUENTIAL = VqBetConfig(obs_horizon=3, action_horizon=2, sequential=True, **SIZES)


def mlp(*widths):
    return sum(before * after + after for before, after in zip(widths[:-1], widths[1:], strict=True))


def test_parameters_are_those_of_the_authors_but_for_unused_positions():
    obs, chunk, d, window = 6, 5 * 3, 120, 5
    block = 2 * 2 * d + mlp(d, 3 * d) + mlp(d, d) + mlp(d, 4 * d, d)
    gpt = mlp(obs, d) + 30 * d + 6 * block + 2 * d + d * 256
    heads = mlp(256, 1024, 1024, 2 * 16) + mlp(256, 1024, 1024, 2 * 16 * chunk)
    vq = mlp(chunk, 128, 128, 512) + mlp(512, 128, 128, chunk) + 2 * 16 * 512
    count = sum(p.numel() for p in tiny_policy("vq_bet", VqBetConfig()).parameters())
    assert count == gpt + heads + vq - (30 - window) * d


def test_the_focal_loss_is_that_of_the_formula():
    logits = torch.tensor([[0.2, 0.3, 0.5], [0.5, 0.25, 0.25]]).log()
    loss = focal_loss(logits, torch.tensor([2, 0]), gamma=2.0)
    assert torch.allclose(loss, torch.full((2,), 0.25 * math.log(2)), atol=1e-6)
    target = torch.tensor([0, 2])
    assert torch.allclose(focal_loss(logits, target, 0.0), torch.nn.functional.cross_entropy(
        logits, target, reduction="none"))  # fmt: skip


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_certain_code_has_a_finite_focal_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0]), gamma).sum().backward()
    assert logits.grad.abs().max() == 0


def test_transformer_and_autoencoder_learn_as_each_would_alone():
    def gradients(**weights):
        torch.manual_seed(0)
        config = VqBetConfig(obs_horizon=3, action_horizon=2, **SIZES, **weights)
        policy = tiny_policy("vq_bet", config).eval()
        policy.loss(tiny_batch(policy), Noise(0)).backward()
        named = {name: p.grad for name, p in policy.named_parameters() if p.requires_grad}
        return {name: grad for name, grad in named.items() if grad.abs().max() > 0}

    alone = gradients(primary_weight=0.0, secondary_weight=0.0, offset_weight=0.0)
    together = gradients()
    assert {name.split(".")[0] for name in alone} == {"vq"}
    assert {name.split(".")[0] for name in together} == {"vq", "gpt", "to_features", "predict_codes", "offsets"}
    for name, gradient in alone.items():
        assert torch.equal(gradient, together[name])


def test_steps_before_the_episode_count_nowhere():
    policies = [tiny_policy("vq_bet", SMALL) for _ in range(2)]
    policies[1].load_state_dict(policies[0].state_dict())
    batches = [tiny_batch(policies[0]) for _ in range(2)]
    for batch in batches:
        batch["action.is_pad"][:, 0] = True
    batches[1]["action"][:, 0] += 1.0
    losses = []
    for policy, batch in zip(policies, batches, strict=True):
        torch.manual_seed(0)
        losses.append(policy.loss(batch, Noise(0)))
    assert torch.equal(*losses)
    assert torch.equal(policies[0].vq.quantizer.codebook, policies[1].vq.quantizer.codebook)


def test_earlier_steps_do_not_see_later_observations_and_all_see_the_goal():
    policy = tiny_policy("vq_bet", GOAL).eval()
    batch = tiny_batch(policy)
    before = policy.features(policy.context(batch))
    batch[STATE.name][:, 1] += 1.0
    after = policy.features(policy.context(batch))
    assert torch.allclose(before[:, 0], after[:, 0], atol=1e-6)
    assert not torch.allclose(before[:, 1], after[:, 1], atol=1e-4)
    batch["goal." + OBJECTS.name][:, -1] += 1.0
    assert ((policy.features(policy.context(batch)) - after).abs().amax(dim=-1) > 1e-4).all()


def test_sequential_codes_see_those_before_them_alone():
    policy = tiny_policy("vq_bet", SEQUENTIAL).eval()
    features = torch.randn(5, 16)
    logits = [policy.predict_codes(features, torch.tensor([codes]).expand(5, 2)) for codes in ([0, 0], [1, 0], [0, 3])]
    assert torch.equal(logits[0][:, 0], logits[1][:, 0])
    assert not torch.equal(logits[0][:, 1], logits[1][:, 1])
    assert torch.equal(logits[0], logits[2])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("config", [SMALL, SEQUENTIAL], ids=["parallel", "sequential"])
def test_codes_are_drawn_by_their_probabilities_at_the_temperature(config, temperature):
    policy = tiny_policy("vq_bet", replace(config, temperature=temperature)).eval()
    logits = torch.tensor([[0.0, 0.5, 1.0, 1.5], [1.0, 0.0, 1.0, -1.0]])
    heads = policy.predict_codes.mlps if config.sequential else [policy.predict_codes.mlp]
    for head, bias in zip(heads, logits.view(len(heads), -1), strict=True):
        torch.nn.init.zeros_(head[-1].weight)
        head[-1].bias.data.copy_(bias)
    torch.nn.init.zeros_(policy.offsets[-1].weight)
    torch.nn.init.zeros_(policy.offsets[-1].bias)
    policy.vq.decode = lambda codes: codes.float().repeat(1, 3)  # a chunk of 2 x 3 numbers that shows both codes
    chunks = policy.sample(policy.context(tiny_batch(policy, rows=4000)), torch.Generator().manual_seed(0))
    codes = chunks.flatten(1)[:, :2].long()
    share = torch.nn.functional.one_hot(codes, 4).float().mean(dim=0)
    assert torch.allclose(share, (logits / temperature).softmax(dim=-1), atol=0.03)


def test_training_goes_on_from_its_state_to_the_bit():
    first, second = (tiny_policy("vq_bet", SMALL) for _ in range(2))
    for step in range(3):
        first.loss(tiny_batch(first, seed=step), Noise(step))
    second.load_state_dict(first.state_dict())
    losses = []
    for policy in (first, second):
        torch.manual_seed(0)
        losses.append([policy.loss(tiny_batch(policy, seed=step), Noise(step)) for step in (3, 4)])
    assert all(torch.equal(a, b) for a, b in zip(*losses, strict=True))


def test_a_generator_decides_the_action():
    policy = tiny_policy("vq_bet", GOAL).eval()
    goal = {OBJECTS.name: np.zeros((2, 2))}

    def act(seed):
        return policy.predict_chunk(tiny_observation(3), goal, generator=torch.Generator().manual_seed(seed))

    assert act(0).shape == (2, 3) and np.array_equal(act(0), act(0))
    assert any(not np.array_equal(act(0), act(seed)) for seed in range(1, 9))


@pytest.mark.slow
@pytest.mark.parametrize(("sequential", "gamma"), [(False, 2.0), (True, 0.0)])
def test_both_ways_are_kept_with_the_shares_that_the_focal_loss_asks_for(sequential, gamma):
    """It draws shares towards each other: 0.7 becomes 0.58. Without focus (gamma 0) they are kept."""
    p = np.linspace(0.01, 0.99, 981)
    expected_loss = -SHARE * (1 - p) ** gamma * np.log(p) - (1 - SHARE) * p**gamma * np.log(1 - p)
    options = {"obs_horizon": 1, "action_horizon": 2, "dropout": 0.0, "sequential": sequential, "focal_gamma": gamma}
    policy = toy_policy("vq_bet", VqBetConfig(**options, **SIZES))
    fit(policy, 300, rate=1e-2)
    assert two_ways(policy) == pytest.approx(p[expected_loss.argmin()], abs=0.06)


def test_bad_options_are_named():
    for wrong in (
        {"codes": 0},
        {"temperature": 0.0},
        {"temperature": math.inf},
        {"offset_weight": -1.0},
        {"dropout": 1.0},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            VqBetConfig(**wrong)
