"""A comparison as one html page that loads nothing: intervals, paired tests, learning curves, what differs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from robolearn.core.config import flat
from robolearn.core.provenance import provenance
from robolearn.evaluation import page
from robolearn.evaluation.charts import Interval, Line, interval_chart, line_chart
from robolearn.evaluation.compare import Comparison, Method, Pair
from robolearn.evaluation.figures import format_number
from robolearn.evaluation.page import Section

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
        Section("results", "Results", _results(comparison.methods)),
        Section("tests", "Paired tests", _tests(comparison.pairs)),
        Section("curves", "Learning curves", _curves(comparison.methods)),
        Section("differences", "What differs", _differences(comparison.methods)),
        Section("runs", "Runs", _runs(comparison.methods)),
    ]
    html = page.document(title, lead, (), sections)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(output.name + ".part")
    part.write_text(html, encoding="utf-8")
    part.replace(output)
    return output


def _colour(index: int) -> str:
    return f"c{index % _COLOURS}"


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<div class="{_colour(i)}"><i></i><span>{escape(name)}</span></div>' for i, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'


def _results(methods: Sequence[Method]) -> str:
    html = ""
    for measure, title in (("success", "Success"), ("score", "Score: mean of the best reached in each episode")):
        estimates = [(i, method.name, method.estimate(measure)) for i, method in enumerate(methods)]
        rows = [
            Interval(name, e.value, e.low, e.high, f"{100 * e.value:.1f} %", _colour(i))
            for i, name, e in estimates
            if e
        ]
        if rows:
            how = dict.fromkeys(_HOW.get(e.method.partition(",")[0], e.method) for _, _, e in estimates if e)
            html += f"<h3>{title}</h3>" + interval_chart(rows) + page.paragraph(f"Lines: {', '.join(how)}.", soft=True)
    columns = ("method", "episodes", "success", "score", "loss", "validation loss", "action error", "ms a prediction")
    return html + page.table(columns, [_summary(method) for method in methods], html_columns=(2, 3))


def _summary(method: Method) -> list[object]:
    evaluations = method.evaluations
    cells: list[object] = [method.name, sum(len(e.episodes) for e in evaluations) or None]
    for measure in ("success", "score"):
        e = method.estimate(measure)
        cells.append(page.unbroken(f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]") if e else "")
    for curve in ("loss", "val_loss", "action_error"):
        value = method.final(curve)
        cells.append(None if value is None else format_number(value))
    times = [e.timing()["inference_ms"] for e in evaluations]
    return [*cells, f"{np.mean(times):.1f}" if times else None]


def _tests(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return page.absent("there is one method only.")
    rows: list[list[object]] = []
    for pair in pairs:
        row: list[object] = [pair.first, pair.second, pair.start_states]
        for d in pair.differences:
            row.append(page.unbroken(f"{d.value.value:+.3f} [{d.value.low:+.3f}, {d.value.high:+.3f}]"))
            row.append(f"p = {format_p(d.p)}" + (f"<br><small>{escape(d.detail)}</small>" if d.detail else ""))
        rows.append(row if pair.differences else [*row, escape(f"not compared: {pair.reason}"), "", "", ""])
    columns = ("first", "second", "start states", "success: first - second", "", "score: first - second", "")
    note = (
        "Each start state is one pair: what the first method did there and what the second did. p is the probability "
        "of a difference at least as large if neither were better: McNemar's exact test of successes, Wilcoxon's exact "
        "signed-rank test of scores and of means over seeds. Intervals are 95 %."
    )
    if any("seeds" in name for pair in pairs for name in (pair.first, pair.second)):
        note += " With several seeds, p speaks of these trained policies; the range over seeds speaks of the method."
    if len(pairs) > 1:
        note += f" Of {len(pairs)} pairs one is below p = {1 / len(pairs):.2g} by chance; p is not corrected for that."
    return page.table(columns, rows, html_columns=(3, 4, 5, 6)) + page.paragraph(note, soft=True)


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
    tables = [flat(method.runs[0].config) for method in methods]
    keys = [
        key
        for key in dict.fromkeys(key for table in tables for key in table)
        if key != "output" and len({str(table.get(key)) for table in tables if table}) > 1
    ]
    if not keys:
        return page.absent("no options differ, or the runs do not tell them.")
    rows = [[key, *(str(table.get(key, "")) for table in tables)] for key in keys]
    return page.table(("option", *(method.name for method in methods)), rows)


def _runs(methods: Sequence[Method]) -> str:
    rows = []
    for method in methods:
        for run in method.runs:
            results = run.evaluation
            rows.append([
                method.name, str(run.path), run.config.get("seed"), results.policy["source"] if results else None,
                page.code(results.command) if results and results.command else "",
            ])  # fmt: skip
    return page.table(("method", "folder", "seed", "evaluated policy", "evaluated with"), rows, html_columns=(4,))
