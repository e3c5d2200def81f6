"""`robolearn compare RUN RUN...`: learning curves, success with intervals, and paired tests where starts are shared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from robolearn.core.config import parse
from robolearn.core.errors import ConfigError
from robolearn.core.output import held_output

if TYPE_CHECKING:
    from rich.console import Console

    from robolearn.evaluation.statistics.compare import Comparison, Method, Pair


@dataclass(frozen=True)
class CompareOptions:
    """Compare training runs and evaluations: learning curves, success with intervals, paired tests.

    Attributes:
        runs: Output folders of `robolearn train` and of `robolearn eval`, or results.json files.
        group: Take runs that differ in their training seed only as one method.
        output: The html page to write.
        json: Print the comparison as json and nothing else.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    group: bool = False
    output: Path = Path("outputs/compare.html")
    json: bool = False


def main(argv: list[str]) -> int:
    options = parse(CompareOptions, argv, prog="robolearn compare", description="Compare runs and evaluations.")
    if not options.runs:
        raise ConfigError("Nothing to compare; give the folders of runs: robolearn compare RUN RUN...")
    from rich.console import Console

    from robolearn.evaluation.pages.comparison import write_comparison
    from robolearn.evaluation.statistics.compare import compare
    from robolearn.evaluation.statistics.runs import load_runs

    with held_output(options.output, is_file=True):
        comparison = compare(load_runs(options.runs), options.group)
        write_comparison(comparison, options.output)
    if options.json:
        print(json.dumps(comparison.to_dict(), indent=1))
    else:
        show(comparison, Console())
        print(f"\nSaved: {options.output}")
    return 0


def show(comparison: Comparison, console: Console) -> None:
    """How methods were evaluated, the methods as a table, then the tests between them."""
    from rich.markup import escape
    from rich.table import Table

    if lines := comparison.protocol_lines():
        console.print(*lines, "", sep="\n", markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("method", "parameters", "success", "score", "val\nloss", "action\nerror"):
        table.add_column(heading, justify="left" if heading == "method" else "right", overflow="fold")
    for method in comparison.methods:
        parameters = "-" if method.parameters is None else f"{method.parameters:,}"
        table.add_row(escape(method.name), parameters, *(_interval(method, m) for m in ("success", "score")),
                      *(_number(method.final(c)) for c in ("val_loss", "action_error")))  # fmt: skip
    console.print(table)
    for method in comparison.methods:
        for results in method.evaluations:
            if results.aborted:
                console.print(f"{method.name}: {results.tally.beside}, not counted", markup=False, highlight=False)
    for pair in comparison.pairs:
        console.print(*_lines(pair), sep="\n", markup=False, highlight=False)


def _lines(pair: Pair) -> list[str]:
    from robolearn.evaluation.pages.comparison import format_p

    names = f"\n{pair.first} - {pair.second}: "
    if pair.reason:
        return [f"{names}not compared, {pair.reason}"]
    lines = [f"{names}{pair.start_states} start state" + ("s" if pair.start_states != 1 else "")]
    if pair.left_out:
        lines[0] += f", {pair.left_out} left out: an episode was aborted"
    for d in pair.differences:
        interval = f"{d.value.value:+.3f}  {d.value.bounds('+.3f')}"
        lines.append(f"  {d.measure:<8}{interval}  p = {format_p(d.p)}  ({d.test})")
        if d.detail:
            lines.append(f"          {d.detail}")
    return lines


def _interval(method: Method, measure: str) -> str:
    estimate = method.estimate(measure)
    return f"{estimate.value:.3f} {estimate.bounds()}" if estimate else "-"


def _number(value: float | None) -> str:
    from robolearn.evaluation.statistics.figures import format_number

    return "-" if value is None else format_number(value)
