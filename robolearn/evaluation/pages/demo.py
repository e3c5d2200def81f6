"""The demo's page: what was recorded, learnt, evaluated and deployed, in one file that needs nothing else.

Every part is optional: one that was not run, or whose files are damaged, says so and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, RobolearnError
from robolearn.core.provenance import provenance
from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.pages import page
from robolearn.evaluation.pages.charts import Interval, Line, histogram, interval_chart, line_chart
from robolearn.evaluation.pages.page import Card, Section
from robolearn.evaluation.statistics.intervals import Estimate
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.tally import Tally
from robolearn.training.metrics import read_metrics

GOAL_EVALUATION = 0.9
GOAL_DEPLOYMENT = 0.8
GOAL_LATENESS_MS = 2.0
GOAL_TOTAL_S = 600.0
GOAL_MEMORY_GB = 3.0
_STRIPS, _STRIP_FRAMES = 4, 8


@dataclass(frozen=True)
class Stage:
    """One step of the chain: what was typed and how long it took."""

    name: str
    command: str
    wall_s: float | None = None


@dataclass(frozen=True)
class DemoReportInputs:
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


def build_demo_report(inputs: DemoReportInputs) -> Path:
    """Write the page and return its path. Nothing it shows is loaded from elsewhere."""
    dataset, no_dataset = _try(inputs, "dataset", inputs.dataset, Dataset)
    metrics, no_training = _try(inputs, "training", inputs.training, _read_metrics)
    evaluation, no_evaluation = _try(inputs, "evaluation", inputs.evaluation, EvaluationResults.load)
    deployment, no_deployment = _try(inputs, "deployment", inputs.deployment, _read_deployment)
    sections = [
        Section("demonstrations", "Demonstrations", _shown(_demonstrations, dataset) if dataset else no_dataset),
        Section("training", "Training", _shown(_training, metrics, inputs.training) if metrics else no_training),
        Section(
            "evaluation", "Evaluation",
            _shown(_evaluation, evaluation, deployment, inputs.evaluation) if evaluation else no_evaluation,
        ),
        Section(
            "deployment", "Deployment in real time", _shown(_deployment, deployment) if deployment else no_deployment
        ),
        Section("provenance", "How this was made", _provenance(inputs, dataset, evaluation)),
    ]  # fmt: skip
    record = provenance()
    lead = page.paragraph(
        "Demonstrations were recorded, a policy was trained on them, evaluated from fixed start states, served, and "
        "deployed on an arm simulated in real time. Every number and picture below was measured in this run."
    ) + page.paragraph(f"{_date(record['date'])} · {record['machine']}", soft=True)
    html = page.document(inputs.title, lead, _cards(inputs, evaluation, deployment), sections)
    return page.write(html, inputs.output)


def _try(inputs: DemoReportInputs, part: str, path: Path | None, read: Callable[[Path], Any]) -> tuple[Any | None, str]:
    """What `read` makes of `path`, or None and the html that says why there is nothing."""
    if path is None:
        return None, page.absent(inputs.not_run.get(part, "this part was left out."))
    try:
        return read(path), ""
    except RobolearnError as error:
        reason = inputs.not_run.get(part)
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


def _read_deployment(path: Path) -> dict[str, Any]:
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


def _cards(
    inputs: DemoReportInputs, evaluation: EvaluationResults | None, deployment: dict[str, Any] | None
) -> list[Card]:
    cards = []
    if evaluation:
        cards.append(_rate_card("Evaluation success", evaluation.tally, GOAL_EVALUATION))
    else:
        cards.append(Card("Evaluation success", "–", "not run"))
    if deployment and deployment["episodes"]:
        cards.append(_rate_card("Real-time success", Tally.of_episodes(deployment["episodes"]), GOAL_DEPLOYMENT))
    else:
        cards.append(Card("Real-time success", "–", "not run"))
    lateness = _lateness_ms(deployment, "p99") if deployment else None
    cards.append(_limit_card("Loop lateness, p99", lateness, "ms", GOAL_LATENESS_MS, 2))
    cards.append(_duration_card(inputs.total_s))
    cards.append(_limit_card("Peak memory", inputs.peak_memory_gb, "GB", GOAL_MEMORY_GB, 2))
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
    return Card("Total time", _duration(total_s), f"goal: at most {_duration(GOAL_TOTAL_S)}", total_s <= GOAL_TOTAL_S)


def _rate(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.0f} %, 95 % interval {low:.1f} to {high:.1f} %"


def _date(iso: str) -> str:
    return f"{iso[:10]} {iso[11:16]} UTC"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _demonstrations(dataset: Dataset) -> str:
    if not dataset.num_episodes:
        return page.absent(f"{dataset.name} holds no episodes.")
    cameras = [name for name, f in dataset.features.items() if f.kind == "image"]
    seconds = dataset.num_steps / dataset.fps
    html = page.paragraph(
        f"{dataset.num_episodes} episodes, {dataset.num_steps} steps at {dataset.fps:g} Hz ({_duration(seconds)} of "
        f"motion), {len(cameras)} camera{'s' if len(cameras) != 1 else ''}."
    )
    chosen = np.unique(np.linspace(0, dataset.num_episodes - 1, _STRIPS).round().astype(int))
    for episode in chosen if cameras else []:
        html += _film_strip(dataset, int(episode), cameras)
    rows = [
        (f.name, " x ".join(map(str, f.shape)), f.dtype, f.unit or "", f.frame or "", ", ".join(f.names or ()))
        for f in dataset.features.values()
    ]
    html += page.details("Features", page.table(("name", "shape", "type", "unit", "frame", "elements"), rows))
    records = [{"episode": i, **record} for i, record in enumerate(dataset.episodes)]
    hidden = ("checksums", "index", "start_step", "journal", "sim_model", "features", "provenance")
    html += page.details("All episodes", page.records(records, hidden))
    return html


def _film_strip(dataset: Dataset, episode: int, cameras: list[str]) -> str:
    """Frames evenly spread over an episode, one row for each camera, all scaled to one height."""
    import cv2

    steps = dataset.episode_slice(episode)
    chosen = np.linspace(steps.start, steps.stop - 1, _STRIP_FRAMES).round().astype(int)
    size = 144
    rows = []
    for camera in cameras:
        frames = []
        for step in chosen:
            image = dataset.image(camera, int(step))
            width = round(size * image.shape[1] / image.shape[0])
            frame = cv2.resize(
                image.reshape(*image.shape[:2], -1)[..., :3], (width, size), interpolation=cv2.INTER_CUBIC
            )
            frames.append(np.pad(frame, ((2, 2), (2, 2), (0, 0)), constant_values=255))
        rows.append(np.concatenate(frames, axis=1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    record = dataset.episodes[episode]
    times = dataset.timestamps[steps]
    outcome = {True: "success", False: "failure"}.get(record.get("success"))  # type: ignore[arg-type]
    parts = [
        f"Episode {episode}",
        str(record["task"]) if record.get("task") else None,
        outcome,
        f"{times[-1] - times[0]:.1f} s",
        "cameras: " + ", ".join(camera.removeprefix("observation.images.") for camera in cameras),
    ]
    return page.picture(np.concatenate(rows), " · ".join(part for part in parts if part))


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


def _evaluation(results: EvaluationResults, deployment: dict[str, Any] | None, folder: Path | None) -> str:
    e, score, timing = results.success, results.score, results.timing()
    first, last = results.init_states[0], results.init_states[-1]
    html = page.paragraph(
        f"{results.environment['name']} (version {results.environment['scene_version']}), one episode from each of the "
        f"start states {first} to {last}. An episode counts as a success when the task is solved within "
        f"{results.settings.get('max_steps') or results.environment['max_steps']} steps at "
        f"{results.environment['control_hz']:g} Hz."
    )
    rows = [Interval("simulation", e.value, e.low, e.high, f"{results.successes} of {e.n}")]
    deployed = Tally.of_episodes(deployment["episodes"] if deployment else ())
    if d := deployed.rate:
        rows.append(Interval("real-time arm", d.value, d.low, d.high, f"{deployed.successes} of {d.n}"))
    html += interval_chart(rows) + page.paragraph("Success with 95 % Wilson intervals.", soft=True)
    html += _not_judged(results.tally, [(x.init_state, x.cause) for x in results.aborted])
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


def _not_judged(tally: Tally, aborted: list[tuple[object, str]]) -> str:
    """What is not in the success rate and why; nothing where every episode was judged."""
    if not tally.beside:
        return ""
    html = page.paragraph(f"Not in the success rate: {tally.beside}.")
    return html + (page.table(("start", "aborted because"), aborted) if aborted else "")


def _deployment(results: dict[str, Any]) -> str:
    loop, latency = results.get("loop") or {}, results.get("latency_ms") or {}
    records = [{"episode": i, **record} for i, record in enumerate(results["episodes"])]
    aborted = [(record.get("init_state"), record["cause"]) for record in records if record.get("cause")]
    html = _not_judged(Tally.of_episodes(records), aborted)
    hidden = ["ticks", "score", "skipped_ticks", "late_chunks", "cause"]
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
    p99 = _lateness_ms(results, "p99")
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


def _provenance(inputs: DemoReportInputs, dataset: Dataset | None, evaluation: EvaluationResults | None) -> str:
    html = ""
    if inputs.stages:
        stages = [(s.name, page.code(s.command), _duration(s.wall_s) if s.wall_s else "") for s in inputs.stages]
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


def _lateness_ms(results: dict[str, Any], quantile: str) -> float | None:
    value = ((results.get("loop") or {}).get("lateness_ms") or {}).get(quantile)
    return None if value is None else float(value)


def _median(values: list[Any]) -> str | None:
    return f"{float(np.median(values)):g}" if values else None


def _rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(f"{v:.2f}" if isinstance(v, float | int) else v for v in row) for row in rows]


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
