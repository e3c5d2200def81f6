"""No two episodes of a dataset begin from the same start state, whatever became of the ones before."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from robolearn.core.feature import Feature, features
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.run import repair
from robolearn.datasets.tools.start_states import FIRST_RECORDED_STATE, LEFT_OUT, init_states, next_init_state
from robolearn.datasets.write.journal import HEADER, find_journals
from robolearn.datasets.write.writer import DatasetWriter

FEATURES = features([Feature("observation.state", (1,)), Feature("action", (1,), kind="action")])
STEP = {name: np.zeros(1, np.float32) for name in FEATURES}


def record(path, states, unfinished=None):
    """Episodes from `states`, and one from `unfinished` that nobody saves."""
    opened = DatasetWriter.append_to(path) if path.exists() else DatasetWriter.create(path, FEATURES, 10.0)
    with opened as writer:
        for state in (*states, *([] if unfinished is None else [unfinished])):
            writer.start_episode({"init_state": state})
            writer.append(0.0, STEP)
            if state != unfinished:
                writer.commit({})
    return path


def test_states_count_up_from_the_highest_one(tmp_path):
    path = record(tmp_path / "d.zarr", [])
    assert next_init_state(path) == FIRST_RECORDED_STATE
    assert next_init_state(record(path, [10_000, 10_004])) == 10_005


def test_an_unfinished_episode_counts_before_and_after_it_is_saved(tmp_path):
    path = record(tmp_path / "d.zarr", [10_000], unfinished=10_007)
    assert next_init_state(path) == 10_008
    repair(path)
    assert [episode["init_state"] for episode in Dataset(path).episodes] == [10_000, 10_007]
    assert next_init_state(path) == 10_008


def test_an_unfinished_episode_that_could_not_be_saved_counts(tmp_path):
    path = record(tmp_path / "d.zarr", [10_000], unfinished=10_003)
    (journal,) = find_journals(path / layout.PENDING)
    rows = journal / "steps.bin"
    rows.write_bytes(bytes([rows.read_bytes()[0] ^ 1]) + rows.read_bytes()[1:])
    repair(path)
    assert Dataset(path).num_episodes == 1 and not find_journals(path / layout.PENDING)
    assert next_init_state(path) == 10_004


def test_an_episode_in_quarantine_counts(tmp_path):
    path = record(tmp_path / "d.zarr", [10_000, 10_009, 10_001])
    array = path / "data" / "action" / "0.0"
    data = bytearray(array.read_bytes())
    data[5] ^= 255  # of episode 1
    array.write_bytes(data)
    repair(path)
    assert Dataset(path).mask("quarantine").tolist() == [False, True, False]
    assert next_init_state(path) == 10_010


def test_what_cannot_be_known_any_more_is_left_out(tmp_path):
    path = record(tmp_path / "d.zarr", [10_000], unfinished=10_003)
    (journal,) = find_journals(path / layout.PENDING)
    (journal / HEADER).write_bytes(b"{}")
    assert next_init_state(path) == 10_001 + LEFT_OUT
    repair(path)
    assert Dataset(path).episodes[1]["salvaged"] and "init_state" not in Dataset(path).episodes[1]
    assert next_init_state(path) == 10_002 + LEFT_OUT  # now it is an episode


def test_only_whole_numbers_are_start_states():
    assert init_states([{"init_state": 3}, {}, {"init_state": None}, {"init_state": True}, {"init_state": 0}]) == [3, 0]


KILLED = """
import os, signal, sys
from robolearn.sim.tasks import put_on_plate
from robolearn.cli.main import main
from robolearn.datasets.write.writer import DatasetWriter
append, steps = DatasetWriter.append, []
def killed(self, *args, **kwargs):
    append(self, *args, **kwargs)
    steps.append(1)
    if self.num_episodes == 1 and self.num_pending_steps == 5:
        os.kill(os.getpid(), signal.SIGKILL)
DatasetWriter.append = killed
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_recording_goes_on_from_a_fresh_state_after_kill_9(tmp_path):
    path = tmp_path / "d.zarr"
    command = ["record", "--env", "put_on_plate", "--operator", "scripted", "--dataset", str(path), "--no-viewer"]
    child = subprocess.run([sys.executable, "-c", KILLED, *command, "--num-episodes", "3"], capture_output=True)
    assert child.returncode == -signal.SIGKILL
    again = [sys.executable, "-m", "robolearn", *command, "--num-episodes", "1", "--resume"]
    subprocess.run(again, check=True, capture_output=True)
    repair(path)
    states = [episode["init_state"] for episode in Dataset(path).episodes]
    assert len(states) == 3 and len(set(states)) == 3
