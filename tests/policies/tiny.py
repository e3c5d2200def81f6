"""A small policy contract for tests: two observation vectors, a 3-d action with an identity-normalised element."""

import numpy as np
import torch

from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import make_policy

STATE = Feature("observation.state", (4,))
OBJECTS = Feature("observation.environment_state", (2,))
ACTION = Feature("action", (3,))


def tiny_policy(policy_name, config, control_hz=20.0):
    rng = np.random.default_rng(0)
    arrays = {f.name: rng.normal(size=(100, *f.shape)).astype(np.float32) for f in (STATE, OBJECTS, ACTION)}
    normalizer = Normalizer.fit(arrays, features([STATE, OBJECTS, ACTION]))
    by_name = features([STATE, OBJECTS])
    goals = features(by_name[name] for name in config.goals)
    spec = PolicySpec(
        by_name, ACTION, config.obs_horizon, config.action_horizon, control_hz, goals,
        config.goal_horizon if goals else 0,
    )  # fmt: skip
    return make_policy(policy_name, config, spec, normalizer)


def tiny_observation(obs_horizon, seed=0):
    rng = np.random.default_rng(seed)
    return {f.name: rng.normal(size=(obs_horizon, *f.shape)).astype(np.float32) for f in (STATE, OBJECTS)}


def tiny_batch(policy, rows=4, seed=0):
    """Random windows for `policy`, all inside their episodes."""
    generator = torch.Generator().manual_seed(seed)
    spec = policy.spec
    steps = spec.obs_horizon - 1 + spec.action_horizon
    batch = {
        name: torch.randn(rows, spec.obs_horizon, *feature.shape, generator=generator)
        for name, feature in spec.observation_features.items()
    }
    batch |= {
        f"goal.{name}": torch.randn(rows, spec.goal_horizon, *feature.shape, generator=generator)
        for name, feature in spec.goal_features.items()
    }
    batch[ACTION.name] = torch.rand(rows, steps, *ACTION.shape, generator=generator) - 0.5
    batch[ACTION.name + ".is_pad"] = torch.zeros(rows, steps, dtype=torch.bool)
    return batch
