"""`repair` mends what can be mended, sets aside what is broken, and never touches what is intact."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from robolearn.core.errors import DatasetError
from robolearn.datasets.checks import validate
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair import unfinished_episodes as rescue
from robolearn.datasets.repair.run import repair
from robolearn.datasets.tools.info import describe
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "observation.images.front"


def flip(file, place=0):
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.unlink()
    file.write_bytes(data)


def the_journal(path):
    (journal,) = (p for p in (path / "pending").iterdir() if p.is_dir() and not p.name.startswith("."))
    return journal


def change_header(journal, change):
    """As another program would have written it: with the right checksum."""
    header = json.loads(change((journal / "header.json").read_bytes()))
    header.pop("crc32")
    (journal / "header.json").write_bytes(layout.sealed_json(header))


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


def is_sound(path):
    return not [finding for finding in validate(path) if finding.severity == "error"]


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


def test_a_salvaged_episode_has_what_was_known_at_its_start(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        w.start_episode({"task": "lift", "operator": "keyboard", "seed": 3, "init_state": 10_001})
        w.append(0.0, world.values(0))
    repair(path)
    record = Dataset(path).recorded_episodes[1]
    assert (record["task"], record["operator"], record["seed"], record["init_state"]) == ("lift", "keyboard", 3, 10_001)
    assert (record["salvaged"], record["success"]) == (True, None) and record["started_at"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"flipped"])
def test_a_journal_with_a_damaged_header_is_read_by_the_features_of_its_dataset(tmp_path, world, content):
    path = tmp_path / "sim.zarr"
    with DatasetWriter.create(path, world.features, fps=10) as w:
        world.record(w, 3, sim=True)
        world.start(w, 6, first=3, sim=True)
    header = the_journal(path) / "header.json"
    if content is None:
        header.unlink()
    elif content == b"flipped":
        flip(header, 40)
    else:
        header.write_bytes(content)
    (action,) = repair(path)
    assert (
        action.message.startswith("saved 6 steps of an unfinished episode; lost: ") and "header.json" in action.message
    )
    assert Dataset(path).array("action")[3:, 0].tolist() == [k + 0.5 for k in range(3, 9)]
    assert is_sound(path) and repair(path) == []


def test_a_pending_episode_is_saved_and_marked(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 6, first=3)
    (action,) = repair(path)
    assert (action.what, action.episode) == ("salvage", 1)
    assert action.message == "saved 6 steps of an unfinished episode; nothing was lost"
    record = Dataset(path).recorded_episodes[1]
    assert (record["salvaged"], record["success"], record["losses"]) == (True, None, [])
    assert Dataset(path).array("action")[3:, 0].tolist() == [k + 0.5 for k in range(3, 9)]
    assert repair(path) == [] and is_sound(path)


def test_the_journal_of_a_saved_episode_is_no_unfinished_one(tmp_path, world, monkeypatch):
    path = tmp_path / "cut.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("robolearn.datasets.write.journal.Journal.remove", lambda self: self.close())
        with DatasetWriter.create(path, world.features, fps=10) as w:
            world.record(w, 3)
    assert [finding.line() for finding in validate(path) if finding.check == "leftovers"] == []
    assert repair(path, dry_run=True) == repair(path) == []
    assert Dataset(path).num_episodes == 1 and [p.name for p in (path / "pending").glob("[!.]*")] == []


def test_a_pending_simulated_episode_keeps_its_model(tmp_path, world):
    path = tmp_path / "sim.zarr"
    with DatasetWriter.create(path, world.features, fps=10) as w:
        w.set_sim_model("<mujoco/>\r\n", {"name": "bar", "scene_version": 1})
        world.record(w, 3, sim=True)
        world.start(w, 6, first=3, sim=True)
    repair(path)
    recorded, salvaged = Dataset(path).recorded_episodes
    assert salvaged["sim_model"] == recorded["sim_model"] and len(list((path / "sim/models").iterdir())) == 1


def test_a_full_disk_leaves_a_pending_episode_where_it_is(make_dataset, world, monkeypatch):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 6, first=3)

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("robolearn.datasets.write.writer.commit_episode", full)
        with pytest.raises(DatasetError, match="No space left on device"):
            repair(path)
    (action,) = repair(path)
    assert action.message.startswith("saved 6 steps")


def test_a_journal_of_other_features_is_set_aside_and_the_next_is_saved(make_dataset, world):
    path = make_dataset(3)
    for _ in range(2):
        with DatasetWriter.append_to(path) as w:
            world.start(w, 6, first=3)
    first = min(p for p in (path / "pending").iterdir() if not p.name.startswith("."))
    change_header(first, lambda text: text.replace(b'"action"', b'"bction"', 1))
    aside, saved = repair(path)
    assert "cannot be saved" in aside.message and saved.message.startswith("saved 6 steps")
    assert Dataset(path).num_episodes == 2 and repair(path) == []


def test_of_a_torn_journal_the_whole_steps_are_saved_and_the_loss_is_told(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 6, first=3)
        journal = the_journal(path)
    steps = journal / "steps.bin"
    steps.write_bytes(steps.read_bytes()[:-5])
    (action,) = repair(path)
    assert "saved 5 steps" in action.message and "; lost: " in action.message
    assert Dataset(path).recorded_episodes[1]["losses"]


def test_a_journal_without_a_whole_step_is_set_aside(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 6, first=3)
        journal = the_journal(path)
    (journal / "steps.bin").write_bytes(b"x" * 7)
    (action,) = repair(path)
    assert "cannot be saved" in action.message
    assert (path / "quarantine" / f"pending_{journal.name}").is_dir()
    assert Dataset(path).num_episodes == 1 and repair(path) == []


def test_an_episode_is_salvaged_once_although_repair_was_interrupted(make_dataset, world, monkeypatch):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 6, first=3)

    remove = shutil.rmtree

    def killed(folder, **options):
        if folder.name.startswith("."):
            return remove(folder, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rescue.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            rescue.rescue(path, False)
    assert Dataset(path).num_episodes == 2
    (action,) = repair(path)
    assert action.message == "saved earlier; removed"
    assert Dataset(path).num_episodes == 2


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
