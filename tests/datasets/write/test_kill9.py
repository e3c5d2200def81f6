"""kill -9 while recording, with real processes (the large form: `benchmarks/faults.py`)."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
from fault_injection.killing import kill_many

from robolearn.datasets.read.reader import Dataset


@pytest.mark.realtime
def test_no_committed_episode_is_lost_and_the_pending_one_is_salvaged(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    toll = kill_many(tmp_path, steps=6, streams=5, seed=1)
    assert (toll.kills, toll.lost) == (11, [])
    assert toll.pending > 0 and max(toll.lost_s) <= 1.0
    salvaged = [record for record in Dataset(tmp_path / "steps.zarr").recorded_episodes if record.get("salvaged")]
    assert salvaged and all(record["success"] is None for record in salvaged)
