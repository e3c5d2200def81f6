"""The avoiding presets fit the scene they are for and are as small as the task is."""

from __future__ import annotations

import numpy as np
import pytest

from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import make_policy
from robolearn.sim import make_env
from robolearn.training.config import TrainConfig
from robolearn.training.presets import load_preset


@pytest.mark.parametrize("name", ["beso", "diffusion", "bc"])
def test_a_preset_fits_its_scene_and_has_under_a_million_weights(name, tmp_path):
    preset, env = load_preset("avoiding", name), make_env("avoiding")
    config = preset.policy
    observations = {n: env.observation_features[n] for n in config.observations}
    spec = PolicySpec(observations, env.action_feature, config.obs_horizon, config.action_horizon, env.control_hz)
    used = {**observations, "action": env.action_feature}
    normalizer = Normalizer.fit({n: np.stack([np.zeros(f.shape), np.ones(f.shape)]) for n, f in used.items()}, used)
    policy = make_policy(name, config, spec, normalizer)
    assert 100_000 <= sum(p.numel() for p in policy.parameters()) <= 900_000
    observation, _ = env.reset()
    window = {n: np.repeat(observation[n][None], config.obs_horizon, axis=0) for n in observations}
    assert policy.predict_chunk(window).shape == (config.action_horizon, 2)
    train = {key: value for key, value in preset.train.items() if key != "ema"}
    assert TrainConfig(tmp_path / "a", tmp_path / "b", **train).steps == preset.train["steps"]
