"""The block-push presets fit the scene they are for, take the goals it scores, and are as small as the task is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Policy
from robolearn.policies.checkpoint import make_policy
from robolearn.sim import make_env
from robolearn.sim.worlds.pushing_plane import TARGETS_M
from robolearn.training.presets import load_preset

CUBES = "observation.environment_state"


def policy_of(name: str, **changes: object) -> Policy:
    config, env = replace(load_preset("block_push", name).policy, **changes), make_env("block_push")
    observations, goals = ({n: env.observation_features[n] for n in chosen}
                           for chosen in (config.observations, config.goals))  # fmt: skip
    spec = PolicySpec(observations, env.action_feature, config.obs_horizon, config.action_horizon, env.control_hz,
                      goals, config.goal_horizon)  # fmt: skip
    used = {**observations, "action": env.action_feature}
    normalizer = Normalizer.fit({n: np.stack([np.zeros(f.shape), np.ones(f.shape)]) for n, f in used.items()}, used)
    return make_policy(name, config, spec, normalizer).eval()


@pytest.mark.parametrize(("name", "largest"), [("beso", 1_500_000), ("diffusion", 3_000_000), ("bc", 1_500_000)])
def test_a_preset_fits_its_scene_and_the_goals_it_scores(name, largest):
    policy, env = policy_of(name), make_env("block_push")
    assert 100_000 <= sum(p.numel() for p in policy.parameters()) <= largest
    goal = {CUBES: TARGETS_M.reshape(1, 4).astype(np.float32)}
    observation, _ = env.reset(options={"init_state": 0, "goal": goal})
    window = {n: np.repeat(observation[n][None], policy.spec.obs_horizon, axis=0)
              for n in policy.spec.observation_features}  # fmt: skip
    assert policy.predict_chunk(window, goal).shape == (policy.spec.action_horizon, 2)


def test_guidance_is_an_option_of_the_beso_preset():
    plain, guided = policy_of("beso"), policy_of("beso", goal_dropout=0.1, guidance=2.0)
    assert plain.config.goal_dropout == 0.0 and plain.config.guidance == 1.0
    guided.load_state_dict(plain.state_dict())
    assert plain.config.sampling_steps == guided.config.sampling_steps == 3
