"""A comparison as one html page that loads nothing: intervals, paired tests, learning curves, what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from robolearn.core.config import flat
from robolearn.core.provenance import provenance
from robolearn.evaluation.pages import page
from robolearn.evaluation.pages.charts import Interval, Line, interval_chart, line_chart
from robolearn.evaluation.pages.page import Section
from robolearn.evaluation.statistics.compare import Comparison, Method, Pair
from robolearn.evaluation.statistics.figures import format_number
from robolearn.evaluation.statistics.intervals import Estimate
from robolearn.evaluation.statistics.protocol import Protocol
from robolearn.evaluation.statistics.runs import Run

_COLOURS = 8
_POINTS = 300  # of a curve: more than a screen shows
_HOW = {"wilson": "95 % Wilson intervals", "percentile bootstrap": "95 % bootstrap intervals"}
_CURVES = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "action_error": "action error",
    "eval_success": "success in simulation",
    "eval_score": "score in simulation",
}


def write_comparison(comparison: Comparison, output: Path) -> Path:
    """Write the page to `output`, replacing an older one, and return its path."""
    names = [method.name for method in comparison.methods]
    title = f"Comparison of {len(names)} methods" if len(names) > 1 else names[0]
    record = provenance()
    lead = page.paragraph(f"{record['date'][:10]} · {record['machine']}", soft=True) + _legend(names)
    sections = [
        Section("results", "Results", _results(comparison)),
        Section("tests", "Paired tests", _tests(comparison.pairs)),
        Section("curves", "Learning curves", _curves(comparison.methods)),
        Section("differences", "What differs", _differences(comparison.methods)),
        Section("runs", "Runs", _runs(comparison.methods)),
    ]
    return page.write(page.document(title, lead, (), sections), output)


def _colour(index: int) -> str:
    return f"c{index % _COLOURS}"


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<div class="{_colour(i)}"><i></i><span>{escape(name)}</span></div>' for i, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'


def _results(comparison: Comparison) -> str:
    methods = comparison.methods
    html = "".join(page.paragraph(line) for line in comparison.protocol_lines())
    for measure, title in (("success", "Success"), ("score", "Score: mean of the best reached in each episode")):
        estimates = [(i, method.name, method.estimate(measure)) for i, method in enumerate(methods)]
        rows = [
            Interval(name, e.value, e.low, e.high, f"{100 * e.value:.1f} %", _colour(i))
            for i, name, e in estimates
            if e
        ]
        if rows:
            html += f"<h3>{title}</h3>" + interval_chart(rows)
            known = [e for _, _, e in estimates if e and e.interval]
            how = dict.fromkeys(_HOW.get(e.method.partition(",")[0], e.method) for e in known)
            html += page.paragraph(f"Lines: {', '.join(how)}.", soft=True) if how else ""
    columns = (
        "method", "parameters", "episodes", "success", "score", "loss", "validation loss", "action error",
        "ms a prediction",
    )  # fmt: skip
    return html + page.table(columns, [_summary(method) for method in methods], html_columns=(0, 3, 4))


def _summary(method: Method) -> list[object]:
    evaluations = method.evaluations
    parameters = f"{method.parameters:,}" if method.parameters is not None else None
    episodes: object = sum(len(e.episodes) for e in evaluations) or None
    if method.aborted:
        episodes = f"{episodes}, {method.aborted} aborted"
    cells: list[object] = [page.words(method.name), parameters, episodes]
    for measure in ("success", "score"):
        e = method.estimate(measure)
        cells.append(_with_bounds(e) if e else "")
    for curve in ("loss", "val_loss", "action_error"):
        value = method.final(curve)
        cells.append(None if value is None else format_number(value))
    times = [e.timing()["inference_ms"] for e in evaluations]
    return [*cells, f"{np.mean(times):.1f}" if times else None]


def _with_bounds(e: Estimate, form: str = ".3f") -> str:
    text = f"{e.value:{form}} {e.bounds(form)}"
    return page.unbroken(text) if e.interval else page.words(text)


def _tests(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return page.absent("there is one method only.")
    rows: list[list[object]] = []
    for pair in pairs:
        pairs_of = f"{pair.start_states}, {pair.left_out} left out" if pair.left_out else pair.start_states
        row: list[object] = [page.words(pair.first), page.words(pair.second), pairs_of]
        for d in pair.differences:
            row.append(_with_bounds(d.value, "+.3f"))
            row.append(
                page.unbroken(f"p = {format_p(d.p)}") + (f"<br><small>{escape(d.detail)}</small>" if d.detail else "")
            )
        rows.append(row if pair.differences else [*row, escape(f"not compared: {pair.reason}"), "", "", ""])
    columns = ("first", "second", "start states", "success: first - second", "", "score: first - second", "")
    note = (
        "Each start state is one pair: what the first method did there and what the second did. p is the probability "
        "of a difference at least as large if neither were better: McNemar's exact test of successes, Wilcoxon's exact "
        "signed-rank test of scores and of means over seeds. Intervals are 95 %."
    )
    if any(pair.left_out for pair in pairs):
        note += " Left out are start states where an episode was aborted before it could be judged."
    if any("seeds" in name for pair in pairs for name in (pair.first, pair.second)):
        note += " With several seeds, p speaks of these trained policies; the range over seeds speaks of the method."
    if len(pairs) > 1:
        note += f" Of {len(pairs)} pairs one is below p = {1 / len(pairs):.2g} by chance; p is not corrected for that."
    return page.table(columns, rows, html_columns=(0, 1, 3, 4, 5, 6)) + page.paragraph(note, soft=True)


def format_p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _curves(methods: Sequence[Method]) -> str:
    html = ""
    for curve, title in _CURVES.items():
        lines = [
            Line(method.name, *_thinned(*run.curves[curve]), f"line-a {_colour(i)}")
            for i, method in enumerate(methods)
            for run in method.runs
            if curve in run.curves
        ]
        html += line_chart(lines, "step", title, (0, 1) if curve.startswith("eval_") else None, legend=False)
    return html or page.absent("no training folder was given; its curves would be here.")


def _thinned(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Means of neighbours, so that a curve has no more than `_POINTS` points."""
    width = -(-len(steps) // _POINTS)
    starts = np.arange(0, len(steps), width)
    counts = np.diff(np.append(starts, len(steps)))
    x, y = (np.add.reduceat(np.asarray(a, float), starts) / counts for a in (steps, values))
    return x.tolist(), y.tolist()


def _differences(methods: Sequence[Method]) -> str:
    runs = [method.runs[0] for method in methods]
    samplers = dict.fromkeys(name for run in runs for name in run.sampling)
    rows = []
    for tables in ([flat(run.config) for run in runs], [_evaluated(run, samplers) for run in runs]):
        known = [table for table in tables if table]  # a run that tells nothing differs in nothing
        for key in dict.fromkeys(key for table in known for key in table):
            if key != "output" and len({str(table.get(key)) for table in known}) > 1:
                rows.append([key, *(str(table.get(key, "")) for table in tables)])
    if not rows:
        return page.paragraph("No options differ, or the runs do not tell them.", soft=True)
    return page.table(("option", *(method.name for method in methods)), rows)


def _evaluated(run: Run, samplers: Iterable[str]) -> dict[str, object]:
    """How a run was evaluated: its protocol, and those settings of the sampler that some run changed."""
    if run.evaluation is None:
        return {}
    settings = {**(run.evaluation.policy.get("config") or {}), **run.sampling}
    table = {**Protocol.of(run.evaluation).in_words(), **{name: settings.get(name) for name in samplers}}
    return {f"evaluation.{name}": value for name, value in table.items() if value is not None}


def _runs(methods: Sequence[Method]) -> str:
    rows = [
        (
            method.name,
            str(run.path),
            run.config.get("seed"),
            run.evaluation and run.evaluation.policy["source"],
            _when(run),
        )
        for method in methods
        for run in method.runs
    ]
    return page.table(("method", "folder", "seed", "evaluated policy", "evaluated with"), rows, html_columns=(4,))


def _when(run: Run) -> str:
    if run.evaluated_step is not None:
        return f"during training, step {run.evaluated_step}"
    return page.code(run.evaluation.command) if run.evaluation and run.evaluation.command else ""
