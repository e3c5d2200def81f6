import json

import numpy as np
import pytest

from robolearn.control.loop import EpisodeRecord
from robolearn.control.results import FinishedEpisode, percentiles, summarize
from robolearn.core.clock import TickStatistics
from robolearn.execution.chunk import Chunk


def episode(init_state, success=None, aborted=None, lateness_ms=(), chunks=()):
    ticks = TickStatistics(np.array(lateness_ms) / 1e3, sum(late > 0.5 for late in lateness_ms), 0, 0.005)
    record = EpisodeRecord(success, aborted, ticks=ticks, chunks=list(chunks))
    return FinishedEpisode(init_state, record)


def test_a_summary_counts_the_judged_and_adds_up_the_ticks_of_all():
    chunk = Chunk(np.zeros((8, 10)), t_obs_s=1.0, sent_s=1.01, received_s=1.05, infer_ms=20.0, server_ms=25.0)
    episodes = [
        episode(0, True, lateness_ms=[0.01, 0.03, 600.0], chunks=[chunk]),
        episode(1, False, lateness_ms=[0.01]),
        episode(2, None, "server gone: lost"),
    ]
    found = summarize(episodes, 200.0, "SCHED_FIFO 20", {"robot": "sim"})
    assert json.loads(json.dumps(found)) == found
    assert [e["outcome"] for e in found["episodes"]] == ["success", "failure", "aborted"]
    assert (found["success"]["k"], found["success"]["n"], found["aborted"]["n"]) == (1, 2, 1)
    loop = found["loop"]
    assert (loop["ticks"], loop["late_ticks"], loop["rate_hz"]) == (4, 1, 200.0)
    assert (loop["histogram"]["counts"][0], loop["histogram"]["counts"][-1]) == (2, 1)  # the last bin has all beyond it
    assert sum(loop["histogram"]["counts"]) == 4
    latency = {name: row["max"] for name, row in found["latency_ms"].items()}
    assert latency == pytest.approx(
        {"inference": 20.0, "server": 25.0, "round_trip": 40.0, "observation_to_answer": 50.0,
         "observation_age_at_command": None}, nan_ok=True
    )  # fmt: skip
    assert found["config"] == {"robot": "sim"}


def test_percentiles_of_nothing_are_none():
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None, "max": None, "n": 0}
    assert percentiles([1.0, 2.0, 3.0])["p50"] == 2.0
