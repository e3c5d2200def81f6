"""What the verbs that make datasets share: a progress bar, notes on stderr, a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.core.config import main_stderr, to_dict
from robolearn.core.errors import ConfigError
from robolearn.core.fitting import bar_width

if TYPE_CHECKING:
    from robolearn.datasets.tools.make import Made

LABEL = 28  # columns of what is said beside a bar


def pairs(entries: Sequence[str], option: str, form: str) -> dict[str, str]:
    """`("a=b", ...)` as a mapping. Raises ConfigError for what is not KEY=VALUE, and for a key given twice."""
    found: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"--{option} takes {form}, found {' '.join(entries)}.")
        if key in found:
            raise ConfigError(f"--{option} gives {key!r} twice: {found[key]} and {value}.")
        found[key] = value
    return found


def element_names(entries: Sequence[str]) -> dict[str, list[str]]:
    """`("action=x,y,z", ...)` as a mapping. Raises ConfigError for an empty or repeated name."""
    found = {}
    for key, text in pairs(entries, "names", "FEATURE=A,B,C").items():
        names = [name.strip() for name in text.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise ConfigError(f"--names {key}: every element needs a name of its own, found {text}.")
        found[key] = names
    return found


def ranges(entries: Sequence[str]) -> dict[str, tuple[float, float]]:
    """`("img=0,1", ...)` as a mapping. Raises ConfigError for what is not two numbers."""
    found = {}
    for key, text in pairs(entries, "range", "FEATURE=LOW,HIGH").items():
        try:
            low, high = (float(number) for number in text.split(","))
        except ValueError as error:
            raise ConfigError(f"--range takes FEATURE=LOW,HIGH, such as img=0,1; found {key}={text}.") from error
        found[key] = low, high
    return found


def robots_of(words: Sequence[str]) -> dict[str, str]:
    """`("panda",)` or `("left=panda", "right=ur5e")` as prefix -> name. Raises ConfigError for anything else."""
    if len(words) == 1 and "=" not in words[0]:
        return {"": words[0]}
    return pairs(words, "robot", "NAME, or PREFIX=NAME for each arm")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function (episodes done, episodes in all) that moves a bar on stderr; silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    label = label if len(label) <= LABEL else f"{label[: LABEL - 3]}..."
    bar = bar_width(console.width, [label, "1000000/1000000", "0:00:00"])
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        job = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(job, completed=done, total=total)


def print_made(made: Sequence[Made], as_json: bool) -> None:
    """Tell what was made: for people a line each, and notes on stderr; for programs one json document."""
    if as_json:
        reports = [to_dict(report) for report in made]
        print(json.dumps(reports[0] if len(reports) == 1 else reports))
        return
    for note in dict.fromkeys(note for report in made for note in report.notes):
        main_stderr(f"note: {note}")
    for report in made:
        print(wrote(report.num_episodes, report.num_steps, report.output))


def wrote(episodes: int, steps: int, output: Path) -> str:
    """The line for people about a dataset that was made."""
    counts = (f"{number} {noun}{'s' * (number != 1)}" for number, noun in ((episodes, "episode"), (steps, "step")))
    return f"Wrote {', '.join(counts)} to {output}."
