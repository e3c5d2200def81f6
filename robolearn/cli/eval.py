"""`robolearn eval`: roll a policy out from fixed start states and say how well it does, with intervals."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.core.busy import BusyWatch
from robolearn.core.config import main_stderr, parse, save_yaml, settings
from robolearn.core.fitting import bar_width, replaced_by_error

if TYPE_CHECKING:
    from rich.console import Console

    from robolearn.evaluation.statistics.intervals import Estimate
    from robolearn.evaluation.statistics.results import EvaluationResults


@dataclass(frozen=True)
class EvalOptions:
    """Roll a policy out from fixed start states; prints success with its interval and a table of the episodes.

    Attributes:
        policy: Directory of the checkpoint.
        env: Environment, such as put_on_plate, pusht or robosuite/Lift.
        num_episodes: Episodes, one from each start state.
        init_state: First start state; the others follow it. By default the environment's first one for evaluation.
        goals: Dataset of demonstrations whose ends are the goals of a goal-conditioned policy.
        goal_mask: Take goals only from episodes in this mask of it.
        set: Settings of the sampler that differ from those of training, such as --set sampling_steps=10.
        execute: Actions used of each predicted chunk; half of the chunk by default.
        arm: Of a policy of one arm in an environment of several: which of them it is; the others hold still. Of one of
            several in an environment of one: which of them acts. By default the one of the same name.
        max_steps: End episodes after this many actions where the environment has not ended them yet.
        device: Where the policy runs: auto (a CUDA device where there is one, else the processor), cpu, cuda or cuda:N.
        workers: Worker processes, one for each core by default, four on a CUDA device; results do not depend on it.
        num_videos: Film the first so many episodes.
        video_camera: Camera to film with; the environment's usual one by default.
        seed: Seed of the policy's random numbers.
        output: Folder for results.json and videos, by default outputs/eval/POLICY-ENV and what --set changes; older
            results are replaced.
        json: Print the results as json and nothing else.
    """

    policy: Path
    env: str
    num_episodes: int = 50
    init_state: int | None = None
    goals: str | None = None
    goal_mask: str | None = None
    set: tuple[str, ...] = ()
    execute: int | None = None
    max_steps: int | None = None
    arm: str | None = None
    device: str = "auto"
    workers: int | None = None
    num_videos: int = 6
    video_camera: str | None = None
    seed: int = 0
    output: Path | None = None
    json: bool = False


def main(argv: list[str]) -> int:
    watch = BusyWatch()
    options = parse(EvalOptions, argv, prog="robolearn eval", description="Roll a policy out from fixed start states.")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from robolearn.core.errors import DatasetError
    from robolearn.evaluation.run.evaluate import EvaluationConfig, default_output, evaluate
    from robolearn.evaluation.run.rollout import RolloutConfig
    from robolearn.evaluation.run.source import PolicySource
    from robolearn.evaluation.run.video import VideoConfig
    from robolearn.evaluation.statistics.episode import AbortedEpisode, EpisodeResult
    from robolearn.evaluation.statistics.results import EvaluationResults
    from robolearn.execution.goals import goal_source
    from robolearn.policies.device import choose_device, describe_device

    device = choose_device(options.device)
    source = PolicySource(options.policy, sampling=settings(options.set, "--set"), device=str(device))
    output = options.output or default_output(source, options.env)
    config = EvaluationConfig(
        env=options.env,
        num_episodes=options.num_episodes,
        init_state=options.init_state,
        rollout=RolloutConfig(options.execute, options.seed, options.max_steps, options.arm),
        workers=options.workers,
        num_videos=options.num_videos,
        video=VideoConfig(camera=options.video_camera),
        goals=goal_source(options.goals, options.goal_mask),
    )
    as_run = replace(options, init_state=config.init_states()[0])
    console = Console(stderr=True)
    count = options.num_episodes
    beside = [f"evaluating on {device}", f"{count}/{count}", f"{count} succeeded, {count} aborted", "0:00:00"]
    columns = (
        TextColumn(beside[0]),
        BarColumn(bar_width(console.width, beside)),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with replaced_by_error(Progress(*columns, TimeElapsedColumn(), console=console, disable=options.json)) as progress:
        task = progress.add_task("loading", total=options.num_episodes)
        successes = aborted = 0

        def ended(episode: EpisodeResult | AbortedEpisode) -> None:
            nonlocal successes, aborted
            if isinstance(episode, AbortedEpisode):
                aborted += 1
            else:
                successes += episode.success
            beside = f", {aborted} aborted" if aborted else ""
            progress.update(task, advance=1, description=f"{successes} succeeded{beside}")

        command = shlex.join(["robolearn", "eval", *argv])
        older = ""
        with contextlib.suppress(DatasetError):  # none there, or none that can be read
            older = EvaluationResults.load(output).made
        busy = watch.line("evaluating takes longer; what comes out is the same")

        def say() -> None:
            if busy:
                main_stderr(busy)

        def interrupted(found: EvaluationResults, kept: bool) -> None:
            where = f"{output}/results.json"
            told = f"{where}, the others as aborted" if kept else f"not kept, as {where} has more, of {older}"
            progress.stop()
            if kept:
                save_yaml(as_run, output / "config.yaml")
            main_stderr(f"{len(found.episodes)} of {count} episodes were judged: {told}.")

        def note(words: str) -> None:
            main_stderr(f"note: {words}")

        results = evaluate(source, config, output, ended, command, say, interrupted, note)
    save_yaml(as_run, output / "config.yaml")
    if older:
        main_stderr(f"Replaced the results of {older}.")
    if options.json:
        print(json.dumps(results.to_dict(), indent=1))
    else:
        show(results, Console())
        print(f"device: {describe_device(options.device, device)}")
        print(f"Saved: {output}/results.json" + (f", {output}/videos" if options.num_videos > 0 else ""))
    return results.tally.exit_status


def show(results: EvaluationResults, console: Console) -> None:
    """A compact table of the episodes, in as many columns of episodes as the terminal has room for, and the summary."""
    from rich.table import Table

    groups = max(1, min(4, console.width // 36, -(-len(results.episodes) // 10)))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for _ in range(groups):
        for heading in ("start", "", "steps", "score", "ms"):
            table.add_column(heading, justify="left" if heading == "" else "right")
        table.add_column("")
    rows = -(-len(results.episodes) // groups)
    for row in range(rows):
        cells: list[str] = []
        for episode in results.episodes[row::rows]:
            outcome = "[green]success[/]" if episode.success else "[red]failure[/]"
            numbers = (str(episode.steps), f"{episode.max_score:.2f}", f"{episode.mean_inference_ms:.1f}")
            cells += [str(episode.init_state), outcome, *numbers, ""]
        table.add_row(*cells)
    console.print(table)
    lines = [
        *(f"start state {one.init_state}: policy failed: {one.fault}" for one in results.episodes if one.fault),
        *(f"start state {one.init_state}: {one.inexact}" for one in results.episodes if one.inexact),
        *(f"start state {one.init_state} aborted: {one.cause}" for one in results.aborted),
    ]
    success, entropy, timing = results.success, results.entropy, results.timing()
    modes = f", base {results.environment['modes']}, {entropy.n} successes" if entropy else ""
    varied = [f"behaviour entropy {_bootstrapped(entropy)}{modes}"] if entropy else []
    beside = f", {results.tally.beside}" if results.aborted else ""
    console.print(
        *lines,
        f"\nsuccess {results.successes}/{success.n} = {success.value:.3f}  {success.bounds()}  (95 % Wilson){beside}",
        f"mean of max score {_bootstrapped(results.score)}",
        *varied,
        *([actions] if (actions := results.settings.get("actions")) else []),
        f"{timing['steps']} steps in {timing['wall_s']:.1f} s; {timing['inference_ms']:.1f} ms a prediction",
        sep="\n",
        markup=False,
        highlight=False,
        soft_wrap=True,  # so that each can be searched for and copied
    )


def _bootstrapped(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}  {estimate.bounds()}" + ("  (95 % bootstrap)" if estimate.interval else "")
