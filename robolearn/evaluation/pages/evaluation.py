"""What an evaluation found, for a page: rates, start states, videos, and every episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robolearn.evaluation.pages import page
from robolearn.evaluation.pages.charts import Interval, interval_chart
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.tally import Tally


def evaluation_section(results: EvaluationResults, deployed: Tally, folder: Path | None) -> str:
    """The section of an evaluation, whose videos are in `folder`; the rate of a deployment stands beside its own."""
    e, score, timing = results.success, results.score, results.timing()
    first, last = results.init_states[0], results.init_states[-1]
    html = page.paragraph(
        f"{results.environment['name']} (version {results.environment['scene_version']}), one episode from each of the "
        f"start states {first} to {last}. An episode counts as a success when the task is solved within "
        f"{results.settings.get('max_steps') or results.environment['max_steps']} steps at "
        f"{results.environment['control_hz']:g} Hz."
    )
    rows = [Interval("simulation", e.value, e.low, e.high, f"{results.successes} of {e.n}")]
    if d := deployed.rate:
        rows.append(Interval("real-time arm", d.value, d.low, d.high, f"{deployed.successes} of {d.n}"))
    html += interval_chart(rows) + page.paragraph("Success with 95 % Wilson intervals.", soft=True)
    html += not_judged(results.tally, [(x.init_state, x.cause) for x in results.aborted])
    squares = {
        x.init_state: ("" if x.success else " class=bad", f"{'success' if x.success else 'failure'}, {x.steps} steps")
        for x in results.episodes
    }
    squares |= {x.init_state: (" class=none", "aborted") for x in results.aborted}
    drawn = "".join(f'<i{kind} title="start {k}: {what}"></i>' for k, (kind, what) in sorted(squares.items()))
    html += f'<div class="map" role="img" aria-label="outcome of each start state">{drawn}</div>'
    legend = "green is success, red is failure" + (", grey was aborted" if results.aborted else "")
    html += page.paragraph(f"One square for each start state, in order: {legend}.", soft=True)
    html += page.facts({
        "mean of the best score, 95 % bootstrap": f"{score.value:.3f} {score.bounds()}",
        "median steps to success": _median([x.first_success_step for x in results.episodes if x.success]),
        "time of one prediction": f"{timing['inference_ms']:.1f} ms, one core",
        "actions used of each chunk":
            f"{results.settings['execute']} of {results.policy['spec']['action_horizon']}",
        "speed": f"{timing['steps_per_s']:.0f} steps/s with {results.settings['workers']} workers, loading included",
    })  # fmt: skip
    html += _videos(results, folder)
    records = [
        {"start": x.init_state, "success": x.success, "steps": x.steps, "best score": round(x.max_score, 3),
         "final score": round(x.final_score, 3), "mode": x.mode, "ms a prediction": round(x.mean_inference_ms, 2),
         "policy failed": x.fault}
        for x in results.episodes
    ]  # fmt: skip
    return html + page.details("All episodes", page.records(records, hidden=()))


def _videos(results: EvaluationResults, folder: Path | None) -> str:
    filmed = [x for x in results.episodes if x.video]
    found = [(x, folder / str(x.video)) for x in filmed] if folder is not None and folder.is_dir() else []
    html = "".join(
        page.video(path, f"Start {x.init_state}: {'success' if x.success else 'failure'} after {x.steps} steps")
        for x, path in found
        if path.is_file()
    )
    if not html:
        return page.absent("no videos of these episodes were kept.")
    return f'<h3>Rollouts</h3><div class="videos">{html}</div>' + page.paragraph(
        "The first start states were filmed, chosen before their outcome was known.", soft=True
    )


def not_judged(tally: Tally, aborted: list[tuple[object, str]]) -> str:
    """What is not in the success rate and why; nothing where every episode was judged."""
    if not tally.beside:
        return ""
    html = page.paragraph(f"Not in the success rate: {tally.beside}.")
    return html + (page.table(("start", "aborted because"), aborted) if aborted else "")


def _median(values: list[Any]) -> str | None:
    return f"{float(np.median(values)):g}" if values else None
