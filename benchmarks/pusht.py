"""Push-T from human demonstrations, keypoint observations: every policy on the usual 50 start states.

    python benchmarks/pusht.py                    three training seeds of Diffusion Policy, one of the others
    python benchmarks/pusht.py --only dp --seeds 0
    python benchmarks/pusht.py --quick            20 training steps and 2 episodes, to see that it works

Figures go to benchmarks/results/pusht.json. The score is the mean over start states (seeds 100000 to 100049) of max
coverage / 0.95, at most 1, of the last checkpoint. `dp_90` trains on 90 of the 206 episodes, as many as the authors'
configuration; `dp_small` and `dp_large` halve and double the width of the U-Net, `dp_float32` trains it
without bfloat16. A run takes one core; what was cut off is resumed and what is finished is not done again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _runs import evaluate, run_record, train
from _verbs import robolearn

from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import set_mask
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.intervals import bootstrap_mean
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.training.presets import load_preset

SHARED = Path(os.environ.get("ROBOLEARN_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ROOT = Path("outputs/bench_pusht")
EXECUTE, FIRST_STATE, STATES = 8, 100_000, 50
QUICK = ("dp", "beso", "bc", "bc_rnn", "bc_transformer", "act", "vq_bet")  # one a policy
SUBSET, SUBSET_EPISODES, SUBSET_SEED = "subset_90", 90, 42


@dataclass(frozen=True)
class Method:
    """A policy with the options in which it differs from its preset."""

    policy: str
    seeds: tuple[int, ...] = (0,)
    options: tuple[str, ...] = ()


METHODS = {
    "dp": Method("diffusion", seeds=(0, 1, 2)),
    "beso": Method("beso"),
    "bc": Method("bc"),
    "dp_transformer": Method("diffusion", options=tuple(shlex.split(
        "--policy.network transformer --policy.transformer.embed-dim 128 --policy.transformer.layers 4 "
        "--policy.transformer.dropout 0.01"
    ))),
    "bc_rnn": Method("bc_rnn"),
    "bc_transformer": Method("bc_transformer"),
    "act": Method("act"),
    "vq_bet": Method("vq_bet"),
    "dp_90": Method("diffusion", options=("--masks", SUBSET)),
    "dp_small": Method("diffusion", options=("--policy.unet.widths", "32", "64", "128")),
    "dp_large": Method("diffusion", options=("--policy.unet.widths", "128", "256", "512")),
    "dp_float32": Method("diffusion", options=("--precision", "float32")),
}  # fmt: skip


def convert(dataset: Path) -> None:
    """Our copy of the human episodes, with a mask of those that the smaller variant trains on."""
    if not dataset.exists():
        robolearn("dataset", "convert", "--input", str(SHARED / "pusht.zarr"), "--output", str(dataset))
    if SUBSET not in Dataset(dataset).masks:
        episodes = np.random.default_rng(SUBSET_SEED).choice(206, SUBSET_EPISODES, replace=False)
        set_mask(dataset, SUBSET, sorted(int(e) for e in episodes))


def train_and_evaluate(name: str, seed: int, root: Path, quick: bool) -> EvaluationResults:
    """Train with the preset, or go on training, and roll out; what is finished is read back."""
    method, run, evaluation = METHODS[name], root / f"{name}_{seed}", root / f"{name}_{seed}_eval"
    short = ["--steps", "20"] if quick else []
    train(method.policy, "pusht", root / "pusht.zarr", run, "--seed", str(seed), *method.options, *short)
    execute = min(EXECUTE, load_preset("pusht", method.policy).policy.action_horizon)
    return evaluate(run, evaluation, "--env", "pusht", "--init-state", str(FIRST_STATE), "--num-episodes",
                    "2" if quick else str(STATES), "--execute", str(execute))  # fmt: skip


def figure(name: str, seeds: tuple[int, ...], root: Path, quick: bool) -> Figure:
    """The score of a method: mean over its seeds, interval over start states."""
    found = [train_and_evaluate(name, seed, root, quick) for seed in seeds]
    by_state = np.mean([[e.max_score for e in results.episodes] for results in found], axis=0)
    score = bootstrap_mean(by_state)
    config = {
        "score_by_seed": [results.score.value for results in found],
        "successes_at_95_percent_by_seed": [results.successes for results in found],
        "episodes": SUBSET_EPISODES if name == "dp_90" else 206,
        **run_record([root / f"{name}_{seed}" for seed in seeds], found),
    }  # fmt: skip
    return Figure(
        f"pusht.{name}.score", score.value, "1", sum(len(results.episodes) for results in found),
        f"python benchmarks/pusht.py --only {name}" + (" --quick" if quick else ""), score.interval, seeds, config,
        "mean over start states 100000 to 100049 of max coverage / 0.95, at most 1; last checkpoint; interval: "
        f"bootstrap 95 % over start states of the mean over {len(seeds)} training seed(s)",
    )  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Push-T from human demonstrations.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=METHODS, help="these methods")
    parser.add_argument("--seeds", nargs="+", type=int, help="training seeds, instead of each method's own")
    options = parser.parse_args(argv)
    if not (SHARED / "pusht.zarr").is_dir():
        print(f"Skipped: {SHARED / 'pusht.zarr'} is not here.")
        return 0
    root = ROOT / ("quick" if options.quick else "full")
    convert(root / "pusht.zarr")
    for name in options.only or (QUICK if options.quick else METHODS):
        seeds = tuple(options.seeds or (METHODS[name].seeds[:1] if options.quick else METHODS[name].seeds))
        write_figures(results_file("pusht", options.quick), [figure(name, seeds, root, options.quick)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
