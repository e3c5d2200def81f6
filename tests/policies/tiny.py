"""A small policy contract for tests: two observation vectors, a 3-d action with an identity-normalised element."""

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.normalizer import Normalizer
from robolearn.policies.checkpoint import make_policy
from robolearn.policies.spec import PolicySpec

STATE = Feature("observation.state", (4,))
OBJECTS = Feature("observation.environment_state", (2,))
ACTION = Feature("action", (3,))


def tiny_policy(name, config, control_hz=20.0):
    rng = np.random.default_rng(0)
    arrays = {f.name: rng.normal(size=(100, *f.shape)).astype(np.float32) for f in (STATE, OBJECTS, ACTION)}
    normalizer = Normalizer.fit(arrays, features([STATE, OBJECTS, ACTION]))
    spec = PolicySpec(features([STATE, OBJECTS]), ACTION, config.obs_horizon, config.action_horizon, control_hz)
    return make_policy(name, config, spec, normalizer)


def tiny_observation(obs_horizon, seed=0):
    rng = np.random.default_rng(seed)
    return {f.name: rng.normal(size=(obs_horizon, *f.shape)).astype(np.float32) for f in (STATE, OBJECTS)}
