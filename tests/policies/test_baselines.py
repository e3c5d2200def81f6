"""What every baseline owes to trainer, server and data loader, whatever it computes."""

import numpy as np
import pytest
import torch

from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.act import ActConfig
from robolearn.policies.bc import BcConfig
from robolearn.policies.bc_rnn import BcRnnConfig
from robolearn.policies.bc_transformer import BcTransformerConfig
from robolearn.policies.checkpoint import load_policy, make_policy, save_policy
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.vq_bet import VqBetConfig

STATE = Feature("observation.state", (3,))
CAMERA = Feature("observation.images.front", (32, 32, 3), "uint8", "image")
ACTION = Feature("action", (2,))
SHARED = {
    "observations": (STATE.name, CAMERA.name), "obs_horizon": 3, "action_horizon": 2, "goals": (CAMERA.name,),
    "goal_horizon": 1, "vision": VisionConfig(width=16, stages=1, keypoints=4, feature_dim=8),
}  # fmt: skip
TRANSFORMER = {"embed_dim": 16, "layers": 1, "heads": 2}
CONFIGS = {
    "act": ActConfig(**SHARED, latent_dim=4, embed_dim=16, feedforward_dim=16, encoder_layers=1, heads=2),
    "bc": BcConfig(**SHARED, hidden_dim=16, layers=1),
    "bc_rnn": BcRnnConfig(**SHARED, hidden_dim=16),
    "bc_transformer": BcTransformerConfig(**SHARED, **TRANSFORMER),
    "vq_bet": VqBetConfig(**SHARED, **TRANSFORMER, head_dim=16, codes=4, latent_dim=8, vq_hidden_dim=16),
}


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


def policy_of(name):
    torch.manual_seed(0)
    normalizer = Normalizer.fit(
        {f.name: np.array([-np.ones(f.shape), np.ones(f.shape)]) for f in (STATE, ACTION)},
        features([STATE, CAMERA, ACTION]),
    )
    spec = PolicySpec(features([STATE, CAMERA]), ACTION, 3, 2, 10.0, features([CAMERA]), 1)
    return make_policy(name, CONFIGS[name], spec, normalizer)


def batch_of(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    is_pad = torch.zeros(rows, 4, dtype=torch.bool)
    is_pad[0, :2] = is_pad[1, -1:] = True
    return {
        STATE.name: torch.randn(rows, 3, 3, generator=generator),
        CAMERA.name: torch.randint(0, 256, (rows, 3, 32, 32, 3), dtype=torch.uint8, generator=generator),
        "goal." + CAMERA.name: torch.randint(0, 256, (rows, 1, 32, 32, 3), dtype=torch.uint8, generator=generator),
        ACTION.name: torch.rand(rows, 4, 2, generator=generator) - 0.5,
        ACTION.name + ".is_pad": is_pad,
    }


def test_the_loss_trains_the_image_encoder(name):
    policy = policy_of(name)
    policy.loss(batch_of(4), Noise(0)).backward()
    gradients = [p.grad for p in policy.encoder.cameras.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_processes_together_have_the_loss_of_one(name):
    policy, batch = policy_of(name).eval(), batch_of(4)
    shards = [policy.loss({k: v[rank::2] for k, v in batch.items()}, Noise(1, rank, 2)) for rank in range(2)]
    assert torch.allclose(policy.loss(batch, Noise(1)), torch.stack(shards).mean(), rtol=1e-4)


def test_half_precision_gives_nearly_the_same_loss(name):
    policy, batch = policy_of(name).eval(), batch_of(8)
    exact = policy.loss(batch, Noise(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = policy.loss(batch, Noise(0))
    assert rounded.dtype == torch.float32 and torch.allclose(rounded, exact, rtol=0.1)


def test_a_saved_policy_acts_alike(name, tmp_path):
    policy = policy_of(name)
    policy.loss(batch_of(4), Noise(0))
    save_policy(tmp_path / "c", name, policy, policy.state_dict(), {"seed": 0})
    actions = [
        p.eval().predict(batch_of(4), torch.Generator().manual_seed(3)) for p in (policy, load_policy(tmp_path / "c"))
    ]
    assert actions[0].shape == (4, 2, 2) and torch.equal(*actions)


def test_the_newest_observation_changes_the_action(name):
    policy, batch = policy_of(name).eval(), batch_of(4)
    seen = {k: v for k, v in batch.items() if not k.startswith(ACTION.name)}
    newer = {**seen, STATE.name: seen[STATE.name] + torch.tensor([0.0, 0.0, 1.0])[:, None]}
    before, after = (policy.predict(b, torch.Generator().manual_seed(3)) for b in (seen, newer))
    assert ((after - before).abs().amax(dim=(1, 2)) > 1e-4).all()


def test_labels_are_not_looked_at_when_acting(name):
    policy, batch = policy_of(name).eval(), batch_of(4)
    observed = {k: v for k, v in batch.items() if not k.startswith(ACTION.name)}
    actions = [policy.predict(b, torch.Generator().manual_seed(3)) for b in (batch, observed)]
    assert torch.equal(*actions)
