"""What a deployment found: its episodes, how they are counted, and the distributions of lateness and latencies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robolearn.control.loop import EpisodeRecord
from robolearn.core.provenance import provenance
from robolearn.evaluation.statistics.tally import Tally
from robolearn.execution.outcome import outcome_word

RESULTS = "results.json"
LATENESS_BINS_MS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0)


@dataclass
class FinishedEpisode:
    """An episode, and what is known of it beside its record."""

    init_state: int
    record: EpisodeRecord = field(default_factory=EpisodeRecord)
    last_error: str | None = None
    judged_by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        record = self.record
        return {
            "init_state": self.init_state,
            "outcome": outcome_word(record.success, record.aborted),
            "success": record.success,
            "cause": record.aborted,
            "judged_by": self.judged_by,
            "score": record.score,
            "duration_s": record.duration_s,
            "ticks": int(record.ticks.lateness_s.size),
            "late_ticks": int(record.ticks.late),
            "skipped_ticks": int(record.ticks.skipped),
            "safety_stops": record.safety_stops,
            "limited_ticks": record.limiter.limited,
            "limits": dataclasses.asdict(record.limiter),
            "states": {state.value: count for state, count in record.states.items()},
            "requests": dataclasses.asdict(record.requests),
            "dropped_actions": record.dropped_actions,
            "late_chunks": record.late_chunks,
            "last_error": self.last_error,
        }


def summarize(
    finished: Sequence[FinishedEpisode], rate_hz: float, priority: str, config: dict[str, Any]
) -> dict[str, Any]:
    """The contents of results.json. `config` is what the deployment was run with, without secrets."""
    records, episodes = [f.record for f in finished], [f.to_dict() for f in finished]
    lateness_ms = np.concatenate([record.ticks.lateness_s for record in records]) * 1e3
    counts, _ = np.histogram(np.minimum(lateness_ms, LATENESS_BINS_MS[-1]), bins=LATENESS_BINS_MS)
    chunks = [chunk for record in records for chunk in record.chunks]
    latency_ms = {
        "inference": [c.infer_ms for c in chunks],
        "server": [c.server_ms for c in chunks],
        "round_trip": [(c.received_s - c.sent_s) * 1e3 for c in chunks],
        "observation_to_answer": [(c.received_s - c.t_obs_s) * 1e3 for c in chunks],
        "observation_age_at_command": [age for record in records for age in record.observation_age_ms],
    }
    return {
        "episodes": episodes,
        **Tally.of_episodes(episodes).to_dict(),
        "loop": {
            "rate_hz": rate_hz,
            "priority": priority,
            "ticks": int(lateness_ms.size),
            "late_ticks": sum(e["late_ticks"] for e in episodes),
            "skipped_ticks": sum(e["skipped_ticks"] for e in episodes),
            "lateness_ms": percentiles(lateness_ms),
            "histogram": {"bins_ms": list(LATENESS_BINS_MS), "counts": counts.tolist()},
        },
        "latency_ms": {name: percentiles(values) for name, values in latency_ms.items()},
        "safety_stops": sum(e["safety_stops"] for e in episodes),
        "limited_ticks": sum(e["limited_ticks"] for e in episodes),
        "dropped_actions": sum(e["dropped_actions"] for e in episodes),
        "config": config,
        "provenance": provenance(),
    }


def percentiles(values: Sequence[float] | np.ndarray) -> dict[str, float | int | None]:
    """p50, p95, p99 and maximum, with how many values there were; None without any."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return {"p50": None, "p95": None, "p99": None, "max": None, "n": 0}
    p50, p95, p99 = np.percentile(array, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(array.max()), "n": int(array.size)}
