"""BESO: goal-conditioned imitation learning with score-based diffusion policies (Reuss et al., RSS 2023).

A causal transformer F is trained as an EDM denoiser of actions,

    D(a, sigma | s, g) = c_skip a + c_out F(c_in a, s, g, ln(sigma) / 4),

with sigma from a truncated log-logistic density and the loss ||F - (a - c_skip a_sigma) / c_out||^2, which
weights all noise levels equally. Actions are sampled in three DDIM steps.

Differences from the authors' code: whole goals are dropped, not single dimensions, and "no goal" is a learned
token; executed actions are held at the current noise level while sampling, as in training, instead of entering
clean, and rollouts give none (with W > 1 the past actions are then sampled along); `action_horizon` > 1 predicts
a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robolearn.core.errors import ConfigError
from robolearn.datasets.normalizer import Normalizer
from robolearn.policies.base import Policy
from robolearn.policies.edm import SAMPLERS, SCHEDULES, log_logistic_sigma, precondition, randn
from robolearn.policies.networks.score_transformer import ScoreTransformer
from robolearn.policies.spec import PolicySpec


@dataclass(frozen=True)
class BesoConfig:
    """Defaults: the authors' block-push setting, with chunks of one action and no goal."""

    observations: tuple[str, ...] = ("observation.state", "observation.environment_state")
    """features that go in, concatenated in this order"""
    obs_horizon: int = 5
    """observations seen, the newest included"""
    action_horizon: int = 1
    """actions predicted from the newest observation on; more than one = chunking"""
    goal_horizon: int = 0
    """future observations that form the goal; 0 = no goals"""
    goal_dropout: float = 0.1
    """share of training windows whose whole goal is dropped"""
    guidance: float = 1.0
    """classifier-free guidance weight; 1 = none, 0 = ignore the goal"""
    embed_dim: int = 240
    layers: int = 4
    heads: int = 12
    attention_dropout: float = 0.05
    dropout: float = 0.05
    sigma_data: float = 0.5
    sigma_min: float = 0.05
    sigma_max: float = 1.0
    sampler: Literal["ddim", "heun", "euler_ancestral"] = "ddim"
    schedule: Literal["exponential", "linear", "karras"] = "exponential"
    sampling_steps: int = 3
    """denoising steps for an action"""
    clip: float = 1.1
    """sampled actions are clipped to this multiple of the data's range"""

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ConfigError(f"Expected 0 < sigma_min < sigma_max, found {self.sigma_min} and {self.sigma_max}.")
        for name in ("embed_dim", "layers", "heads", "sampling_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}.")
        for name in ("attention_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must lie in [0, 1), found {getattr(self, name)}.")
        for name in ("sigma_data", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, found {getattr(self, name)}.")
        if self.goal_horizon < 0:
            raise ConfigError(f"goal_horizon must be at least 0, found {self.goal_horizon}.")
        if not 0 <= self.goal_dropout <= 1:
            raise ConfigError(f"goal_dropout must lie in [0, 1], found {self.goal_dropout}.")


class BesoPolicy(Policy):
    Config = BesoConfig
    config: BesoConfig

    def __init__(self, config: BesoConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        self.network = ScoreTransformer(
            self.obs_dim, self.action_dim, spec.obs_horizon, spec.action_horizon, config.goal_horizon,
            config.embed_dim, config.layers, config.heads, config.attention_dropout, config.dropout,
        )  # fmt: skip

    @property
    def goal_horizon(self) -> int:
        return self.config.goal_horizon

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        c = self.config
        observation, action = self.observation_vector(batch), self.action_vector(batch)
        goal, keep_goal = None, None
        if c.goal_horizon:
            goal = self.observation_vector(batch, prefix="goal.")
            keep_goal = torch.rand(len(goal), device=goal.device) >= c.goal_dropout
        sigma = log_logistic_sigma(len(action), c.sigma_data, c.sigma_min, c.sigma_max).to(action)
        c_skip, c_out, c_in, c_noise = (k[:, None, None] for k in precondition(sigma, c.sigma_data))
        noisy = action + sigma[:, None, None] * torch.randn_like(action)
        target = (action - c_skip * noisy) / c_out
        prediction = self.network(observation, c_in * noisy, c_noise[:, 0, 0], goal, keep_goal)
        return torch.nn.functional.mse_loss(prediction, target)

    def denoise(self, action: Tensor, sigma: Tensor, observation: Tensor, goal: Tensor | None) -> Tensor:
        """D(a, sigma | s, g), guided when a goal is given and `guidance` is not 1."""
        c_skip, c_out, c_in, c_noise = (k[:, None, None] for k in precondition(sigma, self.config.sigma_data))
        raw = self.network(observation, c_in * action, c_noise[:, 0, 0], goal)
        if goal is not None and self.config.guidance != 1.0:
            free = self.network(observation, c_in * action, c_noise[:, 0, 0], None)
            raw = torch.lerp(free, raw, self.config.guidance)
        return c_skip * action + c_out * raw

    def sample(
        self, observation: Tensor, goal: Tensor | None, prefix: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        c, spec = self.config, self.spec
        history = spec.obs_horizon - 1
        shape = (observation.shape[0], history + spec.action_horizon, self.action_dim)
        noise = randn(shape, generator, observation)
        known = 0 if prefix is None else prefix.shape[1]

        def denoise(action: Tensor, sigma: Tensor) -> Tensor:
            if prefix is not None and known:
                first = history - known
                action = action.clone()
                action[:, first:history] = prefix + sigma[:, None, None] * noise[:, first:history]
            return self.denoise(action, sigma, observation, goal)

        sigmas = SCHEDULES[c.schedule](c.sampling_steps, c.sigma_min, c.sigma_max)
        sampled = SAMPLERS[c.sampler](denoise, noise * sigmas[0], sigmas, generator)
        return sampled[:, history:].clamp(-c.clip, c.clip)
