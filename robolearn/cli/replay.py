"""`robolearn replay`: play recorded simulated episodes back and say whether they reach the task's success check."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robolearn.core.config import parse
from robolearn.core.fitting import bar_width, replaced_by_error
from robolearn.core.output import held_output

if TYPE_CHECKING:
    from rich.console import Console

    from robolearn.evaluation.run.replay import EpisodeReplay, Outcome


@dataclass(frozen=True)
class ReplayOptions:
    """Play recorded simulated episodes back, by states and by actions, and check the task's success.

    Attributes:
        dataset: Dataset that was recorded in a simulator or imported from robosuite.
        by: Set every recorded state, run the recorded actions from the first one, or both.
        episodes: Which episodes, such as 0-9,12,-1; counted from 0, and -1 is the last. All by default.
        output: Folder for a video of each; none by default.
        camera: Camera of the videos; the environment's usual one by default.
        json: Print the results as json and nothing else.
    """

    dataset: Path
    by: Literal["states", "actions", "both"] = "both"
    episodes: tuple[str, ...] | None = None
    output: Path | None = None
    camera: str | None = None
    json: bool = False


def main(argv: list[str]) -> int:
    options = parse(ReplayOptions, argv, prog="robolearn replay", description="Play recorded simulated episodes back.")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools.select import parse_episodes
    from robolearn.evaluation.run.replay import WAYS, replay_dataset, summarise

    ways = WAYS if options.by == "both" else (options.by,)
    count = Dataset(options.dataset).num_episodes
    chosen = range(count) if options.episodes is None else parse_episodes(",".join(options.episodes), count)
    console = Console(stderr=True)
    bar = bar_width(console.width, ["replaying", f"{len(chosen)}/{len(chosen)}", "0:00:00"])
    columns = (TextColumn("replaying"), BarColumn(bar), MofNCompleteColumn(), TimeElapsedColumn())
    held = nullcontext() if options.output is None else held_output(options.output)
    with held, replaced_by_error(Progress(*columns, console=console, disable=options.json)) as progress:
        task = progress.add_task("replaying", total=len(chosen))
        replays = replay_dataset(
            options.dataset, ways, chosen, options.output, options.camera, lambda _: progress.advance(task)
        )
    if options.json:
        found = {"dataset": str(options.dataset), "summary": summarise(replays)}
        print(json.dumps({**found, "episodes": [replay.to_dict() for replay in replays]}, indent=1))
    else:
        show(replays, Console())
        if options.output is not None:
            print(f"Saved: {options.output}")
    return 0


def show(replays: list[EpisodeReplay], console: Console) -> None:
    """One row an episode, and how many of them reached success each way."""
    from rich.table import Table
    from rich.text import Text

    from robolearn.evaluation.run.replay import summarise

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("episode", justify="right", no_wrap=True)
    table.add_column("task")
    for heading in ("recorded", "by states", "by actions"):
        table.add_column(heading, no_wrap=True)
    for heading in ("steps", "deviation"):
        table.add_column(heading, justify="right", no_wrap=True)
    for replay in replays:
        recorded = {True: "success", False: "failure", None: "not known"}[replay.recorded_success]
        deviation = replay.actions.deviation if replay.actions else None
        task = Text(replay.task or "", no_wrap=True, overflow="ellipsis")
        table.add_row(
            str(replay.episode), task, recorded, _words(replay.states), _words(replay.actions),
            str(replay.steps), "" if deviation is None else f"{deviation:.3g}",
        )  # fmt: skip
    console.print(table)
    for way, counts in summarise(replays).items():
        console.print(f"by {way}: {counts['successes']} of {counts['episodes']} reach success", highlight=False)


def _words(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    return f"[green]success[/] at {outcome.step}" if outcome.success else f"[red]failure[/] ({outcome.score:.2f})"
