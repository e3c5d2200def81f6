"""What a training run can be told, whatever the policy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robolearn.core.errors import ConfigError
from robolearn.datasets.loader import CacheMode

INCIDENTAL = frozenset({
    "output", "resume", "device", "num_threads", "loader_workers", "cache", "log_every", "checkpoint_every",
    "keep_every", "eval_env", "eval_every", "eval_episodes", "eval_init_state", "eval_workers", "eval_goals",
    "eval_goal_mask", "eval_execute", "eval_max_steps",
})  # fmt: skip
"""Options of `TrainConfig` that do not decide what is learned."""


@dataclass(frozen=True)
class EmaConfig:
    schedule: Literal["power", "constant"] = "power"
    """power = the decay grows towards max-decay as 1 - n^-power; constant = it is max-decay from the start"""
    power: float = 0.75
    max_decay: float = 0.9999

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ConfigError(f"--ema.power must be positive, found {self.power}.")
        if not 0 <= self.max_decay <= 1:
            raise ConfigError(f"--ema.max-decay must lie in [0, 1], found {self.max_decay}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything but the policy's own options. Paths may be given as text."""

    dataset: Path | tuple[Path, ...]
    """zarr dataset to train on, or several that have the same features and rate"""
    output: Path
    """folder for checkpoints, metrics and the resolved configuration"""
    action: str | None = None
    """layout of the actions that are learnt, such as joints, pose.current.axis_angle or umi; as stored by default"""
    steps: int = 20_000
    batch_size: int = 256
    """windows of one step, over all processes"""
    accumulate: int = 1
    """work each batch off in so many parts, to save memory; gradients are those of the whole batch"""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    encoder_learning_rate: float | None = None
    """of image encoders; as --learning-rate by default"""
    encoder_weight_decay: float | None = None
    """of image encoders; as --weight-decay by default"""
    betas: tuple[float, float] = (0.9, 0.95)
    schedule: Literal["cosine", "constant"] = "cosine"
    """of the learning rate, after the warm-up"""
    warmup_steps: int = 200
    final_learning_rate: float = 0.01
    """at the end of the cosine, as a share of the base rate"""
    max_grad_norm: float = 1.0
    ema: EmaConfig = field(default_factory=EmaConfig)
    val_ratio: float = 0.05
    """share of the episodes held out for the validation loss and action error"""
    masks: tuple[str, ...] = ()
    """use only episodes that are in all of these masks of the dataset; those in quarantine never"""
    weights: tuple[float, ...] = ()
    """shares of the windows drawn from each of several datasets; by their sizes by default"""
    seed: int = 0
    device: str = "auto"
    """auto = a CUDA device where there is one, else the processor; or cpu, cuda, cuda:N"""
    num_threads: int = 0
    """torch threads; 0 = as many as there are cores"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """of matrix products (autocast); weights stay float32, float16 scales the loss"""
    compile: bool = False
    """compile the loss with torch.compile; on a processor this needs a C++ compiler"""
    loader_workers: int = 1
    """threads that make the next batches while one is in use; batches do not depend on it"""
    cache: CacheMode = "auto"
    """what is kept of images in memory; auto = as much as half of the free memory holds"""
    log_every: int = 50
    checkpoint_every: int = 2000
    keep_every: int = 0
    """keep the checkpoints at multiples of so many steps; 0 = the last one only"""
    resume: bool = False
    """go on from the last checkpoint in the output folder"""
    eval_env: str | None = None
    """environment in which checkpoints are evaluated while training, such as pusht; none by default"""
    eval_every: int = 0
    """steps between these evaluations; 0 = at every checkpoint"""
    eval_episodes: int = 50
    """start states of such an evaluation"""
    eval_init_state: int | None = None
    """the first of them; the others follow it; by default the environment's first one for evaluation"""
    eval_workers: int | None = None
    """processes of such an evaluation; one for each core by default"""
    eval_goals: Path | None = None
    """dataset of demonstrations that goals are taken from, for goal-conditioned policies"""
    eval_goal_mask: str | None = None
    """only episodes of that dataset in this mask"""
    eval_execute: int | None = None
    """actions used of each predicted chunk; half of the chunk by default"""
    eval_max_steps: int | None = None
    """end episodes after so many actions where the environment has not ended them yet"""

    def __post_init__(self) -> None:
        given = self.dataset
        object.__setattr__(self, "dataset", Path(given) if isinstance(given, str | Path) else tuple(map(Path, given)))
        object.__setattr__(self, "output", Path(self.output))
        if self.eval_goals is not None:
            object.__setattr__(self, "eval_goals", Path(self.eval_goals))
        for name in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "eval_episodes"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup_steps", "weight_decay", "seed", "num_threads", "loader_workers", "keep_every",
                     "eval_every", "eval_init_state"):  # fmt: skip
            self._require(name, (getattr(self, name) or 0) >= 0, "at least 0")
        self._require("max_grad_norm", self.max_grad_norm > 0, "positive")
        for name in ("learning_rate", "encoder_learning_rate"):
            value = getattr(self, name)
            self._require(name, value is None or 0 < value < math.inf, "positive and finite")
        self._require("final_learning_rate", 0 <= self.final_learning_rate <= 1, "in [0, 1]")
        if self.encoder_weight_decay is not None:
            self._require("encoder_weight_decay", self.encoder_weight_decay >= 0, "at least 0")
        for name in ("eval_workers", "eval_execute", "eval_max_steps"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "at least 1")
        self._require("val_ratio", 0 <= self.val_ratio < 1, "in [0, 1)")
        self._require("betas", all(0 <= beta < 1 for beta in self.betas), "in [0, 1)")
        needs = {"eval_goals": "eval_env", "eval_execute": "eval_env", "eval_max_steps": "eval_env",
                 "eval_workers": "eval_env", "eval_goal_mask": "eval_goals"}  # fmt: skip
        for name, needed in needs.items():
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ConfigError(f"{_option(name)} {getattr(self, name)} says nothing without {_option(needed)}.")
        if not self.datasets:
            raise ConfigError("--dataset needs at least one dataset.")
        if self.weights and len(self.weights) != len(self.datasets):
            raise ConfigError(
                f"--weights must give one number for each dataset, found {len(self.weights)} for {len(self.datasets)}."
            )

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"{_option(name)} must be {expected}, found {getattr(self, name)}.")

    @property
    def datasets(self) -> tuple[Path, ...]:
        return self.dataset if isinstance(self.dataset, tuple) else (self.dataset,)

    def evaluates(self, step: int) -> bool:
        """Whether the checkpoint of this step is evaluated in simulation."""
        return self.eval_env is not None and (
            not self.eval_every or step % self.eval_every == 0 or step == self.steps
        )  # fmt: skip

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is written after this step."""
        every = [self.checkpoint_every, self.keep_every, self.eval_every if self.eval_env else 0]
        return step == self.steps or any(step % interval == 0 for interval in every if interval)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class TrainResult:
    """What a finished run reports. `loss` is None when a resumed run had no step left to do."""

    checkpoint: Path
    steps: int
    loss: float | None
    val_loss: float | None
    duration_s: float

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "checkpoint": str(self.checkpoint)}
