"""What the figures of a result keep of the training runs behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robolearn.training.metrics import read_metrics

POINTS = 20  # of a curve


def training_record(runs: list[Path]) -> dict[str, Any]:
    """Learning curves and the share of time that training waited for data, one of each for every run."""
    logs = [read_metrics(run / "metrics.jsonl") for run in runs]
    return {
        "data_wait_by_seed": [
            _rounded(float(np.mean([r["data_wait"] for r in log if "data_wait" in r]))) for log in logs
        ],
        "curves_by_seed": [
            {name: _curve(log, name) for name in ("loss", "val_loss", "action_error") if any(name in r for r in log)}
            for log in logs
        ],
    }


def _curve(rows: list[dict[str, Any]], name: str) -> list[list[float]]:
    """At most POINTS of [last step, mean over the steps since the point before]."""
    points = [(row["step"], row[name]) for row in rows if name in row]
    parts = np.array_split(np.array(points, dtype=np.float64), min(POINTS, len(points)))
    return [[int(part[-1, 0]), _rounded(float(part[:, 1].mean()))] for part in parts]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
