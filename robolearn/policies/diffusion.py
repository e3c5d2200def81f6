"""Diffusion Policy: visuomotor policy learning by action diffusion (Chi et al., RSS 2023).

A chunk A of T = W-1+H actions, of the steps t-W+1..t+H-1, is denoised conditioned on the W newest observations O:

    A_k = sqrt(abar_k) A + sqrt(1 - abar_k) eps,    loss = || eps - eps_theta(A_k, k, O) ||^2,   k uniform in 0..K-1

(or the same with x or v as target, see `ddpm`). Sampling starts at noise and takes `sampling_steps` steps of DDIM, DDPM
or a scheduler of diffusers (see `schedulers`); the actions before the newest observation, predicted along, are left out
of the answer. How many of the others are executed before the next prediction is up to the rollout: the paper predicts
16 and executes 8.

`network` is the 1-D U-Net (the paper's first choice) or the transformer. Goals, where asked for, are one more input;
`goal_dropout` of the training windows have a learned "no goal" in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context, Policy
from robolearn.policies.checks import require_choices, require_counts, require_dropouts, require_positive
from robolearn.policies.ddpm import Betas, NoiseSchedule, Prediction, SamplingTable, Spacing
from robolearn.policies.draws import randn
from robolearn.policies.networks.diffusion_transformer import DiffusionTransformer
from robolearn.policies.networks.unet1d import ConditionalUnet1d
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.scheduler_run import SchedulerRun, sampler_of
from robolearn.policies.schedulers import Option, check_scheduler, is_ours, make_scheduler
from robolearn.policies.window import WindowConfig

Network = Literal["unet", "transformer"]


@dataclass(frozen=True)
class UnetConfig:
    """The authors' for vectors; for images they take widths of 512 1024 2048 and a step_dim of 128."""

    widths: tuple[int, ...] = (256, 512, 1024)
    """channels of the levels; 64 128 256 learns well on a CPU"""
    kernel_size: int = 5
    groups: int = 8
    step_dim: int = 256
    """size of the embedding of the diffusion step"""


@dataclass(frozen=True)
class TransformerConfig:
    """The authors take a chunk of 10, AdamW with betas .9 .95 and weight decay 1e-3, and 1000 warm-up steps."""

    embed_dim: int = 256
    layers: int = 8
    heads: int = 4
    dropout: float = 0.3
    """of attention weights and residual branches; 0.01 for Push-T"""
    embedding_dropout: float = 0.0

    def __post_init__(self) -> None:
        require_counts(self, "embed_dim", "layers", "heads")
        require_dropouts(self, "dropout", "embedding_dropout")


@dataclass(frozen=True)
class DiffusionConfig(WindowConfig):
    """Defaults: the authors' Push-T setting with 16 DDIM steps instead of 100 DDPM steps."""

    obs_horizon: int = 2
    action_horizon: int = 15
    goal_dropout: float = 0.1
    """share of training windows whose whole goal is dropped"""
    network: Network = "unet"
    unet: UnetConfig = field(default_factory=UnetConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    noise_steps: int = 100
    """noise levels trained on"""
    betas: Betas = "squaredcos_cap_v2"
    prediction: Prediction = "epsilon"
    scheduler: str = "ddim"
    """ddim, ddpm, or a class of diffusers such as DPMSolverMultistepScheduler"""
    scheduler_options: dict[str, Option] = field(default_factory=dict)
    """keywords of a class of diffusers, such as solver_order=3 use_karras_sigmas=true"""
    sampling_steps: int = 16
    """network calls for a chunk; some classes of diffusers make two a step"""
    spacing: Spacing = "leading"
    """which noise levels those are; trailing is better for fewer than about 10. leading leaves diffusers' own choice"""
    clip: float = 1.0
    """estimates of the clean chunk are clipped to this multiple of the data's range"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "noise_steps", "sampling_steps")
        require_positive(self, "clip")
        require_dropouts(self, "goal_dropout")
        require_choices(self, network=Network, betas=Betas, prediction=Prediction, spacing=Spacing)
        check_scheduler(self.scheduler, self.scheduler_options)


class DiffusionPolicy(Policy):
    Config = DiffusionConfig
    SAMPLING: ClassVar[tuple[str, ...]] = (
        "scheduler", "scheduler_options", "sampling_steps", "spacing", "clip",
    )  # fmt: skip
    config: DiffusionConfig

    def __init__(self, config: DiffusionConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        self.chunk = spec.obs_horizon - 1 + spec.action_horizon
        if self.goal_dim:
            self.null_goal = nn.Parameter(torch.zeros(spec.goal_horizon, self.goal_dim))
        self.network = self._unet() if config.network == "unet" else self._transformer()
        self.schedule = NoiseSchedule(config.noise_steps, config.betas, config.prediction)
        self.table: SamplingTable | SchedulerRun = self._sampler()

    def use_scheduler(self, scheduler: Any) -> None:
        """Sample as a scheduler of diffusers does, after its `set_timesteps`, with its own clipping or without any.

        Raises ConfigError for a scheduler that expects another network than this one, or that cannot sample from it.
        """
        self.table = sampler_of(scheduler, self.schedule)

    def _sampler(self) -> SamplingTable | SchedulerRun:
        c, schedule = self.config, self.schedule
        if is_ours(c.scheduler):
            return schedule.table(c.sampling_steps, c.scheduler, c.spacing, c.clip)
        scheduler, options = make_scheduler(
            c.scheduler, c.scheduler_options, schedule, c.sampling_steps, c.spacing, c.clip
        )
        return sampler_of(scheduler, schedule, c.clip, options)

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        actions, context = self.actions(batch), self.context(batch)
        eps = noise.normal(actions.shape, actions)
        k = (noise.uniform(actions.shape[:1], actions) * self.schedule.steps).long()
        keep = noise.uniform(actions.shape[:1], actions) >= self.config.goal_dropout if self.goal_dim else None
        prediction = self.network(self.schedule.add_noise(actions, eps, k), k, *self.condition(context, keep))
        return nn.functional.mse_loss(prediction.float(), self.schedule.target(actions, eps, k))

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        observation, *goal = self.condition(context)
        levels = torch.tensor(self.table.levels, device=observation.device)
        start = randn((len(observation), self.chunk, self.action_dim), generator, observation)
        chunk = self.table(self.network.denoiser(levels, observation, *goal), start, generator)
        return chunk[:, self.spec.obs_horizon - 1 :]

    def condition(self, context: Context, keep_goal: Tensor | None = None) -> tuple[Tensor, ...]:
        """O: (B, W, D) and, with goals, (B, G, Dg); rows where `keep_goal` (B,) is False get the null goal."""
        if not self.goal_dim:
            return (context.observation,)
        goal = self.needed_goal(context) if self.config.goal_dropout == 0 else context.goal
        null = self.null_goal.expand(len(context.observation), -1, -1)
        if goal is None:
            return context.observation, null
        return context.observation, goal if keep_goal is None else torch.where(keep_goal[:, None, None], goal, null)

    def _unet(self) -> ConditionalUnet1d:
        unet, spec = self.config.unet, self.spec
        inputs = spec.obs_horizon * self.obs_dim + spec.goal_horizon * self.goal_dim
        network = ConditionalUnet1d(self.action_dim, inputs, unet.widths, unet.kernel_size, unet.groups, unet.step_dim)
        if self.chunk % network.multiple:
            raise ConfigError(
                f"A U-Net of {len(unet.widths)} levels needs obs_horizon - 1 + action_horizon to be a multiple of "
                f"{network.multiple}, found {self.chunk}; change --policy.action-horizon."
            )
        return network

    def _transformer(self) -> DiffusionTransformer:
        c, spec = self.config.transformer, self.spec
        return DiffusionTransformer(
            self.action_dim, self.chunk, self.obs_dim, spec.obs_horizon, self.goal_dim, spec.goal_horizon,
            c.embed_dim, c.layers, c.heads, c.dropout, c.embedding_dropout,
        )  # fmt: skip
