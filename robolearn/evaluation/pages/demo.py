"""The demo's page: what was recorded, learnt, evaluated and deployed, in one file that needs nothing else.

Every part is optional: one that was not run, or whose files are damaged, says so and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError, RobolearnError
from robolearn.core.provenance import provenance
from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.pages import page
from robolearn.evaluation.pages.charts import Line, line_chart
from robolearn.evaluation.pages.demonstrations import demonstrations_section
from robolearn.evaluation.pages.deployment import GOAL_LATENESS_MS, deployment_section, lateness_ms, read_deployment
from robolearn.evaluation.pages.evaluation import evaluation_section
from robolearn.evaluation.pages.page import Card, Section
from robolearn.evaluation.statistics.intervals import Estimate
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.tally import Tally
from robolearn.training.metrics import read_metrics

GOAL_EVALUATION = 0.9
GOAL_DEPLOYMENT = 0.8
GOAL_TOTAL_S = 600.0
GOAL_MEMORY_GB = 3.0


@dataclass(frozen=True)
class Stage:
    """One step of the chain: what was typed and how long it took."""

    name: str
    command: str
    wall_s: float | None = None


@dataclass(frozen=True)
class DemoParts:
    """Where the parts of a demo are.

    Attributes:
        output: the html file to write.
        dataset: recorded demonstrations.
        training: output folder of the training run, with `metrics.jsonl`.
        evaluation: folder with `results.json` and `videos/` of `robolearn eval`.
        deployment: `results.json` of `robolearn deploy`, or its folder.
        stages: in the order in which they ran.
        not_run: reasons for absent parts, by `dataset`, `training`, `evaluation`, `deployment`.
        total_s: wall time of everything.
        peak_memory_gb: most memory that all processes together held at once.
    """

    output: Path
    dataset: Path | None = None
    training: Path | None = None
    evaluation: Path | None = None
    deployment: Path | None = None
    stages: tuple[Stage, ...] = ()
    not_run: Mapping[str, str] = field(default_factory=dict)
    total_s: float | None = None
    peak_memory_gb: float | None = None
    title: str = "robolearn demo"


def write_demo_page(parts: DemoParts) -> Path:
    """Write the page and return its path. Nothing it shows is loaded from elsewhere."""
    dataset, no_dataset = _try(parts, "dataset", parts.dataset, Dataset)
    metrics, no_training = _try(parts, "training", parts.training, _read_metrics)
    evaluation, no_evaluation = _try(parts, "evaluation", parts.evaluation, EvaluationResults.load)
    deployment, no_deployment = _try(parts, "deployment", parts.deployment, read_deployment)
    deployed = Tally.of_episodes(deployment["episodes"] if deployment else ())
    sections = [
        Section("demonstrations", "Demonstrations", _shown(demonstrations_section, dataset) if dataset else no_dataset),
        Section("training", "Training", _shown(_training, metrics, parts.training) if metrics else no_training),
        Section(
            "evaluation", "Evaluation",
            _shown(evaluation_section, evaluation, deployed, parts.evaluation) if evaluation else no_evaluation,
        ),
        Section(
            "deployment", "Deployment in real time",
            _shown(deployment_section, deployment) if deployment else no_deployment,
        ),
        Section("provenance", "How this was made", _provenance(parts, dataset, evaluation)),
    ]  # fmt: skip
    record = provenance()
    lead = page.paragraph(
        "Demonstrations were recorded, a policy was trained on them, evaluated from fixed start states, served, and "
        "deployed on an arm simulated in real time. Every number and picture below was measured in this run."
    ) + page.paragraph(f"{_date(record['date'])} · {record['machine']}", soft=True)
    html = page.document(parts.title, lead, _cards(parts, evaluation, deployment), sections)
    return page.write(html, parts.output)


def _try(parts: DemoParts, part: str, path: Path | None, read: Callable[[Path], Any]) -> tuple[Any | None, str]:
    """What `read` makes of `path`, or None and the html that says why there is nothing."""
    if path is None:
        return None, page.absent(parts.not_run.get(part, "this part was left out."))
    try:
        return read(path), ""
    except RobolearnError as error:
        reason = parts.not_run.get(part)
        return None, page.absent(f"{reason} ({error})" if reason else str(error))


def _shown(build: Callable[..., str], *arguments: Any) -> str:
    """The html of a part, or what is wrong with its files."""
    try:
        return build(*arguments)
    except RobolearnError as error:
        return page.absent(str(error))


def _read_metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl" if folder.is_dir() else folder
    if not path.is_file():
        raise DatasetError(f"There is no training log at {path}.")
    rows = read_metrics(path)
    if not rows:
        raise DatasetError(f"The training log {path} is empty.")
    return rows


def _cards(parts: DemoParts, evaluation: EvaluationResults | None, deployment: dict[str, Any] | None) -> list[Card]:
    cards = []
    if evaluation:
        cards.append(_rate_card("Evaluation success", evaluation.tally, GOAL_EVALUATION))
    else:
        cards.append(Card("Evaluation success", "–", "not run"))
    if deployment and deployment["episodes"]:
        cards.append(_rate_card("Real-time success", Tally.of_episodes(deployment["episodes"]), GOAL_DEPLOYMENT))
    else:
        cards.append(Card("Real-time success", "–", "not run"))
    lateness = lateness_ms(deployment, "p99") if deployment else None
    cards.append(_limit_card("Loop lateness, p99", lateness, "ms", GOAL_LATENESS_MS, 2))
    cards.append(_duration_card(parts.total_s))
    cards.append(_limit_card("Peak memory", parts.peak_memory_gb, "GB", GOAL_MEMORY_GB, 2))
    return cards


def _rate_card(label: str, tally: Tally, goal: float) -> Card:
    if tally.rate is None:
        return Card(label, "–", f"none judged: {tally.beside}")
    beside = f"; {tally.beside}" if tally.beside else ""
    return Card(label, tally.counts, _rate(tally.rate) + beside, tally.rate.value >= goal)


def _limit_card(label: str, value: float | None, unit: str, limit: float, digits: int) -> Card:
    if value is None:
        return Card(label, "–", "not measured")
    return Card(label, f"{value:.{digits}f} {unit}", f"goal: at most {limit:g} {unit}", value <= limit)


def _duration_card(total_s: float | None) -> Card:
    if total_s is None:
        return Card("Total time", "–", "not measured")
    goal = f"goal: at most {page.duration(GOAL_TOTAL_S)}"
    return Card("Total time", page.duration(total_s), goal, total_s <= GOAL_TOTAL_S)


def _rate(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.0f} %, 95 % interval {low:.1f} to {high:.1f} %"


def _date(iso: str) -> str:
    return f"{iso[:10]} {iso[11:16]} UTC"


def _training(metrics: list[dict[str, Any]], folder: Path | None) -> str:
    lines = []
    for key, label, style in (("loss", "training loss", "line-a"), ("val_loss", "validation loss", "line-b")):
        points = [(row["step"], row[key]) for row in metrics if row.get(key) is not None and "step" in row]
        if points:
            lines.append(Line(label, [p[0] for p in points], [p[1] for p in points], style))
    chart = line_chart(lines, "step", "loss")
    values = " · ".join(f"{line.label} {line.y[-1]:.4g} at step {line.x[-1]:g}" for line in lines)
    html = (chart or page.absent("the log holds no losses.")) + page.paragraph(f"At the end: {values}.", soft=True)
    config = folder / "config.yaml" if folder is not None and folder.is_dir() else None
    if config is not None and config.is_file():
        html += page.details("Configuration", f"<pre><code>{escape(config.read_text())}</code></pre>")
    return html


def _provenance(parts: DemoParts, dataset: Dataset | None, evaluation: EvaluationResults | None) -> str:
    html = ""
    if parts.stages:
        stages = [(s.name, page.code(s.command), page.duration(s.wall_s) if s.wall_s else "") for s in parts.stages]
        html += "<h3>Commands</h3>" + page.table(("part", "command", "time"), stages, html_columns=(1,))
    record = provenance()
    trained = (evaluation.policy.get("provenance") or {}) if evaluation else {}
    values: dict[str, object] = {
        "machine": record["machine"],
        "date": _date(record["date"]),
        "source": record["git_revision"],
    }
    if dataset:
        values["dataset"] = str(dataset.path)
        values["dataset checksum"] = dataset.checksum()
        values["dataset size"] = f"{_size_of(dataset.path) / 1e6:.1f} MB"
        seeds = sorted({r["seed"] for r in dataset.episodes if isinstance(r.get("seed"), int)})
        values["recording seeds"] = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else ", ".join(map(str, seeds))
    values["training seed"] = trained.get("seed")
    if evaluation:
        values["evaluation seed"] = evaluation.settings["seed"]
        values["policy"] = evaluation.policy["source"]
    html += "<h3>Run</h3>" + page.facts(values)
    return html + "<h3>Versions</h3>" + page.facts(record["versions"])


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
