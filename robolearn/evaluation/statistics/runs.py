"""Runs to compare: a training run's curves, an evaluation's episodes, or both of one policy.

What belongs together is found by itself: an evaluation of a checkpoint inside one of the training folders joins that
run, and a training folder without one brings the newest of its own (`evaluations/STEP/results.json`). An evaluation
with other settings of the sampler than those of training is never the result of the run: it stands beside it.
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
from robolearn.evaluation.statistics.results import FILE_NAME, EvaluationResults
from robolearn.training.config import INCIDENTAL
from robolearn.training.metrics import read_metrics

METRICS, CONFIG, EVALUATIONS = "metrics.jsonl", "config.yaml", "evaluations"
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
        evaluated_step: of training, where `evaluation` was made during it.
        parameters: how many weights the policy has, or None when no checkpoint tells.
    """

    name: str
    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    evaluation: EvaluationResults | None = None
    evaluated_step: int | None = None
    parameters: int | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """Settings of the sampler that the evaluation changed."""
        return (self.evaluation.policy.get("sampling") or {}) if self.evaluation is not None else {}

    @property
    def method(self) -> str | None:
        """Equal for runs that differ in their seed only; None when nothing is known of the training."""
        if not self.config:
            return None
        kept: dict[str, Any] = {key: value for key, value in self.config.items() if key not in _INCIDENTAL}
        if kept.get("action") is None:
            kept.pop("action", None)  # runs of earlier versions do not say that actions are as stored
        if self.evaluation is not None:
            kept["sampling"] = self.sampling
            kept["execute"] = self.evaluation.settings["execute"]
        return json.dumps(kept, sort_keys=True, default=str)


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
    policies: dict[Path, Path] = {}
    for path, place in zip(paths, places, strict=True):
        if place in runs:
            continue
        results = EvaluationResults.load(path)
        source = Path(str(results.policy.get("source", ""))).resolve()
        owner = next((runs[folder] for folder in source.parents if folder in runs), None)
        if results.policy.get("sampling"):
            policies[place] = _policy_folder(source)
        elif owner is not None and owner.evaluation is None:
            runs[owner.path] = replace(owner, evaluation=results, evaluated_step=_step(place))
            continue
        # of one training, options are told in one way: the checkpoint has other forms of paths
        config = owner.config if owner is not None else _evaluated_config(results)
        runs[place] = Run(str(path), place, config, {}, results, _step(place))
    found = [_with_own_evaluation(run) for run in runs.values()]
    names = _names(found, policies)
    return [replace(run, name=name, parameters=_parameters(run)) for run, name in zip(found, names, strict=True)]


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
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{file} does not hold the metrics of a training run: {error!r}.") from error
    return curves


def _parameters(run: Run) -> int | None:
    """As the evaluation tells them, or the last checkpoint. Raises DatasetError when that is damaged."""
    file = run.path / "checkpoints" / "last" / "provenance.json"
    told = run.evaluation.policy.get("provenance") if run.evaluation is not None else None
    try:
        return (told or (json.loads(file.read_text()) if file.is_file() else {})).get("parameters")
    except (AttributeError, OSError, ValueError) as error:
        raise DatasetError(f"{file} is not the provenance of a checkpoint: {error}") from error


def _step(folder: Path) -> int | None:
    """The step of training at which the evaluation in `folder` was made, of one made during training."""
    return int(folder.name) if folder.parent.name == EVALUATIONS and folder.name.isdigit() else None


def _with_own_evaluation(run: Run) -> Run:
    if run.evaluation is not None:
        return run
    own = [file.parent for file in run.path.glob(f"{EVALUATIONS}/*/{FILE_NAME}") if _step(file.parent) is not None]
    if not own:
        return run
    newest = max(own)
    return replace(run, evaluation=EvaluationResults.load(newest), evaluated_step=_step(newest))


def bracketed(sampling: Mapping[str, Any]) -> str:
    """` [sampling_steps=1]`, or nothing for the sampler of training."""
    return f" [{', '.join(f'{name}={value}' for name, value in sampling.items())}]" if sampling else ""


def _policy_folder(checkpoint: Path) -> Path:
    """The folder that people know a checkpoint by: of its training run, where it still lies in that."""
    return checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else checkpoint


def _names(runs: Sequence[Run], policies: Mapping[Path, Path]) -> list[str]:
    """Of the run's folder, or of its policy's with the settings of the sampler; each name is there once."""
    folders = [policies.get(run.path, run.path) for run in runs]
    short = dict(zip(dict.fromkeys(folders), _short(list(dict.fromkeys(folders))), strict=True))
    names = [short[folder] + bracketed(run.sampling) for folder, run in zip(folders, runs, strict=True)]
    own = [name + bracketed(run.sampling) for name, run in zip(_short([run.path for run in runs]), runs, strict=True)]
    return [a if names.count(a) == 1 else b for a, b in zip(names, own, strict=True)]


def _short(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = [os.sep.join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
