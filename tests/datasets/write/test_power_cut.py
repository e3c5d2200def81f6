"""A store that loses un-synced writes: the order of writes and syncs keeps every acknowledged episode."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
from fault_injection import power_cut
from fault_injection.power_cut import Operation, Trace, after_cut, play_back

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (apt-get install strace)")


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("kind", ["steps", "streams"])
def test_every_acknowledged_episode_survives_a_power_cut_at_any_time(tmp_path, kind):
    count, complaints = power_cut.record_and_cut(kind, tmp_path, cuts=12, episodes=3)
    assert complaints == []
    assert count == 12 * len(power_cut.MODES)


@pytest.mark.slow
@needs_strace
def test_the_simulation_finds_a_recorder_that_does_not_sync(tmp_path):
    dataset, acks = tmp_path / "d.zarr", tmp_path / "acks"
    child = Path(power_cut.__file__).with_name("recording_child.py")
    found = power_cut.trace(
        [sys.executable, str(child), "steps", str(dataset), str(acks), "2"], dataset, acks, tmp_path
    )
    assert [line for _, line in found.acknowledged] == ["1", "2"]
    careless = Trace([op for op in found.operations if op.kind != "sync"], found.acknowledged, found.folders)
    assert power_cut.cut_many(careless, tmp_path, power_cut.check_dataset, cuts=12)[1]


def commit_of_one_file(sync):
    """Write x.tmp, sync it or not, rename it to x, sync the folder."""
    operations = [
        Operation(0, 0, "name", names=[(0, "x.tmp", 1)]),
        Operation(1, 1, "data", 1, data=b"hello"),
        *([Operation(2, 2, "sync")] if sync else []),
        Operation(3, 3, "name", names=[(0, "x.tmp", None), (0, "x", 1)]),
        Operation(4, 4, "sync", 0),
    ]
    return Trace(operations, [], {0})


@pytest.mark.parametrize(("sync", "content"), [(True, b"hello"), (False, b"")])
def test_a_renamed_file_is_empty_when_only_the_name_was_synced(tmp_path, sync, content):
    found = commit_of_one_file(sync)
    kept = after_cut(found, 4, "nothing", np.random.default_rng(0))
    play_back(kept, found.folders, tmp_path / "disk")
    assert {p.name: p.read_bytes() for p in (tmp_path / "disk").iterdir()} == {"x": content}


def test_before_the_sync_of_the_folder_the_old_name_is_there(tmp_path):
    found = commit_of_one_file(sync=True)
    play_back(after_cut(found, 3, "nothing", np.random.default_rng(0)), found.folders, tmp_path / "old")
    play_back(after_cut(found, 3, "everything", np.random.default_rng(0)), found.folders, tmp_path / "new")
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["x.tmp"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x"]
