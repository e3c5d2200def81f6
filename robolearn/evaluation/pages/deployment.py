"""What a deployment measured, for a page: episodes, the loop's lateness, and latencies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError
from robolearn.evaluation.pages import page
from robolearn.evaluation.pages.charts import histogram
from robolearn.evaluation.pages.evaluation import not_judged
from robolearn.evaluation.statistics.tally import Tally

GOAL_LATENESS_MS = 2.0


def read_deployment(path: Path) -> dict[str, Any]:
    """`results.json` of `robolearn deploy`, or of its folder. Raises DatasetError when it is missing or damaged."""
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise DatasetError(f"There are no deployment results at {path}.")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise DatasetError(f"{path} is not valid json: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("episodes"), list):
        raise DatasetError(f"{path} has no list of episodes.")
    return found


def deployment_section(results: dict[str, Any]) -> str:
    """The section of a deployment, with what its results have."""
    loop, latency = results.get("loop") or {}, results.get("latency_ms") or {}
    records = [{"episode": i, **record} for i, record in enumerate(results["episodes"])]
    aborted = [(record.get("init_state"), record["cause"]) for record in records if record.get("cause")]
    html = not_judged(Tally.of_episodes(records), aborted)
    # refused chunks: of older results, and always 0
    hidden = ["ticks", "score", "skipped_ticks", "late_chunks", "refused_chunks", "cause"]
    hidden += ["success"] if all("outcome" in record for record in records) else []
    html += page.records(records, hidden)
    counts = {
        "loop rate": f"{loop['rate_hz']:g} Hz" if "rate_hz" in loop else None,
        "priority": loop.get("priority"),
        **{key.replace("_", " "): loop.get(key) for key in ("ticks", "late_ticks", "skipped_ticks")},
        **{key.replace("_", " "): results.get(key) for key in ("safety_stops", "limited_ticks", "dropped_actions")},
    }
    html += "<h3>Loop</h3>" + page.facts(counts)
    bins = loop.get("histogram") or {}
    p99 = lateness_ms(results, "p99")
    markers = [(GOAL_LATENESS_MS, f"goal {GOAL_LATENESS_MS:g} ms")]
    markers += [(p99, f"p99 {p99:.2f} ms")] if p99 is not None else []
    chart = histogram(
        bins.get("bins_ms", []), bins.get("counts", []), "start of a tick after its due time [ms]",
        "ticks (log scale)", markers,
    )  # fmt: skip
    html += chart or page.absent("the loop recorded no lateness histogram.")
    rows = [
        (name.replace("_", " "), *(row.get(q) for q in ("p50", "p95", "p99", "max"))) for name, row in latency.items()
    ]
    html += "<h3>Latency</h3>"
    html += (
        page.table(("from observation to motion [ms]", "p50", "p95", "p99", "max"), _rounded(rows))
        if rows
        else page.absent("the loop recorded no latencies.")
    )
    return html


def lateness_ms(results: dict[str, Any], quantile: str) -> float | None:
    value = ((results.get("loop") or {}).get("lateness_ms") or {}).get(quantile)
    return None if value is None else float(value)


def _rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(f"{v:.2f}" if isinstance(v, float | int) else v for v in row) for row in rows]
