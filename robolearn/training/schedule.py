"""Learning-rate schedules as factors of the base rate."""

from __future__ import annotations

import math


def warmup_cosine(step: int, total: int, warmup: int, final: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then half a cosine from 1 down to `final` at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))
