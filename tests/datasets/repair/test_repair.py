"""`repair` mends what can be mended, sets aside what is broken, and never touches what is intact."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import DatasetError
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.run import repair
from robolearn.datasets.tools.info import describe
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parent))
from damage import flip, is_sound

CAMERA = "observation.images.front"


def digest(path):
    """Names and hashes of all files that a reader can see."""
    files = (
        p for p in path.rglob("*") if p.is_file() and p.relative_to(path).parts[0] not in ("pending", "quarantine")
    )
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def contents(path, episodes):
    """What an episode reads as."""
    dataset = Dataset(path)
    found = []
    for episode in episodes:
        data = dataset.read_episode(episode)
        frames = {name: [bytes(frame) for frame in frames] for name, frames in data.frames.items()}
        columns = {name: column.tobytes() for name, column in data.values.items()}
        found.append((data.timestamps.tobytes(), columns, frames, data.record))
    return found


def test_an_intact_dataset_is_left_alone(make_dataset):
    path = make_dataset(3, 5, sim=True)
    before = digest(path)
    assert repair(path) == []
    assert digest(path) == before


def test_a_broken_episode_goes_to_quarantine_and_its_neighbours_stay(make_dataset):
    path = make_dataset(3, 5, 4)
    before, intact = digest(path), contents(path, [0, 2])
    flip(path / "data/action/0.0", 4 * 8)
    damaged = digest(path)
    (action,) = repair(path)
    assert (action.what, action.episode) == ("quarantine", 1)
    assert Dataset(path).intact_episodes.tolist() == [0, 2]
    assert contents(path, [0, 2]) == intact
    changed = {name for name, sha in digest(path).items() if damaged.get(name) != sha}
    assert changed == {"meta/edits.jsonl"} and before.keys() <= digest(path).keys()
    folder = path / "quarantine/episode_000001"
    report = json.loads((folder / "report.json").read_bytes())
    assert (
        report["reasons"] == ["data/action is not what was recorded", "statistics/action is not what was recorded"][:1]
    )
    assert report["record"]["num_steps"] == 5
    assert np.load(folder / "data+observation.state.npy").tolist() == [[k, -k] for k in range(3, 8)]
    assert len(list((folder / f"data+{CAMERA}").iterdir())) == 5
    assert is_sound(path) and repair(path) == []


def test_a_mask_of_quarantined_episodes_grows(make_dataset):
    path = make_dataset(3, 5, 4)
    set_mask(path, "quarantine", [0])
    flip(path / "data/action/0.0", 4 * 8)
    repair(path)
    assert Dataset(path).intact_episodes.tolist() == [2]


def test_missing_and_truncated_chunks_can_be_read_again(make_dataset):
    path = make_dataset(3, 5, 4)
    intact = contents(path, [0])
    chunk = path / "data/action/0.0"
    truncated = chunk.read_bytes()[: 4 * 8]
    chunk.write_bytes(truncated)
    (path / f"data/{CAMERA}/9.0.0.0").unlink()
    repair(path)
    dataset = Dataset(path)
    assert dataset.intact_episodes.tolist() == [0]
    assert dataset.array("action")[:4, 0].tolist() == [0.5, 1.5, 2.5, 3.5] and not dataset.array("action")[4:].any()
    assert contents(path, [0]) == intact
    assert (path / "quarantine/files/data+action+0.0").read_bytes() == truncated
    assert (path / f"data/{CAMERA}/9.0.0.0").is_file()
    assert is_sound(path) and repair(path) == []


@pytest.mark.parametrize("file", ["statistics/action/0.0.0", f"crc32/{CAMERA}/0", "meta/episode_ends/0"])
@pytest.mark.parametrize("how", ["flip", "delete", "truncate"])
def test_what_follows_from_the_rest_is_computed_again_to_the_byte(make_dataset, file, how):
    path = make_dataset(3, 5, 4)
    before, chunk = digest(path), path / file
    if how == "flip":
        flip(chunk)
    elif how == "delete":
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[:9])
    actions = repair(path)
    assert {action.what for action in actions} <= {"derived", "chunk", "records"}
    assert digest(path) == before
    assert repair(path) == []


def test_a_histogram_of_sampled_pixels_is_made_again_from_the_stored_images(make_dataset):
    path = make_dataset(3, 5)
    flip(path / f"histograms/{CAMERA}/0.0.0")
    intact = contents(path, [0, 1])
    repair(path)
    assert is_sound(path) and repair(path) == []
    assert contents(path, [0, 1]) == intact and Dataset(path).intact_episodes.tolist() == [0, 1]


@pytest.mark.parametrize("content", [None, b"", b'{"metadata": {}}'])
def test_metadata_is_rebuilt_to_the_byte(make_dataset, content):
    path = make_dataset(3, 5, sim=True)
    before = digest(path)
    (path / ".zmetadata").unlink()
    if content is not None:
        (path / ".zmetadata").write_bytes(content)
    (action,) = repair(path)
    assert action.what == "metadata"
    assert digest(path) == before and repair(path) == []


def test_metadata_is_rebuilt_from_copies_that_are_one_commit_behind(make_dataset, world, tmp_path):
    path = make_dataset(3, 5)
    copies = {p: p.read_bytes() for p in path.rglob(".z*") if p.name != ".zmetadata"}
    with DatasetWriter.append_to(path) as w:
        world.record(w, 4, first=8)
    before = digest(path)
    for file, content in copies.items():
        file.write_bytes(content)
    (path / ".zmetadata").unlink()
    assert {action.what for action in repair(path)} == {"metadata", "copies"}
    assert digest(path) == before and Dataset(path).num_episodes == 3


def test_stale_copies_and_staging_files_are_tidied(make_dataset):
    path = make_dataset(3, 5)
    before = digest(path)
    (path / "data/action/.zarray").unlink()
    (path / "data/timestamp/.zarray").write_bytes(b"{}")
    (path / "pending/.staging/data+action+0.0").write_bytes(b"half")
    assert {action.what for action in repair(path)} == {"copies", "leftovers"}
    assert digest(path) == before and repair(path) == []


def test_of_a_lost_record_the_steps_are_kept_and_the_episode_is_set_aside(make_dataset):
    path = make_dataset(3, 5, 4)
    intact = contents(path, [0, 2])
    chunk = path / "meta/episodes/0"
    parts = chunk.read_bytes().split(b'"task": "count"')
    chunk.write_bytes(
        parts[0] + b'"task": "count"' + parts[1] + b'"task": "cOunt"' + parts[2] + b'"task": "count"' + parts[3]
    )
    repair(path)
    dataset = Dataset(path)
    assert dataset.intact_episodes.tolist() == [0, 2]
    assert dataset.recorded_episodes[1]["record_lost"] and dataset.recorded_episodes[1]["num_steps"] == 5
    assert contents(path, [0, 2]) == intact
    assert is_sound(path) and repair(path) == []


def test_the_stand_in_of_a_lost_record_tells_times_and_can_be_described_and_selected(make_dataset):
    path = make_dataset(3, 5)
    recorded = Dataset(path).recorded_episodes
    (path / "meta/episodes/0").unlink()
    repair(path)
    for before, after in zip(recorded, Dataset(path).recorded_episodes, strict=True):
        assert {key: after[key] for key in ("duration_s", "timing")} == {
            key: before[key] for key in ("duration_s", "timing")
        }
    assert describe(path)["duration_s"] == pytest.approx(0.2 + 0.4)
    assert Selection(where=("duration_s>0",)).find(Dataset(path)).tolist() == [False, False]  # both in quarantine


def test_a_stand_in_without_readable_times_has_the_nominal_duration(make_dataset):
    path = make_dataset(3, 5)
    (path / "meta/episodes/0").unlink()
    (path / "data/timestamp/0").unlink()
    repair(path)
    assert [record["duration_s"] for record in Dataset(path).recorded_episodes] == pytest.approx([0.2, 0.4])


def test_all_records_and_ends_lost_still_leave_a_dataset_that_opens(make_dataset):
    path = make_dataset(3, 5, 4)
    (path / "meta/episodes/0").unlink()
    (path / "meta/episode_ends/0").unlink()
    repair(path)
    dataset = Dataset(path)
    assert (dataset.num_episodes, dataset.num_steps, dataset.intact_episodes.size) == (3, 12, 0)
    assert repair(path) == []


def test_a_damaged_edit_is_taken_out_and_the_others_stay(make_dataset):
    path = make_dataset(3, 5)
    set_mask(path, "train", [0])
    edit_episodes(path, [0], {"task": "lost"})
    edit_episodes(path, [1], {"task": "kept"})
    file = path / "meta/edits.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"lost"', b'"lOst"'))
    (action,) = repair(path)
    assert action.what == "edits"
    dataset = Dataset(path)
    assert [record["task"] for record in dataset.episodes] == ["count", "kept"]
    assert dataset.mask("train").tolist() == [True, False]
    assert repair(path) == []


def test_lost_metadata_and_a_damaged_edit_are_mended_together(make_dataset):
    path = make_dataset(3, 5)
    set_mask(path, "train", [0])
    before = digest(path)
    (path / ".zmetadata").unlink()
    with (path / "meta/edits.jsonl").open("ab") as file:
        file.write(b"garbage\n")
    told = repair(path, dry_run=True)
    assert [action.what for action in told] == ["metadata", "edits"] and repair(path) == told
    assert digest(path) == before and repair(path) == []


def test_an_interrupted_repair_is_finished_by_the_next(make_dataset, monkeypatch, tmp_path):
    """Whatever rename is the last to happen: a second run brings the dataset to the same state."""
    template = make_dataset(3, 5, 4)
    intact = contents(template, [0, 2])
    (template / ".zmetadata").unlink()
    flip(template / "data/action/0.0", 4 * 8)
    (template / "meta/episode_ends/0").unlink()
    (template / "statistics/action/0.0.0").unlink()
    replace = os.replace
    for last in range(12):
        path = tmp_path / f"{last}.zarr"
        shutil.copytree(template, path)
        calls = [0]

        def counting(source, target, calls=calls, last=last):
            if calls[0] == last:
                raise KeyboardInterrupt
            calls[0] += 1
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counting)
            try:
                repair(path)
            except KeyboardInterrupt:
                pass
        repair(path)
        assert repair(path) == [] and is_sound(path)
        assert Dataset(path).intact_episodes.tolist() == [0, 2] and contents(path, [0, 2]) == intact


def test_a_dry_run_changes_nothing_and_tells_the_same(make_dataset, world):
    path = make_dataset(3, 5)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 2, first=8)
    flip(path / "data/action/0.0", 4 * 8)
    (path / "meta/episode_ends/0").unlink()
    everything = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    told = repair(path, dry_run=True)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == everything
    assert [action.what for action in told] == [action.what for action in repair(path)]


@pytest.mark.parametrize("dry_run", [True, False])
def test_it_is_refused_while_somebody_writes(make_dataset, dry_run):
    path = make_dataset(3)
    code = f"from robolearn.datasets.repair.run import repair; repair({str(path)!r}, dry_run={dry_run})"
    with DatasetWriter.append_to(path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"is being written by process {os.getpid()}" in other.stderr


def test_what_is_no_dataset_or_far_away_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        repair(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="repair it on the machine"):
        repair("memory://somewhere.zarr")


def test_too_little_left_is_said(make_dataset):
    path = make_dataset(3)
    (path / ".zmetadata").unlink()
    (path / ".zattrs").write_bytes(b'{"robolearn_format": 1}')
    with pytest.raises(DatasetError, match="its copies do not help either"):
        repair(path)
