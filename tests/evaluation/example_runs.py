"""Folders as `robolearn train` and `robolearn eval` leave them, with outcomes that tests choose."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from robolearn.evaluation.statistics.episode import AbortedEpisode, EpisodeResult
from robolearn.evaluation.statistics.results import EvaluationResults


def write_training(folder: Path, policy="bc", seed=0, losses=(1.0, 0.5), evaluated=None, **options) -> Path:
    """A training folder of `losses`, one every 10 steps; `evaluated` are the scores of its own last evaluation."""
    (folder / "checkpoints" / "00000020").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(folder, policy, seed, **options)))
    rows = [{"step": 10 * (i + 1), "loss": loss} for i, loss in enumerate(losses)]
    rows.append({"step": 10 * len(losses), "val_loss": 2 * losses[-1], "action_error": 3.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if evaluated is not None:
        for step, scores in ((10, [0.0] * len(evaluated)), (20, evaluated)):
            write_evaluation(folder / "evaluations" / f"{step:08d}", scores, folder, policy, seed, command=None)
    return folder


def write_evaluation(
    folder: Path, scores, training=None, policy="bc", seed=0, first=0, goals=None, sampling=None, execute=4,
    command="robolearn eval --policy <p>", aborted=(), **environment
) -> Path:  # fmt: skip
    """An evaluation whose episodes reached `scores`; those of at least 0.5 are successes.

    Start states in `aborted` have no result.
    """
    episodes = tuple(
        EpisodeResult(first + k, score >= 0.5, 10, None, score, score, None, 5, 2.0, 1.0)
        for k, score in enumerate(scores)
        if first + k not in aborted
    )
    source = folder / "policy" if training is None else training / "checkpoints" / "00000020"
    options = config(source, policy, seed)
    declared = {"name": options.pop("policy_name"), "config": options.pop("policy")}
    usual = {"name": "line", "scene_version": "1", "options": {}, "control_hz": 10, "max_steps": 40}
    EvaluationResults(
        policy={"source": str(source), **declared, "sampling": sampling or {}, "spec": {},
                "provenance": {"training": options, "parameters": 1234}},
        environment=usual | environment,
        settings={"seed": 0, "execute": execute, "workers": 1, "max_steps": None, "goals": goals},
        episodes=episodes, wall_s=1.0, command=command, provenance={},
        aborted=tuple(AbortedEpisode(k, "worker died: with exit status 9") for k in aborted),
    ).save(folder)  # fmt: skip
    return folder


def config(output, policy, seed, **options):
    return {
        "policy_name": policy, "dataset": "line.zarr", "output": str(output), "seed": seed, "learning_rate": 0.001,
        "policy": {"obs_horizon": 1, "sampling_steps": 3}, **options,
    }  # fmt: skip
