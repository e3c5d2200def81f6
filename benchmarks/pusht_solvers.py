"""What a solver of diffusers buys Diffusion Policy on Push-T: score and latency beside our DDIM at 4, 8 and 16 steps.

    python benchmarks/pusht_solvers.py            the runs of benchmarks/pusht.py --only dp, trained if they are missing
    python benchmarks/pusht_solvers.py --seeds 0  of one training seed
    python benchmarks/pusht_solvers.py --quick    20 training steps and 2 episodes, to see that it works

Figures go to benchmarks/results/pusht_solvers.json. One trained network is rolled out by every solver from the same
start states with the same noise: DDIM from "leading" levels (the published figure, at 16 steps), DDIM from "trailing"
ones, and DPM-Solver++(2M), `DPMSolverMultistepScheduler` as it comes. Latencies of a chunk are taken in one process of
one thread, the contestants in turns; what is counted is the processor time it got, so that other load does not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _runs import evaluate, run_record
from pusht import EXECUTE, FIRST_STATE, ROOT, SHARED, STATES, convert, train_and_evaluate
from torch import Tensor

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.intervals import bootstrap_mean
from robolearn.evaluation.statistics.paired import signed_rank
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.policies.checkpoint import load_policy

SOLVERS = {
    "ddim": {},
    "ddim_trailing": {"spacing": "trailing"},
    "dpmpp": {"scheduler": "DPMSolverMultistepScheduler"},
}
Contestant = tuple[str, int]
PUBLISHED, ASKED = ("ddim", 16), ("dpmpp", 16)
CONTESTANTS: tuple[Contestant, ...] = (  # the published one, which trains what is missing, first
    PUBLISHED, ASKED, ("dpmpp", 8), ("dpmpp", 4), ("ddim", 8), ("ddim", 4), ("ddim_trailing", 8), ("ddim_trailing", 4),
)  # fmt: skip


def sampling(contestant: Contestant) -> dict[str, Any]:
    """The settings in which a contestant differs from the published sampler."""
    solver, steps = contestant
    return SOLVERS[solver] | ({} if steps == PUBLISHED[1] else {"sampling_steps": steps})


def roll_out(contestant: Contestant, seed: int, root: Path, quick: bool) -> EvaluationResults:
    """Episodes of the run of one training seed; what is finished is read back."""
    run, settings = root / f"dp_{seed}", [f"{name}={value}" for name, value in sampling(contestant).items()]
    if not settings:
        return train_and_evaluate("dp", seed, root, quick)
    output = root / f"dp_{seed}_{contestant[0]}_{contestant[1]}_eval"
    return evaluate(run, output, "--env", "pusht", "--init-state", str(FIRST_STATE), "--num-episodes",
                    "2" if quick else str(STATES), "--execute", str(EXECUTE), "--set", *settings)  # fmt: skip


def seconds_a_chunk(run: Path, turns: int) -> dict[Contestant, np.ndarray]:
    """(turns,) processor seconds of a chunk of each contestant, taken in turns; the first turns warm up."""
    torch.set_num_threads(1)
    policies = {one: load_policy(run, sampling=sampling(one)) for one in CONTESTANTS}
    spec = policies[PUBLISHED].spec
    observation = {
        name: np.zeros((spec.obs_horizon, *feature.shape), np.float32)
        for name, feature in spec.observation_features.items()
    }
    found: dict[Contestant, list[float]] = {one: [] for one in policies}
    for turn in range(turns + 3):
        for one, policy in policies.items():
            taken = _processor_seconds(policy.predict_chunk, observation)
            if turn >= 3:
                found[one].append(taken)
    return {one: np.array(times) for one, times in found.items()}


def seconds_a_step(run: Path, turns: int) -> dict[str, float]:
    """Median processor seconds of a step's arithmetic without the network."""
    samplers = {one[0]: load_policy(run, sampling=sampling(one)) for one in (PUBLISHED, ASKED)}
    spec = samplers["ddim"].spec
    answer = torch.zeros(1, spec.obs_horizon - 1 + spec.action_horizon, samplers["ddim"].action_dim)

    def predict(noisy: Tensor, i: int) -> Tensor:
        return answer

    times: dict[str, list[float]] = {name: [] for name in samplers}
    with torch.inference_mode():
        for _ in range(turns):
            for name, policy in samplers.items():
                times[name].append(_processor_seconds(policy.table, predict, answer))
    return {name: float(np.median(found)) / PUBLISHED[1] for name, found in times.items()}


def _processor_seconds(call: Any, *arguments: Any) -> float:
    start = time.process_time()
    call(*arguments)
    return time.process_time() - start


def by_state(results: Sequence[EvaluationResults]) -> np.ndarray:
    """(start states,) scores, means over training seeds."""
    return np.mean([[episode.max_score for episode in found.episodes] for found in results], axis=0)


def compared(scores: dict[Contestant, np.ndarray], times: dict[Contestant, np.ndarray]) -> dict[str, Any]:
    """Of every contestant its score and latency, and both beside the published sampler's."""
    found = {}
    for one, score in scores.items():
        mean, taken = bootstrap_mean(score), times[one]
        entry: dict[str, Any] = {"score": mean.value, "interval": mean.interval}
        if one != PUBLISHED:
            difference = bootstrap_mean(score - scores[PUBLISHED])
            entry |= {
                "difference": difference.value, "difference_interval": difference.interval,
                "signed_rank_p": signed_rank(score, scores[PUBLISHED]),
            }  # fmt: skip
        entry |= {
            "ms_median": 1e3 * float(np.median(taken)), "ms_p95": 1e3 * float(np.percentile(taken, 95)),
            "ratio_of_time": float(np.median(taken / times[PUBLISHED])),
        }  # fmt: skip
        found["{}_{}".format(*one)] = entry
    return found


def figure(seeds: tuple[int, ...], root: Path, quick: bool, command: str) -> Figure:
    results = {one: [roll_out(one, seed, root, quick) for seed in seeds] for one in CONTESTANTS}
    scores = {one: by_state(found) for one, found in results.items()}
    run = root / f"dp_{seeds[0]}"
    score = bootstrap_mean(scores[ASKED])
    record = run_record([root / f"dp_{seed}" for seed in seeds], results[ASKED])
    config = {
        "solvers": compared(scores, seconds_a_chunk(run, 20 if quick else 60)),
        "step_us_without_network": {k: 1e6 * v for k, v in seconds_a_step(run, 20 if quick else 60).items()},
        "settings": {"{}_{}".format(*one): sampling(one) for one in CONTESTANTS},
        "published": "{}_{}".format(*PUBLISHED),
        "chunk": load_policy(run).chunk,
        **{name: record[name] for name in ("steps", "parameters", "policy", "execute", "trained_with")},
        "evaluated_with": record["evaluated_with"],
    }  # fmt: skip
    return Figure(
        "pusht.dp.solvers", score.value, "1", sum(len(found.episodes) for found in results[ASKED]), command,
        score.interval, seeds, config,
        "score of DPM-Solver++(2M) at 16 steps: mean over start states 100000 to 100049 of max coverage / 0.95, at "
        "most 1; last checkpoint; interval: bootstrap 95 % over start states of the mean over "
        f"{len(seeds)} training seed(s). Differences are paired, from the published ddim_16. Latencies: processor time "
        "of one chunk, one thread, in turns",
    )  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Solvers of diffusers beside DDIM on Push-T.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", nargs="+", type=int, help="training seeds; 0 1 2 by default, 0 with --quick")
    options = parser.parse_args(argv)
    if not (SHARED / "pusht.zarr").is_dir():
        print(f"Skipped: {SHARED / 'pusht.zarr'} is not here.")
        return 0
    root = ROOT / ("quick" if options.quick else "full")
    convert(root / "pusht.zarr")
    seeds = tuple(options.seeds or ((0,) if options.quick else (0, 1, 2)))
    command = "python benchmarks/pusht_solvers.py" + (" --quick" if options.quick else "")
    if options.seeds:
        command += f" --seeds {' '.join(map(str, seeds))}"
    found = figure(seeds, root, options.quick, command)
    for name, entry in found.config["solvers"].items():
        low, high = entry["interval"] or (entry["score"],) * 2
        print(f"{name:18} {entry['score']:.3f} [{low:.3f}, {high:.3f}]  {entry['ms_median']:7.2f} ms a chunk")
    write_figures(results_file("pusht_solvers", options.quick), [found])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
