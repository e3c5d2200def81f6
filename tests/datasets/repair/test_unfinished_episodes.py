"""Episodes that were recorded and never committed are saved as far as they are whole, and nothing of them is lost."""

import errno
import json
import shutil
import sys
from pathlib import Path

import pytest

from robolearn.core.errors import DatasetError
from robolearn.datasets.checks import validate
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair import unfinished_episodes as rescue
from robolearn.datasets.repair.run import repair
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parent))
from damage import flip, is_sound


def the_journal(path):
    (journal,) = (p for p in (path / "pending").iterdir() if p.is_dir() and not p.name.startswith("."))
    return journal


def change_header(journal, change):
    """As another program would have written it: with the right checksum."""
    header = json.loads(change((journal / "header.json").read_bytes()))
    header.pop("crc32")
    (journal / "header.json").write_bytes(layout.sealed_json(header))


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
