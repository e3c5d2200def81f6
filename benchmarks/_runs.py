"""Training runs and evaluations behind the figures of a result: made once, read back afterwards."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _verbs import robolearn

from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.policies.checkpoint import load_provenance
from robolearn.training.metrics import read_metrics

POINTS = 20  # of a curve


def train(policy: str, preset: str, dataset: Path, run: Path, *options: str) -> None:
    """Train with a preset, or go on; a finished run only has its options compared, and others are refused."""
    resume = ["--resume"] if (run / "checkpoints" / "last").exists() else []
    robolearn("train", policy, "--preset", preset, "--dataset", str(dataset), "--output", str(run), *options, *resume)


def evaluate(run: Path, output: Path, *options: str) -> EvaluationResults:
    """Roll out the last checkpoint of a run, unless that has been done with these options."""
    asked = ["--policy", str(run), "--num-videos", "0", *options, "--output", str(output)]
    trained = load_provenance(run / "checkpoints" / "last")
    if (output / "results.json").exists():
        results = EvaluationResults.load(output)
        same = _by_name(asked) == _by_name(shlex.split(results.command or ""))
        if same and not results.aborted and results.policy["provenance"]["date"] == trained["date"]:
            return results
    robolearn("eval", *asked)
    return EvaluationResults.load(output)


def _by_name(words: Sequence[str]) -> dict[str, list[str]]:
    """The options of a command line with their values, but for those that results do not depend on."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if word.startswith("--"):
            values = found.setdefault(word, [])
        else:
            values.append(word)
    return {option: given for option, given in found.items() if option not in ("--output", "--workers")}


def run_record(runs: Sequence[Path], results: Sequence[EvaluationResults]) -> dict[str, Any]:
    """What a figure keeps of one method: its configuration, and of every seed learning curves and where they are from.

    Curves are [last step, mean over the steps since the point before]; data wait is the share of training time that was
    spent waiting for batches.
    """
    logs = [read_metrics(run / "metrics.jsonl") for run in runs]
    trained, first = [found.policy["provenance"] for found in results], results[0]
    return {
        "steps": trained[0]["step"], "parameters": trained[0]["parameters"], "policy": first.policy["config"],
        "sampling": first.policy.get("sampling") or {}, "training": trained[0]["training"],
        "execute": first.settings["execute"], "inference_ms": first.timing()["inference_ms"],
        "trained_with": [{"git": t.get("git_revision"), "date": t["date"]} for t in trained],
        "evaluated_with": [{"git": r.provenance.get("git_revision"), "date": r.provenance["date"]} for r in results],
        "data_wait_by_seed": [_rounded(np.mean([r["data_wait"] for r in log if "data_wait" in r])) for log in logs],
        "curves_by_seed": [
            {name: _curve(log, name) for name in ("loss", "val_loss", "action_error") if any(name in r for r in log)}
            for log in logs
        ],
    }  # fmt: skip


def _curve(rows: list[dict[str, Any]], name: str) -> list[list[float]]:
    points = [(row["step"], row[name]) for row in rows if name in row]
    parts = np.array_split(np.array(points, dtype=np.float64), min(POINTS, len(points)))
    return [[int(part[-1, 0]), _rounded(part[:, 1].mean())] for part in parts]


def _rounded(value: Any) -> float:
    return float(f"{value:.4g}")
