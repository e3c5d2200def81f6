"""What a training run can be told, whatever the policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class EmaConfig:
    power: float = 0.75
    max_decay: float = 0.9999

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ConfigError(f"--ema.power must be positive, found {self.power}.")
        if not 0 <= self.max_decay <= 1:
            raise ConfigError(f"--ema.max-decay must lie in [0, 1], found {self.max_decay}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything but the policy's own options."""

    dataset: Path
    """zarr dataset to train on"""
    output: Path
    """folder for checkpoints, metrics and the resolved configuration"""
    steps: int = 20_000
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_steps: int = 200
    final_learning_rate: float = 0.01
    """at the end of the cosine, as a share of the base rate"""
    max_grad_norm: float = 1.0
    ema: EmaConfig = field(default_factory=EmaConfig)
    val_ratio: float = 0.05
    """share of the episodes held out for the validation loss"""
    masks: tuple[str, ...] = ()
    """use only episodes that are in all of these masks of the dataset; those in quarantine never"""
    seed: int = 0
    device: str = "cpu"
    num_threads: int = 0
    """torch threads; 0 = as many as there are cores"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 = autocast matrix products; weights stay float32"""
    log_every: int = 50
    checkpoint_every: int = 2000
    resume: bool = False
    """go on from the last checkpoint in the output folder"""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, found {getattr(self, name)}.")
        for name in ("warmup_steps", "weight_decay", "seed", "num_threads"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 0, found {getattr(self, name)}.")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"--{name.replace('_', '-')} must be positive, found {getattr(self, name)}.")
        if not 0 <= self.val_ratio < 1:
            raise ConfigError(f"--val-ratio must lie in [0, 1), found {self.val_ratio}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"--betas must lie in [0, 1), found {self.betas}.")


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
