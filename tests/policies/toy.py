"""The smallest multi-modal task: whatever is seen, a 1-d action is about -0.5 (in 70 % of cases) or about +0.5."""

import numpy as np
import torch

from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import make_policy
from robolearn.policies.noise import Noise

SEEN = Feature("observation.state", (1,))
ACTION = Feature("action", (1,))
SHARE, WAY, SPREAD = 0.7, 0.5, 0.02


def toy_policy(name, config):
    """A policy on the toy; actions are normalised by the identity."""
    torch.manual_seed(0)
    ends = {n: np.array([[-1.0], [1.0]], np.float32) for n in (SEEN.name, ACTION.name)}
    normalizer = Normalizer.fit(ends, features([SEEN, ACTION]))
    spec = PolicySpec(features([SEEN]), ACTION, config.obs_horizon, config.action_horizon, 10.0)
    return make_policy(name, config, spec, normalizer)


def toy_batch(policy, rows, seed):
    """Windows that go one way throughout, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    past, horizon = policy.spec.obs_horizon - 1, policy.spec.action_horizon
    way = torch.where(torch.rand(rows, 1, 1, generator=generator) < SHARE, -WAY, WAY)
    return {
        SEEN.name: torch.rand(rows, past + 1, 1, generator=generator) * 2 - 1,
        ACTION.name: way + SPREAD * torch.randn(rows, past + horizon, 1, generator=generator),
        ACTION.name + ".is_pad": torch.zeros(rows, past + horizon, dtype=torch.bool),
    }


def fit(policy, steps, rate=3e-3, rows=64):
    """Train with Adam, its rate falling to zero; the last loss."""
    optimizer = torch.optim.Adam(policy.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for step in range(steps):
        loss = policy.train().loss(toy_batch(policy, rows, seed=step), Noise(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def toy_samples(policy, rows=1000):
    """(rows, H) actions."""
    batch = toy_batch(policy, rows, seed=10**6)
    policy.eval()
    return policy.predict({SEEN.name: batch[SEEN.name]}, torch.Generator().manual_seed(0))[..., 0]


def two_ways(policy, tolerance=0.15):
    """The share of sampled chunks that go the first way; all of them must go one way or the other throughout."""
    samples = toy_samples(policy)
    first, second = ((samples - way).abs().amax(dim=1) < tolerance for way in (-WAY, WAY))
    assert (first | second).float().mean() > 0.97, f"lost between the ways: {samples[~(first | second)][:5]}"
    return float(first.float().mean())
