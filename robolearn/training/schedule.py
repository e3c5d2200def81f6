"""Learning-rate schedules as factors of the base rate."""

from __future__ import annotations

import math

from robolearn.training.config import TrainConfig


def warmup_cosine(step: int, total: int, warmup: int, final: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then half a cosine from 1 down to `final` at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def learning_rate(config: TrainConfig, step: int) -> float:
    """Base rate of the step after `step` others. A constant schedule stays at 1 after the warm-up."""
    final = 1.0 if config.schedule == "constant" else config.final_learning_rate
    return config.learning_rate * warmup_cosine(step, config.steps, config.warmup_steps, final)
