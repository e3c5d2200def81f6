"""robosuite Lift and Stack from pictures: record scripted demonstrations, train BESO and BC, evaluate on unseen starts.

    python benchmarks/robosuite_images.py                       both tasks, both policies
    python benchmarks/robosuite_images.py --tasks lift --policies bc
    python benchmarks/robosuite_images.py --quick               few of everything, to see that it works

200 demonstrations of the scripted operator a task, 84 x 84 pictures of two cameras; the policies see these and the
arm's own state, never where the cubes are. Demonstrations start from states 10000 on, evaluation from 0 to 49. This
is a reduced run, for processors: small networks and few epochs (`robolearn/training/presets/robosuite.py`).
Recording, training and evaluation that were cut off are taken up again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _runs import evaluate, run_record, train
from _verbs import robolearn

from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

ROOT = Path("outputs/bench_robosuite_images")
TASKS = {"lift": "robosuite/Lift", "stack": "robosuite/Stack"}
POLICIES = ("beso", "bc")
STEPS = {"lift": 3000, "stack": 8000}  # of training, the same for all policies
EPISODES, STARTS, EXECUTE, MAX_STEPS = 200, 50, 6, 400
QUICK_EPISODES, QUICK_STARTS, QUICK_STEPS = 3, 2, 4


def record(env: str, dataset: Path, episodes: int) -> None:
    """Record what is missing of the demonstrations."""
    there = Dataset(dataset).num_episodes if dataset.exists() else 0
    if there < episodes:
        robolearn(
            "record", "--env", env, "--operator", "scripted", "--num-episodes", str(episodes - there),
            "--camera", "agentview", "--camera", "robot0_eye_in_hand", "--image-size", "84", "--dataset", str(dataset),
            *(["--resume"] if there else []),
        )  # fmt: skip


def measure(task: str, policy: str, quick: bool) -> Figure:
    """Success of one policy on one task."""
    root = ROOT / ("quick" if quick else "full") / task
    dataset, run, evaluation = root / "demonstrations.zarr", root / policy, root / f"{policy}_eval"
    episodes, starts = (QUICK_EPISODES, QUICK_STARTS) if quick else (EPISODES, STARTS)
    record(TASKS[task], dataset, episodes)
    steps = ["--steps", str(QUICK_STEPS), "--batch-size", "8"] if quick else ["--steps", str(STEPS[task])]
    train(policy, "robosuite", dataset, run, *steps)
    results = evaluate(run, evaluation, "--env", TASKS[task], "--num-episodes", str(starts), "--execute", str(EXECUTE),
                       "--max-steps", str(20 if quick else MAX_STEPS))  # fmt: skip
    trained = results.policy["provenance"]
    config = {
        "demonstrations": episodes, "max_steps": results.settings["max_steps"], **run_record([run], [results])
    }  # fmt: skip
    return Figure(
        f"robosuite.{task}.{policy}.success", results.success.value, "1", starts,
        f"python benchmarks/robosuite_images.py --tasks {task} --policies {policy}" + (" --quick" if quick else ""),
        results.success.interval, (trained["seed"],), config,
        f"start states 0 to {starts - 1}, unseen in training; 84 x 84 pictures of two cameras and the arm's own state; "
        "last checkpoint, one training seed; reduced run on a processor; interval: Wilson 95 %",
    )  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="robosuite Lift and Stack from pictures.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    options = parser.parse_args(argv)
    for task in options.tasks:
        for policy in options.policies:
            figure = measure(task, policy, options.quick)
            print(f"{figure.id} {figure.value:.2f} {figure.interval}")
            write_figures(results_file("robosuite_images", options.quick), [figure])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
