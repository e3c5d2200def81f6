"""Runs to compare: a training run's curves, an evaluation's episodes, or both of one policy.

What belongs together is found by itself: an evaluation of a checkpoint inside one of the training folders joins that
run, and a training folder without one brings the newest of its own (`evaluations/STEP/results.json`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robolearn.core.config import load_yaml
from robolearn.core.errors import ConfigError, DatasetError
from robolearn.evaluation.results import FILE_NAME, EvaluationResults
from robolearn.training.config import INCIDENTAL
from robolearn.training.metrics import read_metrics

METRICS, CONFIG = "metrics.jsonl", "config.yaml"
CURVES = ("loss", "val_loss", "action_error", "eval_success", "eval_score")

# what two runs of one method may differ in
_INCIDENTAL = INCIDENTAL | {"seed"}


@dataclass(frozen=True)
class Run:
    """One trained policy.

    Attributes:
        name: short and unlike those of the others.
        path: the training folder, or the folder of the evaluation.
        config: resolved options of the training, the policy's own as `policy`; empty when they are not known.
        curves: name of `CURVES` -> (steps, values).
        evaluation: episodes of the last checkpoint that was evaluated, or None.
    """

    name: str
    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    evaluation: EvaluationResults | None = None

    @property
    def method(self) -> str | None:
        """Equal for runs that differ in their seed only; None when nothing is known of the training."""
        if not self.config:
            return None
        kept: dict[str, Any] = {key: value for key, value in self.config.items() if key not in _INCIDENTAL}
        if self.evaluation is not None:
            kept["sampling"] = self.evaluation.policy.get("sampling") or {}
            kept["execute"] = self.evaluation.settings["execute"]
        return json.dumps(kept, sort_keys=True)


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs meant by folders of training runs and folders or files of evaluations, in that order.

    Raises DatasetError for a path that holds neither, or holds something damaged, ConfigError for one given twice.
    """
    places = [_place(path) for path in paths]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise ConfigError(f"{paths[i]} is given twice; give each run once.")
    runs: dict[Path, Run] = {}
    for path, place in zip(paths, places, strict=True):
        if (place / METRICS).is_file():
            runs[place] = Run(str(path), place, _training_config(place), _curves(place / METRICS))
    for path, place in zip(paths, places, strict=True):
        if place in runs:
            continue
        results = EvaluationResults.load(path)
        source = Path(str(results.policy.get("source", "")))
        owner = next((folder for folder in source.resolve().parents if folder in runs), None)
        if owner is not None and runs[owner].evaluation is None:
            runs[owner] = replace(runs[owner], evaluation=results)
        else:
            runs[place] = Run(str(path), place, _evaluated_config(results), {}, results)
    found = [_with_own_evaluation(run) for run in runs.values()]
    return [replace(run, name=name) for run, name in zip(found, _short([run.path for run in found]), strict=True)]


def _place(path: Path) -> Path:
    """The folder of a run. Raises DatasetError when there is none."""
    folder = path.parent if path.name == FILE_NAME else path
    if not folder.is_dir() or not any((folder / name).is_file() for name in (METRICS, FILE_NAME)):
        raise DatasetError(
            f"{path} is no run: expected the output folder of `robolearn train` ({METRICS}) or of `robolearn eval` "
            f"({FILE_NAME})."
        )
    return folder.resolve()


def _training_config(folder: Path) -> dict[str, Any]:
    return load_yaml(folder / CONFIG) if (folder / CONFIG).is_file() else {}


def _evaluated_config(results: EvaluationResults) -> dict[str, Any]:
    """The training's options as the checkpoint tells them, in the form of a run's config.yaml."""
    training = (results.policy.get("provenance") or {}).get("training")
    if not isinstance(training, dict):
        return {}
    return {"policy_name": results.policy.get("name"), **training, "policy": results.policy.get("config")}


def _curves(file: Path) -> dict[str, tuple[list[float], list[float]]]:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    try:
        for row in read_metrics(file):
            for name in row.keys() & set(CURVES):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(float(row["step"]))
                values.append(float(row[name]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file} does not hold the metrics of a training run: {error!r}.") from error
    return curves


def _with_own_evaluation(run: Run) -> Run:
    if run.evaluation is not None:
        return run
    own = sorted(run.path.glob(f"evaluations/*/{FILE_NAME}"))
    return replace(run, evaluation=EvaluationResults.load(own[-1])) if own else run


def _short(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = [os.sep.join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
