"""`robolearn demo`: the whole chain on the simulated arm, from demonstrations to a deployed policy, with a report."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.core.busy import BusyWatch
from robolearn.core.config import main_stderr, parse
from robolearn.core.errors import ConfigError
from robolearn.core.files import write_text
from robolearn.core.output import held_output

if TYPE_CHECKING:
    from robolearn.evaluation.statistics.tally import Tally

ENV = "put_on_plate"
TASK = "put the bar on the plate"


@dataclass(frozen=True)
class DemoOptions:
    """Record demonstrations, train a policy, evaluate it, deploy it in real time, and write a report.

    Attributes:
        output: Folder for everything; parts of an earlier demo in it are replaced.
        seed: Training seed.
        num_episodes: Demonstrations to record; 100 by default.
        steps: Training steps; 5000 by default.
        eval_episodes: Evaluation episodes, from fixed start states.
        deploy_episodes: Real-time episodes.
        image_size: Pixels of the recorded pictures.
        num_threads: Threads of training; 0 = all cores.
        quick: A tiny run of every part, to see that the chain works; its policy is not good.
        json: Print a machine-readable summary at the end.
    """

    output: Path = Path("outputs/demo")
    seed: int = 0
    num_episodes: int | None = None
    steps: int | None = None
    eval_episodes: int | None = None
    deploy_episodes: int | None = None
    image_size: int = 96
    num_threads: int = 0
    quick: bool = False
    json: bool = False


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    num_episodes: int
    steps: int
    eval_episodes: int
    deploy_episodes: int


FULL = Sizes(num_episodes=100, steps=5000, eval_episodes=50, deploy_episodes=10)
QUICK = Sizes(num_episodes=3, steps=30, eval_episodes=2, deploy_episodes=1)
# A state-based policy: a small network, 0.8 M weights, chunks of 12 actions (0.6 s), trained in minutes on two cores.
POLICY = [
    "--policy.obs-horizon", "1", "--policy.action-horizon", "12", "--policy.embed-dim", "128", "--policy.layers", "4",
    "--policy.heads", "4", "--policy.dropout", "0", "--policy.attention-dropout", "0",
]  # fmt: skip
EXECUTE = "8"
MEASURED = (0, 3, 4)  # exit status of `eval` and `deploy` that ran to their end, see `evaluation/statistics/tally.py`


def main(argv: list[str]) -> int:
    watch = BusyWatch()
    options = parse(DemoOptions, argv, prog="robolearn demo", description="The whole chain, on the simulated arm.")
    sizes = QUICK if options.quick else FULL
    given = {f.name: getattr(options, f.name) for f in fields(Sizes) if getattr(options, f.name) is not None}
    for name, size in given.items():
        if size < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, found {size}.")
    if line := watch.line("the demo takes longer, and its real-time loop may be late"):
        main_stderr(line)
    summary = run_demo(options, replace(sizes, **given))
    if options.json:
        print(json.dumps(summary))
    return int(summary["status"])


def run_demo(options: DemoOptions, sizes: Sizes) -> dict[str, Any]:
    """Run all parts and return what `demo.json` holds: times, memory and results.

    Episodes that were aborted end nothing: they are in the report, in the summary and in its `status`.
    """
    with held_output(options.output):
        return _run_demo(options, sizes)


def _run_demo(options: DemoOptions, sizes: Sizes) -> dict[str, Any]:
    from robolearn.cli.stages import MemoryWatch, StageRunner
    from robolearn.evaluation.pages.demo import DemoParts, write_demo_page

    output = options.output
    parts = {name: output / name for name in ("demos.zarr", "policy", "eval", "deploy")}
    for part in parts.values():
        shutil.rmtree(part, ignore_errors=True)
    dataset, policy, evaluation, deployment = map(str, parts.values())
    runner = StageRunner()
    start = time.monotonic()
    with MemoryWatch() as memory:
        runner.run(
            "record",
            ["record", "--env", ENV, "--operator", "scripted", "--num-episodes", str(sizes.num_episodes),
             "--camera", "front", "--camera", "wrist", "--image-size", str(options.image_size),
             "--task", TASK, "--dataset", dataset],
        )  # fmt: skip
        train = policy_arguments(dataset, policy, options.seed, sizes.steps)
        runner.run("train", [*train, "--num-threads", str(options.num_threads)])
        runner.run(
            "evaluate",
            ["eval", "--policy", policy, "--env", ENV, "--num-episodes", str(sizes.eval_episodes),
             "--execute", EXECUTE, "--num-videos", str(min(6, sizes.eval_episodes)), "--output", evaluation],
            MEASURED,
        )  # fmt: skip
        with runner.serving(["serve", "--policy", policy, "--port", "0"]) as address:
            runner.run(
                "deploy",
                ["deploy", "--server", address, "--robot", "sim", "--env", ENV, "--execute", EXECUTE,
                 "--num-episodes", str(sizes.deploy_episodes), "--output", deployment],
                MEASURED,
            )  # fmt: skip
    total_s = time.monotonic() - start
    page = write_demo_page(
        DemoParts(
            output=output / "report.html", dataset=parts["demos.zarr"], training=parts["policy"],
            evaluation=parts["eval"], deployment=parts["deploy"], stages=tuple(runner.stages),
            total_s=total_s, peak_memory_gb=memory.peak_gb,
        )
    )  # fmt: skip
    summary = _summary(parts["eval"], parts["deploy"], total_s, memory.peak_gb, page)
    summary["stages"] = [vars(stage) for stage in runner.stages]
    write_text(output / "demo.json", json.dumps(summary, indent=1))
    print(
        f"\nevaluation {summary['eval_success']}, deployment {summary['deploy_success']}, "
        f"loop lateness p99 {_milliseconds(summary['lateness_p99_ms'])}, {total_s:.0f} s in all, "
        f"peak memory {memory.peak_gb:.2f} GB\nReport: {page}"
    )
    return summary


def policy_arguments(dataset: str, output: str, seed: int, steps: int) -> list[str]:
    """The command line that trains the demo's policy."""
    return [
        "train", "beso", "--dataset", dataset, "--output", output, "--seed", str(seed), "--steps", str(steps),
        "--batch-size", "128", "--precision", "bfloat16", *POLICY,
    ]  # fmt: skip


def _summary(evaluation: Path, deployment: Path, total_s: float, peak_gb: float, page: Path) -> dict[str, Any]:
    from robolearn.evaluation.statistics.results import EvaluationResults
    from robolearn.evaluation.statistics.tally import Tally

    deployed = json.loads((deployment / "results.json").read_text())
    episodes = deployed["episodes"]
    tallies = EvaluationResults.load(evaluation).tally, Tally.of_episodes(episodes)
    return {
        "total_s": total_s,
        "peak_memory_gb": peak_gb,
        "eval_success": _in_short(tallies[0]),
        "deploy_success": _in_short(tallies[1]),
        "status": max(tally.exit_status for tally in tallies),
        "lateness_p99_ms": deployed["loop"]["lateness_ms"]["p99"],
        "safety_stops": sum(e["safety_stops"] for e in episodes),
        "report": str(page),
    }


def _in_short(tally: Tally) -> str:
    return f"{tally.counts} ({tally.beside})" if tally.beside else tally.counts


def _milliseconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f} ms"
