"""`robolearn demo` measured: the whole chain once, then training and evaluation again with two more seeds.

    python benchmarks/demo.py                            seeds 0, 1, 2; about 20 minutes on 2 cores
    python benchmarks/demo.py --variants coarse float32  trained otherwise, on what that recorded
    python benchmarks/demo.py --quick                    a tiny run of every part, to see that it works

Seeds 1 and 2 train on the demonstrations that seed 0's demo recorded. The variants are `coarse`, the noise levels of
BESO's authors for block push, and `float32`, where the demo trains with bfloat16 matrix products; both with seed 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from _runs import run_record
from _verbs import robolearn

from robolearn.cli.demo import ENV, EXECUTE, FULL, policy_arguments
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.tally import Tally

ROOT = Path("outputs/bench_demo")
SEEDS = (0, 1, 2)
VARIANTS = {
    "coarse": ("--policy.sigma-min", "0.05", "--policy.sigma-max", "1.0"),
    "float32": ("--precision", "float32"),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Measure the demo.")
    parser.add_argument("--quick", action="store_true", help="a tiny run of every part")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="only these, on the demonstrations of seed 0")
    options = parser.parse_args(argv)
    root = ROOT / ("quick" if options.quick else "full")
    command = "python benchmarks/demo.py" + (" --quick" if options.quick else "")
    for variant in options.variants or ():
        figure = again(root, 0, f"{command} --variants {variant}", variant)
        write_figures(results_file("demo", options.quick), [figure])
    if options.variants:
        return 0
    robolearn("demo", "--output", str(root / "seed0"), *(["--quick"] if options.quick else []))
    figures = chain_figures(root / "seed0", command)
    for seed in SEEDS[1:] if not options.quick else ():
        figures.append(again(root, seed, command))
    write_figures(results_file("demo", options.quick), figures)
    return 0


def again(root: Path, seed: int, command: str, variant: str = "") -> Figure:
    """Train on the demonstrations of seed 0's demo and evaluate."""
    run = root / f"seed{seed}{variant}"
    shutil.rmtree(run, ignore_errors=True)
    dataset = str(root / "seed0" / "demos.zarr")
    # one thread: it has the same result on a machine where others work
    robolearn(*policy_arguments(dataset, str(run / "policy"), seed, FULL.steps), "--num-threads", "1",
              *VARIANTS.get(variant, ()))  # fmt: skip
    robolearn("eval", "--policy", str(run / "policy"), "--env", ENV, "--num-episodes", str(FULL.eval_episodes),
              "--execute", EXECUTE, "--num-videos", "0", "--output", str(run / "eval"))  # fmt: skip
    return eval_figure(run / "eval", seed, command, f"demo.eval_success{'_' if variant else ''}{variant}")


def eval_figure(folder: Path, seed: int, command: str, name: str = "demo.eval_success") -> Figure:
    results = EvaluationResults.load(folder)
    success = results.success
    config = {
        "env": ENV, "start_states": [e.init_state for e in results.episodes],
        **run_record([folder.parent / "policy"], [results]),
    }  # fmt: skip
    return Figure(
        name, success.value, "1", len(results.episodes), command, success.interval, (seed,), config,
        "share of evaluation episodes; interval: Wilson 95 %; the last checkpoint; seed: of training",
    )  # fmt: skip


def chain_figures(folder: Path, command: str) -> list[Figure]:
    """Figures of one whole demo."""
    demo = json.loads((folder / "demo.json").read_text())
    deployed = json.loads((folder / "deploy" / "results.json").read_text())
    episodes = deployed["episodes"]
    tally = Tally.of_episodes(episodes)
    if tally.rate is None or tally.exit_status:
        raise SystemExit(f"The deployment measured too little to be published: {tally}")
    rate = tally.rate
    lateness = deployed["loop"]["lateness_ms"]
    ticks = deployed["loop"]["ticks"]
    stages = {stage["name"]: round(stage["wall_s"], 1) for stage in demo["stages"]}
    stops = sum(e["safety_stops"] for e in episodes)
    return [
        Figure("demo.total_s", demo["total_s"], "s", 1, command, config={"stages_s": stages}, seeds=(0,),
               notes="after installation; record, train, evaluate, serve, deploy, report"),
        eval_figure(folder / "eval", 0, command),
        Figure("demo.deploy_success", rate.value, "1", len(episodes), command, rate.interval, (0,),
               {"safety_stops": stops}, "share of real-time episodes; interval: Wilson 95 %"),
        Figure("demo.loop_lateness_p99_ms", lateness["p99"], "ms", ticks, command, seeds=(0,),
               config={"rate_hz": deployed["loop"]["rate_hz"], "lateness_ms": lateness},
               notes="of all ticks of the deployment episodes; simulated arm and server on the same two cores"),
        Figure("demo.peak_rss_gb", demo["peak_memory_gb"], "GB", 1, command, seeds=(0,),
               notes="largest sum over all processes of the chain at one time, shared pages counted once"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
