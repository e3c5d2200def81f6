"""One task, one policy, several ways to write its actions: does each of them learn it?

    python benchmarks/layouts.py                     about 10 minutes a layout on 2 cores
    python benchmarks/layouts.py --layouts pose umi  only these
    python benchmarks/layouts.py --quick             a tiny run of every part, to see that it works

The demo's 100 demonstrations of put_on_plate are recorded once, with absolute poses. A policy of the demo's
configuration is trained on them for each layout, which the loader makes of what is stored, and its last checkpoint is
evaluated from 50 start states; the environment takes the policy's own layout, or the absolute one that it is made of.
What is finished is read back. Relative rotations are written as axis-angle: networks see numbers scaled to [-1, 1],
which leaves rot6d as it is, and of a turn by 0.01 rad within one step that shows too little.

layouts.success  share of the evaluation episodes, one entry a layout (`config.variant`); at least 0.9
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from _runs import evaluate, run_record
from _verbs import robolearn

from robolearn.cli.demo import ENV, EXECUTE, FULL, QUICK, TASK, Sizes, policy_arguments
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.results import EvaluationResults

ROOT = Path("outputs/bench_layouts")
LAYOUTS = ("pose", "joints", "pose.current.axis_angle", "pose.target.axis_angle", "umi")
SEED = 0


def recorded(root: Path, sizes: Sizes) -> Path:
    """The demonstrations, recorded unless they are there."""
    dataset = root / "demos.zarr"
    if not dataset.exists():
        robolearn("record", "--env", ENV, "--operator", "scripted", "--num-episodes", str(sizes.num_episodes),
                  "--task", TASK, "--dataset", str(dataset))  # fmt: skip
    return dataset


def measured(layout: str, dataset: Path, sizes: Sizes, options: Sequence[str], lock: Path | None) -> EvaluationResults:
    """Train on a layout and evaluate, or read back what was found."""
    run = dataset.parent / layout
    resume = ["--resume"] if (run / "checkpoints" / "last").exists() else []
    with held(lock):
        robolearn(*policy_arguments(str(dataset), str(run), SEED, sizes.steps), "--action", layout, *options, *resume)
    return evaluate(run, run / "eval", "--env", ENV, "--num-episodes", str(sizes.eval_episodes), "--execute", EXECUTE)


@contextlib.contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """Trainings that share a file wait for one another."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def figure(layout: str, run: Path, results: EvaluationResults, command: str) -> Figure:
    success = results.success
    config = {
        "variant": layout, "env": ENV, "start_states": [e.init_state for e in results.episodes],
        "actions": results.settings["actions"], **run_record([run], [results]),
    }  # fmt: skip
    return Figure(
        "layouts.success", success.value, "1", len(results.episodes), command, success.interval, (SEED,), config,
        "share of evaluation episodes; interval: Wilson 95 %; the last checkpoint; seed: of training",
    )  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny run of every part")
    parser.add_argument("--layouts", nargs="+", default=LAYOUTS, help="only these")
    parser.add_argument("--lock", type=Path, help="file that trainings wait for, on a machine where others train")
    parser.add_argument("--threads", default="1", help="of training")
    options = parser.parse_args(argv)
    root = ROOT / ("quick" if options.quick else "full")
    sizes = QUICK if options.quick else FULL
    dataset = recorded(root, sizes)
    for layout in options.layouts:
        results = measured(layout, dataset, sizes, ("--num-threads", options.threads), options.lock)
        command = "python benchmarks/layouts.py" + (" --quick" if options.quick else f" --layouts {layout}")
        write_figures(results_file("layouts", options.quick), [figure(layout, root / layout, results, command)])
        print(f"{layout}: {results.successes} of {len(results.episodes)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
