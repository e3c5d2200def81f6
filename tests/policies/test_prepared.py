"""A policy acts with the weights that it has, whatever changed them; what was prepared of it stays what it was."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import STATE, tiny_batch, tiny_observation, tiny_policy

from robolearn.core.errors import ConfigError
from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.checkpoint import load_policy, save_policy
from robolearn.policies.diffusion import DiffusionConfig, TransformerConfig, UnetConfig
from robolearn.policies.noise import Noise
from robolearn.training.config import EmaConfig
from robolearn.training.ema import Ema

BESO = BesoConfig(obs_horizon=3, goals=(STATE.name,), embed_dim=16, layers=2, heads=2, dropout=0.0,
                  attention_dropout=0.0)  # fmt: skip
DIFFUSION = DiffusionConfig(obs_horizon=2, action_horizon=3, sampling_steps=3, unet=UnetConfig((8, 16), 3, 4, 8))
POLICIES = {
    "beso": ("beso", BESO),
    "beso with guidance and chunks": ("beso", replace(BESO, guidance=2.0, action_horizon=3)),
    "unet": ("diffusion", DIFFUSION),
    "transformer": ("diffusion", replace(
        DIFFUSION, network="transformer", transformer=TransformerConfig(8, 1, 2, dropout=0.0)
    )),
}  # fmt: skip
LAYER = {
    "beso": "blocks.0.expand.weight",
    "unet": "last.conv.weight",
    "transformer": "layers.0.expand.weight",
}
ROUNDING = 2e-3
"""Of weights in half precision, in these actions."""
GOAL = {STATE.name: np.ones((1, 4), np.float32)}


def make(name, seed):
    kind, config = POLICIES[name]
    policy = tiny_policy(kind, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return policy.eval()


def with_another_layer(policy, name):
    """Like `policy` but for one layer within its network."""
    other, layer = make(name, 2), f"network.{LAYER[name.split()[0]]}"
    kept = {key: value for key, value in policy.state_dict().items() if key != layer}
    assert other.load_state_dict(kept, strict=False).missing_keys == [layer]
    return other


def act(policy):
    goal = GOAL if policy.spec.goal_horizon else None
    observation = tiny_observation(policy.spec.obs_horizon)
    return policy.predict_chunk(observation, goal, np.ones((2, 3)), torch.Generator().manual_seed(0))


def by_load_state_dict(policy, other):
    policy.load_state_dict(other.state_dict())


def by_data(policy, other):
    for parameter, value in zip(policy.parameters(), other.parameters(), strict=True):
        parameter.data.copy_(value.data)


def by_assigned_data(policy, other):
    for parameter, value in zip(policy.parameters(), other.parameters(), strict=True):
        parameter.data = value.data.clone()


def by_numpy(policy, other):
    for parameter, value in zip(policy.parameters(), other.parameters(), strict=True):
        parameter.detach().numpy()[...] = value.detach().numpy()


def by_new_parameters(policy, other):
    for module, origin in zip(policy.modules(), other.modules(), strict=True):
        for name, value in origin.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(value.detach().clone()))


def by_new_modules(policy, other):
    policy.network = copy.deepcopy(other.network)


def by_moving(policy, other):
    policy.to(torch.float64).load_state_dict(other.state_dict())
    policy.to(torch.float32)


def in_inference_mode(policy, other):
    with torch.inference_mode():
        by_load_state_dict(policy, other)


def by_averages(policy, other):
    """Left switched on, as within an evaluation of averaged weights."""
    ema = Ema(policy, EmaConfig())
    for name, value in other.state_dict().items():
        ema.averaged[name].copy_(value)
    applied = ema.applied()
    applied.__enter__()
    return applied


def by_an_optimiser(fused):
    def change(policy, other):
        optimizer = torch.optim.SGD(policy.parameters(), 1.0, fused=fused)
        for parameter, value in zip(policy.parameters(), other.parameters(), strict=True):
            parameter.grad = (parameter - value).detach()
        optimizer.step()

    return change


ROUTES = {
    "load_state_dict": by_load_state_dict, "data": by_data, "assigned data": by_assigned_data, "numpy": by_numpy,
    "new parameters": by_new_parameters, "new modules": by_new_modules, "dtype and back": by_moving,
    "inference mode": in_inference_mode, "averages": by_averages, "optimiser": by_an_optimiser(False),
    "fused optimiser": by_an_optimiser(True),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_acts_with_its_weights_by_whatever_way_they_came(name, route):
    policy = make(name, 1)
    other = with_another_layer(policy, name)
    before, expected = act(policy), act(other)
    assert np.abs(before - expected).max() > 3 * ROUNDING
    prepared = policy.prepared() if "beso" in name else None
    np.testing.assert_allclose(act(prepared or policy), before, atol=ROUNDING)
    kept = ROUTES[route](policy, other)
    np.testing.assert_allclose(act(policy), expected, atol=1e-5)
    np.testing.assert_allclose(act(policy.prepared()), expected, atol=ROUNDING)
    if prepared is not None:
        np.testing.assert_allclose(act(prepared), before, atol=ROUNDING, err_msg="it is a copy, of what was then")
    del kept


def test_between_training_steps_a_policy_acts_as_its_network_says():
    """AdamW's fused step changes weights without torch counting it; the forward pass reads them anew."""
    policy = make("beso", 1)
    optimizer = torch.optim.AdamW(policy.parameters(), 0.05, fused=True)
    known = tiny_batch(policy)
    seen = []
    for step in range(3):
        loss = policy.train().loss(known, Noise(step))
        loss.backward()
        optimizer.step()
        context = policy.context({n: v for n, v in known.items() if n != "action"})
        with torch.no_grad():
            denoised = policy._denoiser(context)(torch.zeros(4, 1, 3), 1.0)
            c = policy.config
            tokens, noisy = policy._tokens(context, None), torch.zeros(4, 1, 3)
            raw = policy.network(tokens, torch.cat([noisy] * 3, dim=1), torch.zeros(4, 1))[:, -1:]
        torch.testing.assert_close(denoised, c.sigma_data / (1 + c.sigma_data**2) ** 0.5 * raw, atol=1e-5, rtol=1e-4)
        seen.append(denoised)
    assert (seen[0] - seen[1]).abs().max() > 1e-3 and (seen[1] - seen[2]).abs().max() > 1e-3


def test_prepared_actions_differ_by_no_more_than_the_rounding_of_weights():
    policy = make("beso", 1)
    prepared = policy.prepared()
    difference = np.abs(act(prepared) - act(policy)).max()
    assert difference < ROUNDING
    assert prepared.spec is not policy.spec and prepared.prepared() is prepared
    assert type(prepared) is type(policy)


def test_a_policy_that_keeps_no_copies_is_its_own_prepared_one():
    policy = tiny_policy("bc", BcConfig(hidden_dim=8, layers=1))
    assert policy.prepared() is policy


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda p: p.train(), "trained"),
        (lambda p: p.loss(tiny_batch(p), Noise(0)), "trained"),
        (lambda p: p.to(torch.float64), "moved or converted"),
        (lambda p: p.state_dict(), "saved"),
        (lambda p: p.load_state_dict({}), "loaded into"),
        (copy.deepcopy, "copied or pickled"),
    ],
    ids=["train", "loss", "to", "state_dict", "load_state_dict", "deepcopy"],
)
def test_what_would_need_other_weights_than_the_packed_ones_is_refused(use, what):
    with pytest.raises(ConfigError, match=rf"prepared for acting cannot be {what}, .* call prepared\(\) on that again"):
        use(make("beso", 1).prepared())


def test_a_loaded_policy_can_be_saved_and_a_prepared_one_steered(tmp_path):
    policy = make("beso", 1)
    save_policy(tmp_path / "a", "beso", policy, policy.state_dict(), {})
    loaded = load_policy(tmp_path / "a")
    acting = loaded.prepared()
    plain = act(acting)
    acting.value = loaded.value = lambda context, actions, sigma: -actions.square().sum(dim=(1, 2))
    assert np.abs(act(acting) - plain).max() > 0.01
    np.testing.assert_allclose(act(acting), act(loaded), atol=5e-3)
    save_policy(tmp_path / "b", "beso", loaded, loaded.state_dict(), {})
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)
