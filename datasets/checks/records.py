"""Episode records: whole, in agreement with the data, and labelled alike."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding, Severity
from robolearn.datasets.checks.survey import EpisodeView, Survey
from robolearn.datasets.format import layout

SHORT = 0.1  # of the median length: an episode this short was stopped by accident


class Records(Check):
    name = "records"

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}
        self._labels: Counter[str] = Counter()
        self._models: dict[str, str | None] = {}

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        def finding(message: str, severity: Severity = "error", file: str | None = None) -> Finding:
            return Finding(severity=severity, check=self.name, message=message, episode=view.index, file=file)

        if view.survey.records[view.index] is None:
            yield finding("its record is lost: task, labels and checksums")
            return
        record = view.record
        if record.get("index") != view.index:
            yield finding(f"its record is that of episode {record.get('index')!r}")
        if not view.num_steps:
            yield finding("nothing tells which steps are its own")
        if not isinstance(record.get("checksums"), dict):
            yield finding("its record holds no checksums; damage to it cannot be found", "warning")
        times = view.rows(layout.TIMESTAMP)
        told = record.get("duration_s")
        if times is not None and len(times) and isinstance(told, float | int):
            duration = float(times[-1] - times[0])
            if not abs(duration - told) < 1e-6:
                yield finding(f"its record says {told:.6g} s, its times span {duration:.6g} s")
        for label, kind in (("task", str), ("success", bool)):
            value = record.get(label)
            self._labels[label] += value is not None
            if value is not None and not isinstance(value, kind):
                yield finding(f"{label} is {value!r}, expected a {kind.__name__} or null", "warning")
        reason = self._model_problem(view)
        if reason:
            yield finding(reason[1], file=reason[0])
        self._lengths[view.index] = view.num_steps

    def _model_problem(self, view: EpisodeView) -> tuple[str, str] | None:
        digest = view.record.get("sim_model")
        if digest is None:
            return None
        file = f"{layout.SIM_MODELS}/{digest}.xml"
        if digest not in self._models:
            try:
                text = view.survey.store.read(file)
                wrong = hashlib.sha256(text).hexdigest() != digest
                self._models[digest] = "the simulator model does not have the sha256 in its name" if wrong else None
            except DatasetError:
                self._models[digest] = "the simulator model is missing or cannot be read"
        message = self._models[digest]
        return (file, message) if message else None

    def finish(self, survey: Survey) -> Iterator[Finding]:
        lengths = np.array(list(self._lengths.values()))
        median = float(np.median(lengths)) if len(lengths) else 0.0
        for episode, length in self._lengths.items():
            if len(lengths) > 2 and 0 < length < max(2.0, SHORT * median):
                message = f"only {length} step{'s' * (length != 1)}; half of the episodes have {median:.0f} or more"
                yield Finding(severity="warning", check="length", message=message, episode=episode)
        for label in ("task", "success"):
            missing = len(self._lengths) - self._labels[label]
            if self._labels[label] and missing:
                message = f"{missing} of {len(self._lengths)} episodes have no {label!r}"
                yield Finding(severity="info", check="labels", message=message)
