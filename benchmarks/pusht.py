"""Push-T from human demonstrations, keypoint observations: convert, train BESO, evaluate on the usual 50 start states.

    python benchmarks/pusht.py            206 episodes; writes benchmarks/results/pusht.json
    python benchmarks/pusht.py --quick    20 training steps and 2 episodes, to see that it works

The score is the mean over start states (seeds 100000 to 100049) of max coverage / 0.95, at most 1, of the last
checkpoint. A run that was cut off is resumed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from robolearn.evaluation.figures import Figure, results_file, write_figures
from robolearn.evaluation.results import EvaluationResults

SHARED = Path(os.environ.get("ROBOLEARN_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ROOT = Path("outputs/bench_pusht")
TRAINING = [
    "--batch-size", "128", "--learning-rate", "6e-4", "--precision", "bfloat16", "--val-ratio", "0.02",
    "--num-threads", "1", "--policy.obs-horizon", "2", "--policy.action-horizon", "10", "--policy.embed-dim", "128",
    "--policy.layers", "4", "--policy.heads", "4", "--policy.dropout", "0.1", "--policy.attention-dropout", "0.1",
]  # fmt: skip
STEPS, EXECUTE = 14_000, 8


def robolearn(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "robolearn", *arguments], check=True)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Push-T from human demonstrations.")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    source = SHARED / "pusht.zarr"
    if not source.is_dir():
        print(f"Skipped: {source} is not here.")
        return 0
    root = ROOT / ("quick" if options.quick else "full")
    dataset, run, evaluation = root / "pusht.zarr", root / "policy", root / "eval"
    if not dataset.exists():
        robolearn("dataset", "convert", "--input", str(source), "--output", str(dataset))
    steps, episodes = (20, 2) if options.quick else (STEPS, 50)
    resume = ["--resume"] if (run / "checkpoints" / "last").exists() else []
    robolearn(
        "train", "beso", "--dataset", str(dataset), "--output", str(run), "--steps", str(steps), *TRAINING, *resume
    )
    robolearn("eval", "--policy", str(run), "--env", "pusht", "--init-state", "100000", "--num-episodes", str(episodes),
              "--execute", str(EXECUTE), "--num-videos", "0", "--output", str(evaluation))  # fmt: skip
    results = EvaluationResults.load(evaluation)
    score = results.score
    provenance = results.policy["provenance"]
    config = {
        "steps": provenance["step"], "parameters": provenance["parameters"], "execute": EXECUTE, "episodes": 206,
        "training": provenance["training"], "successes_at_95_percent": results.successes,
    }  # fmt: skip
    figure = Figure(
        "pusht.keypoints.score", score.value, "1", episodes,
        "python benchmarks/pusht.py" + (" --quick" if options.quick else ""), score.interval,
        (provenance["seed"],), config,
        "mean over start states 100000 to 100049 of max coverage / 0.95, at most 1; BESO, last checkpoint, one "
        "training seed; interval: bootstrap 95 % over start states",
    )  # fmt: skip
    write_figures(results_file("pusht", options.quick), [figure])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
