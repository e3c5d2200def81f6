"""Damaged bytes and files: nobody crashes, lies or blames another place (the large form: `benchmarks/faults.py`)."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
from fault_injection import fuzz, worlds


@pytest.mark.slow
@pytest.mark.parametrize("make", [worlds.make_steps, worlds.make_streams])
def test_no_damage_goes_unseen_and_repair_harms_nothing(tmp_path, make):
    fuzzer = fuzz.Fuzzer(make(tmp_path / "d.zarr"), tmp_path)
    outcomes = [fuzzer.run(seed) for seed in range(1000, 1025)]
    assert [outcome for outcome in outcomes if not outcome.clean] == []
    assert sum(outcome.noticed for outcome in outcomes) > 5  # the damage does reach what is read


def test_wrong_data_would_be_seen(tmp_path):
    """The fuzzer itself: a value that is not the true one counts as silent."""
    fuzzer = fuzz.Fuzzer(worlds.make_steps(tmp_path / "d.zarr"), tmp_path)
    fuzzer.truth["array action"] = b"other"
    assert "array action" in fuzzer.run(0).silent
