"""The hand-over preset fits two arms and is as small as the task is."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import make_policy
from robolearn.sim import make_env
from robolearn.training.config import TrainConfig
from robolearn.training.presets import load_preset


def test_the_preset_fits_two_arms_and_has_under_a_million_weights(tmp_path):
    preset = load_preset("hand_over", "beso")
    config = preset.policy
    with closing(make_env("hand_over/panda")) as env:
        observations = {n: env.observation_features[n] for n in config.observations}
        spec = PolicySpec(observations, env.action_feature, config.obs_horizon, config.action_horizon, env.control_hz)
        used = {**observations, "action": env.action_feature}
        stats = {n: np.stack([np.zeros(f.shape), np.ones(f.shape)]) for n, f in used.items()}
        policy = make_policy("beso", config, spec, Normalizer.fit(stats, used))
        observation, _ = env.reset()
    assert 100_000 <= sum(p.numel() for p in policy.parameters()) <= 1_000_000
    window = {n: np.repeat(observation[n][None], config.obs_horizon, axis=0) for n in observations}
    assert policy.predict_chunk(window).shape == (config.action_horizon, 20)
    assert TrainConfig(tmp_path / "a", tmp_path / "b", **preset.train).steps == preset.train["steps"]
