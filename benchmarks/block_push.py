"""Multimodal block push with goals: record demonstrations, train BESO, CFG-BESO, GCBC and Diffusion Policy, evaluate.

    python benchmarks/block_push.py                     benchmarks/results/block_push.json and the chart of steps
    python benchmarks/block_push.py --seeds 0           one training seed of BESO in place of three
    python benchmarks/block_push.py --only beso gcbc    these methods; the chart needs beso and diffusion
    python benchmarks/block_push.py --quick             2 training steps and 2 goals, to see that it works

The result is the share of what a goal asks for (two cubes, each to its target) that was reached, the mean over 100
start states (from 100000 on) and as many goals from demonstrations that were not trained on; last checkpoints. Runs
take one core each and as many go side by side as there are cores; one that was cut off is resumed.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from _runs import evaluate, run_record, train

from robolearn.core.process import usable_cores
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.intervals import Estimate, bootstrap_mean
from robolearn.evaluation.statistics.results import EvaluationResults

ENV = "block_push"
SEEDS = (0, 1, 2)
ROOT = Path("outputs/bench_block_push")
CHART = Path("docs/images/block_push_steps.png")
DEMONSTRATIONS, GOALS, FIRST_GOAL_STATE, FIRST_EVALUATION_STATE = 1000, 100, 20_000, 100_000
DENOISING_STEPS, CURVE_EPISODES = (1, 2, 3, 5, 10, 50), 50


@dataclass(frozen=True)
class Method:
    """A policy with the options in which it differs from its preset."""

    policy: str
    options: tuple[str, ...] = ()


METHODS = {
    "beso": Method("beso"),
    "cfg_beso": Method("beso", options=("--policy.goal-dropout", "0.1", "--policy.guidance", "2")),
    "gcbc": Method("bc"),
    "diffusion": Method("diffusion"),
}
RESULTS = ("beso", "cfg_beso", "gcbc")  # have a figure of their own
# curve -> (method, settings of its sampler)
CURVES: dict[str, tuple[str, tuple[str, ...]]] = {
    "BESO": ("beso", ()),
    "BESO ancestral": ("beso", ("sampler=euler_ancestral",)),
    "DDIM": ("diffusion", ("scheduler=ddim", "spacing=trailing")),
    "DDPM": ("diffusion", ("scheduler=ddpm", "spacing=trailing")),
}


class Bench:
    """The parts of the benchmark, each one left out where its output is there already."""

    def __init__(self, quick: bool, beso_seeds: tuple[int, ...], command: str):
        self.quick, self.command = quick, command
        self.seeds: dict[str, tuple[int, ...]] = dict.fromkeys(METHODS, (0,)) | {"beso": beso_seeds}
        self.root = ROOT / ("quick" if quick else "full")
        if quick:
            shutil.rmtree(self.root, ignore_errors=True)
        self.demonstrations, self.goals = self.root / "demonstrations.zarr", self.root / "goals.zarr"

    def record(self) -> None:
        from robolearn.teleop.demonstrations import record_demonstrations

        if not self.demonstrations.exists():
            record_demonstrations(ENV, 20 if self.quick else DEMONSTRATIONS, self.demonstrations)
        if not self.goals.exists():
            states = itertools.count(FIRST_GOAL_STATE)
            record_demonstrations(ENV, 2 if self.quick else GOALS, self.goals, states)

    def run_of(self, method: str, seed: int) -> Path:
        return self.root / f"{method}_{seed}"

    def train(self, method: str, seed: int) -> None:
        m = METHODS[method]
        short = ["--steps", "2", "--batch-size", "8", "--val-ratio", "0.1"] if self.quick else []
        train(m.policy, ENV, self.demonstrations, self.run_of(method, seed), "--seed", str(seed), *m.options, *short)

    def evaluate(self, method: str, seed: int, episodes: int, sampler: tuple[str, ...] = ()) -> EvaluationResults:
        run = self.run_of(method, seed)
        checkpoint = (run / "checkpoints" / "last").resolve().name
        output = run / "-".join(["eval", checkpoint, str(episodes), *sampler])
        changes = ["--set", *sampler] if sampler else []
        limit = ["--max-steps", "5"] if self.quick else []
        return evaluate(run, output, "--env", ENV, "--init-state", str(FIRST_EVALUATION_STATE), "--num-episodes",
                        str(episodes), "--goals", str(self.goals), "--execute", "1", *limit, *changes)  # fmt: skip

    def figure(self, method: str) -> Figure:
        """The result of a method over all its seeds."""
        seeds = self.seeds[method]
        found = [self.evaluate(method, seed, 2 if self.quick else GOALS) for seed in seeds]
        # start states and goals are the same for every seed, so they are what the interval is over
        by_state = np.mean([[e.max_score for e in results.episodes] for results in found], axis=0)
        result = bootstrap_mean(by_state)
        config = {
            "result_by_seed": [results.score.value for results in found],
            "success_by_seed": [results.success.value for results in found],
            "demonstrations": found[0].policy["provenance"]["episodes_used"], "goals": found[0].settings["goals"],
            **run_record([self.run_of(method, seed) for seed in seeds], found),
        }  # fmt: skip
        return Figure(
            f"block_push.{method}.result", result.value, "1", sum(len(results.episodes) for results in found),
            self.command, result.interval, seeds, config,
            "share of the requested cubes that reached their targets; start states from 100000 on, goals from the ends "
            "of demonstrations that were not trained on, last checkpoint; interval: bootstrap 95 % over start states "
            f"of the mean over {len(seeds)} training seed(s)",
        )  # fmt: skip

    def curve(self, name: str) -> list[EvaluationResults]:
        """The results for each number of denoising steps."""
        method, sampler = CURVES[name]
        episodes = 2 if self.quick else CURVE_EPISODES
        steps = DENOISING_STEPS[:2] if self.quick else DENOISING_STEPS
        seed = self.seeds[method][0]
        return [self.evaluate(method, seed, episodes, (*sampler, f"sampling_steps={n}")) for n in steps]

    def curve_figure(self, curves: dict[str, list[EvaluationResults]], scores: dict[str, list[Estimate]]) -> Figure:
        at_three = scores["BESO"][0 if self.quick else DENOISING_STEPS.index(3)]
        points = {
            name: {str(n): [e.value, e.low, e.high] for n, e in zip(DENOISING_STEPS, estimates, strict=False)}
            for name, estimates in scores.items()
        }
        records = {
            method: run_record([self.run_of(method, self.seeds[method][0])], curves[name][:1])
            for method, name in {"beso": "BESO", "diffusion": "DDIM"}.items()
        }
        config = {"curves": points, "methods": records}
        return Figure(
            "block_push.steps_curve", at_three.value, "1", at_three.n, self.command, at_three.interval,
            self.seeds["beso"][:1], config,
            f"result against denoising steps, in config.curves as [value, low, high] ({CHART}); the value is BESO's "
            "with 3 steps. One seed, one action executed a prediction. Methods as trained, not samplers alone: BESO "
            "predicts from 5 observations and the executed actions, also with ancestral sampling; DDIM and DDPM sample "
            "a U-Net that predicts 3 actions from 2 observations, with trailing spacing",
        )  # fmt: skip


def draw(curves: dict[str, list[Estimate]], path: Path) -> None:
    """A chart of the result over the number of denoising steps, with intervals."""
    width, height, left, right, top, bottom = 900, 520, 80, 200, 30, 70
    picture = np.full((height, width, 3), 255, np.uint8)
    ink, font = (60, 50, 45), cv2.FONT_HERSHEY_SIMPLEX

    def at(i: float, value: float) -> tuple[int, int]:
        x = left + (width - left - right) * i / (len(DENOISING_STEPS) - 1)
        return round(x), round(top + (height - top - bottom) * (1 - value))

    def write(text: str, place: tuple[int, int], colour: tuple[int, int, int] = ink) -> None:
        cv2.putText(picture, text, place, font, 0.55, colour, 1, cv2.LINE_AA)

    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        cv2.line(picture, at(0, value), at(len(DENOISING_STEPS) - 1, value), (225, 225, 225), 1)
        write(f"{value:g}", (left - 50, at(0, value)[1] + 5))
    for i, n in enumerate(DENOISING_STEPS):
        write(str(n), (at(i, 0)[0] - 8, height - bottom + 28))
    write("denoising steps for an action", (left + 200, height - 12))
    write("result", (left + 8, top - 10))
    colours = ((180, 90, 30), (210, 170, 60), (40, 130, 60), (40, 60, 200))
    for row, ((name, points), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        for i, point in enumerate(points):
            cv2.line(picture, at(i, point.low), at(i, point.high), colour, 1, cv2.LINE_AA)
            cv2.circle(picture, at(i, point.value), 5, colour, -1, cv2.LINE_AA)
        line = np.array([at(i, point.value) for i, point in enumerate(points)], np.int32)
        cv2.polylines(picture, [line], False, colour, 2, cv2.LINE_AA)
        write(name, (width - right + 25, top + 20 + 28 * row), colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Multimodal block push with goals.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="training seeds of BESO")
    parser.add_argument("--only", choices=METHODS, nargs="+", default=list(METHODS), help="methods to run")
    options = parser.parse_args(argv)
    seeds = tuple(options.seeds[:1] if options.quick else options.seeds)
    bench = Bench(options.quick, seeds, shlex.join(["python", "benchmarks/block_push.py", *argv]))
    results = results_file("block_push", options.quick)
    bench.record()
    runs = [(method, seed) for method in options.only for seed in bench.seeds[method]]
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(lambda run: bench.train(*run), runs))
    for method in options.only:
        if method in RESULTS:
            write_figures(results, [bench.figure(method)])
    if {method for method, _ in CURVES.values()} <= set(options.only):
        curves = {name: bench.curve(name) for name in CURVES}
        scores = {name: [found.score for found in results] for name, results in curves.items()}
        draw(scores, chart := bench.root / CHART.name if options.quick else CHART)
        print(f"Picture: {chart}")
        write_figures(results, [bench.curve_figure(curves, scores)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
