"""BESO: goal-conditioned imitation learning with score-based diffusion policies (Reuss et al., RSS 2023).

A transformer F is trained as an EDM denoiser of actions, for observations s and a goal g (a future state),

    D(a_sigma | s, g) = c_skip a_sigma + c_out F(c_in a_sigma, s, g, ln(sigma) / 4),   a_sigma = a + sigma eps,
    loss = | F - (a - c_skip a_sigma) / c_out |^2,

with sigma from a truncated log-logistic density. Actions are sampled in three steps. With classifier-free guidance
(CFG-BESO, Ho & Salimans 2021) goals are dropped in training, and

    D = D(. | s) + guidance (D(. | s, g) - D(. | s));

`goal_dropout = 0` is C-BESO, and without `goals` the policy is goal-free.

Differences from the authors' code:
- Whole goals are dropped, not single dimensions of them, and "no goal" is a learned token, not zeros.
- Executed actions enter clean, in training too (theirs are noised along in training and enter clean at test time);
  actions from before the episode are a learned token and are no targets. Nothing leaks from one episode to the next.
- The noise level is added to the noisy token instead of being a token of its own, so that the context does not depend
  on it; every position of a training window has a noise level of its own (theirs: one a window).
- The goal has an embedding of its own, so that it may hold other features than the observation.
- All features and actions are scaled to [-1, 1] (theirs only for block push); sampled actions are clipped to 1.1 of it.
- The `cosine` schedule holds levels tan(theta) of evenly spaced angles, theirs the betas of the cosine schedule; `vp`
  and `cosine` keep to [sigma_min, sigma_max].
- `action_horizon` > 1 predicts a chunk.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context, Policy
from robolearn.policies.checks import (
    require_choices,
    require_counts,
    require_dropouts,
    require_finite,
    require_positive,
)
from robolearn.policies.draws import randn
from robolearn.policies.edm import guided_by_value, log_logistic, precondition
from robolearn.policies.networks.decoder_layers import BlockWeights
from robolearn.policies.networks.prepared_score_transformer import PreparedScoreTransformer
from robolearn.policies.networks.score_decoder import ScoreDecoder
from robolearn.policies.networks.score_transformer import ScoreTransformer
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.samplers import Denoiser, SamplerName, ScheduleName, noise_levels, sample
from robolearn.policies.window import WindowConfig


@dataclass(frozen=True)
class BesoConfig(WindowConfig):
    """Defaults: the authors' network of block push, goal-free, with noise levels that fit a precise arm.

    Theirs for block push are 0.05 to 1, and 0.1 to 1 when they evaluate. With actions scaled to [-1, 1], a `sigma_min`
    of 0.05 is 10 mm for an arm that moves over 0.4 m: too coarse to grasp with.
    """

    obs_horizon: int = 5
    action_horizon: int = 1
    """actions predicted from the newest observation on; more than one = chunking"""
    executed_actions: bool = True
    """whether the actions between the observations go in too"""
    goal_dropout: float = 0.1
    """share of training windows whose whole goal is dropped; 0 = C-BESO"""
    guidance: float = 1.0
    """classifier-free guidance weight; 1 = none, 0 = ignore the goal"""
    vision: VisionConfig = field(default_factory=VisionConfig)
    embed_dim: int = 240
    layers: int = 4
    heads: int = 12
    attention_dropout: float = 0.05
    dropout: float = 0.05
    sigma_data: float = 0.5
    sigma_min: float = 0.01
    """lowest noise level of training and sampling, in half widths of the actions' range"""
    sigma_max: float = 2.5
    sampler: SamplerName = "ddim"
    schedule: ScheduleName = "exponential"
    sampling_steps: int = 3
    """denoising steps for an action"""
    clip: float = 1.1
    """sampled actions are clipped to this multiple of the data's range"""
    value_weight: float = 1.0
    """of the value function in `BesoPolicy.value`, where one is set"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "embed_dim", "layers", "heads", "sampling_steps")
        require_dropouts(self, "attention_dropout", "dropout", "goal_dropout")
        require_positive(self, "sigma_data", "clip")
        require_finite(self, "sigma_data", "sigma_min", "sigma_max", "guidance", "value_weight")
        require_choices(self, sampler=SamplerName, schedule=ScheduleName)
        if not 0 < self.sigma_min < self.sigma_max:
            raise ConfigError(f"Expected 0 < sigma_min < sigma_max, found {self.sigma_min} and {self.sigma_max}.")
        if self.guidance != 1 and self.goals and self.goal_dropout == 0:
            raise ConfigError(
                f"guidance {self.guidance} needs a policy trained without goals too; expected goal_dropout above 0, "
                "found 0 (or leave guidance at 1)."
            )


class BesoPolicy(Policy):
    """See the module.

    Attributes:
        value: hook for value-guided sampling, (context, (B, H, A) noisy actions, noise level) -> (B,), all
            normalised; None = none. See `edm.guided_by_value`.
        network: with weights that can be trained, or prepared for acting alone.
    """

    Config = BesoConfig
    SAMPLING = ("sampler", "schedule", "sampling_steps", "sigma_min", "sigma_max", "guidance", "clip", "value_weight")
    config: BesoConfig
    value: Callable[[Context, Tensor, float], Tensor] | None = None
    network: ScoreTransformer | PreparedScoreTransformer

    def __init__(self, config: BesoConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        self.network = ScoreTransformer(
            self.obs_dim, self.goal_dim, self.action_dim, spec.obs_horizon, spec.goal_horizon, spec.action_horizon,
            config.executed_actions, config.embed_dim, config.layers, config.heads, config.attention_dropout,
            config.dropout,
        )  # fmt: skip

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        c, context, action = self.config, self.context(batch), self.actions(batch)
        chunk = self.spec.action_horizon > 1
        action = action[:, self.spec.obs_horizon - 1 :] if chunk else action
        rows, targets, _ = action.shape

        sigma = log_logistic(
            noise.uniform((rows, 1 if chunk else targets, 1), action), c.sigma_data, c.sigma_min, c.sigma_max
        )
        c_skip, c_out, c_in, c_noise = precondition(sigma, c.sigma_data)
        noisy = action + sigma * noise.normal(action.shape, action)
        keep_goal = noise.uniform((rows,), action) >= c.goal_dropout if context.goal is not None else None
        tokens = self._tokens(context, keep_goal)
        prediction = self.network(tokens, c_in * noisy, c_noise[..., 0])
        error = (prediction - (action - c_skip * noisy) / c_out).square().mean(dim=-1)
        if chunk:
            return error.mean()
        # steps from before the episode repeat its first action: no targets
        real = torch.nn.functional.pad(context.known, (0, 1), value=True)
        return ((error * real).sum(dim=1) / real.sum(dim=1)).mean()

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        c = self.config
        shape = (len(context.observation), self.spec.action_horizon, self.action_dim)
        denoise = self._denoiser(context)
        if self.value is not None:
            denoise = guided_by_value(denoise, self._value_of(context), c.value_weight)
        sigmas = noise_levels(c.schedule, c.sampling_steps, c.sigma_min, c.sigma_max)
        start = sigmas[0] * randn(shape, generator, context.observation)
        return sample(c.sampler, denoise, start, sigmas, generator).clamp(-c.clip, c.clip)

    def prepared(self) -> Self:
        if isinstance(self.network, PreparedScoreTransformer):
            return self
        return copy.deepcopy(self, {id(self.network): PreparedScoreTransformer(self.network)}).eval()

    def _tokens(self, context: Context, keep_goal: Tensor | None) -> Tensor:
        return self.network.context(context.observation, context.goal, context.executed, context.known, keep_goal)

    def _denoiser(self, context: Context) -> Denoiser:
        """D(a, sigma | context), its context encoded once."""
        c, rows = self.config, len(context.observation)
        goal = None if c.guidance == 0 else context.goal
        if self.spec.goal_horizon and goal is None and c.goal_dropout == 0:
            raise FeatureError(
                "This policy was trained with a goal in every window (goal_dropout 0) and was given none; "
                "expected the features " + ", ".join(self.spec.goal_features) + " as a goal."
            )
        keep, guided = None, goal is not None and c.guidance != 1
        if guided:  # one batch: all rows with their goal, then all without
            context = Context(*(torch.cat([part, part]) for part in vars(context).values()))
            keep = torch.arange(2 * rows, device=context.observation.device) < rows
        elif goal is None:
            context = dataclasses.replace(context, goal=None)
        decoder = self._decoder(self._tokens(context, keep))

        def denoise(action: Tensor, sigma: float) -> Tensor:
            c_skip, c_out, c_in, c_noise = precondition(sigma, c.sigma_data)
            noisy = c_in * action
            raw = decoder(torch.cat([noisy, noisy]) if guided else noisy, c_noise)
            if guided:
                raw = torch.lerp(raw[rows:], raw[:rows], c.guidance)
            return c_skip * action + c_out * raw

        return denoise

    def _decoder(self, tokens: Tensor) -> ScoreDecoder:
        network = self.network
        if isinstance(network, PreparedScoreTransformer):
            return network.decoder(tokens)
        return ScoreDecoder(network, [BlockWeights(block) for block in network.blocks], tokens)

    def _value_of(self, context: Context) -> Callable[[Tensor, float], Tensor]:
        """`value` at this context, whose tensors autograd may keep."""
        value = self.value
        assert value is not None
        with torch.inference_mode(False):
            parts = {name: None if part is None else part.clone() for name, part in vars(context).items()}
            kept = Context(**parts)  # type: ignore[arg-type]
        return lambda action, sigma: value(kept, action, sigma)
