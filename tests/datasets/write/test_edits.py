"""Label edits and masks: laid over the records, never lost, never in the way of whoever records."""

import json
import multiprocessing
import os
import zlib

import numpy as np
import pytest

from robolearn.core.errors import DatasetError
from robolearn.datasets.read.edits import EDITS, read_edits, scan_edits
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import edit_episodes, mend_edits, remove_mask, set_mask
from robolearn.datasets.write.writer import DatasetWriter


def labels(path, field):
    return [record.get(field) for record in Dataset(path).episodes]


def contents(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "edits.jsonl"}


def test_edited_labels_are_laid_over_the_records(make_dataset):
    path = make_dataset(1, 1, 1, 1)
    before = contents(path)
    edit_episodes(path, [0, 1, 3], {"success": True, "task": "stack"})
    edit_episodes(path, [1], {"success": None, "notes": "cable in view"})
    assert labels(path, "success") == [True, None, None, True]
    assert labels(path, "task") == ["stack", "stack", "count", "stack"]
    assert labels(path, "notes") == [None, "cable in view", None, None]
    dataset = Dataset(path)
    assert [record["task"] for record in dataset.recorded_episodes] == ["count"] * 4
    assert dataset.read_episode(1).record["notes"] == "cable in view"
    assert contents(path) == before


def test_every_line_says_who_and_when_and_has_its_checksum(make_dataset):
    path = make_dataset(1, 1, 1, 1)
    edit_episodes(path, [3, 0, 1, 1], {"grade": 4}, by="anna")
    set_mask(path, "train", [])
    first, _ = (path / EDITS).read_bytes().splitlines()
    crc, _, text = first.partition(b" ")
    assert int(crc, 16) == zlib.crc32(text)
    assert json.loads(text).items() >= {"by": "anna", "episodes": [[0, 2], [3, 4]], "labels": {"grade": 4}}.items()
    label, mask = read_edits(path)
    assert (label.by, label.episodes, label.labels, label.mask) == ("anna", ((0, 2), (3, 4)), {"grade": 4}, None)
    assert (mask.mask, mask.episodes, mask.labels) == ("train", (), None)
    assert label.at <= mask.at
    assert mask.by


def test_a_mask_replaces_the_one_of_its_name_until_it_is_removed(make_dataset):
    path = make_dataset(1, 1, 1, 1)
    set_mask(path, "train", [0, 1, 2])
    set_mask(path, "valid-2", [3])
    set_mask(path, "train", [1])
    dataset = Dataset(path)
    assert {name: mask.tolist() for name, mask in dataset.masks.items()} == {
        "train": [False, True, False, False],
        "valid-2": [False, False, False, True],
    }
    assert not dataset.mask("quarantine").any()
    with pytest.raises(ValueError, match="read-only"):
        dataset.mask("train")[0] = True
    remove_mask(path, "train")
    assert list(Dataset(path).masks) == ["valid-2"]
    with pytest.raises(DatasetError, match=r"Unknown mask 'valid'. Did you mean 'valid-2'\?"):
        Dataset(path).mask("valid")
    with pytest.raises(DatasetError, match="Unknown mask 'train'"):
        remove_mask(path, "train")
    assert len(read_edits(path)) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sucess": True}, r"no episode has a field 'sucess'. Did you mean 'success'\?"),
        ({"oprator": "x"}, "Did you mean 'operator'"),
        ({"num_steps": 3}, "'num_steps' is a fact of the recording and cannot be edited; labels are"),
        ({"success": "yes"}, "'success' must be true, false or null, found 'yes'"),
        ({"task": 3}, "'task' must be a text or null"),
        ({"rate_hz": 5}, "'rate_hz' is a fact of the recording and cannot be edited; labels are notes, operator, succ"),
        ({"late_ticks": 0}, "'late_ticks' is a fact of the recording"),
        ({"grade": float("nan")}, "cannot be stored as json"),
        ({}, "nothing to edit"),
    ],
)
def test_labels_that_cannot_be_are_refused(make_dataset, world, fields, message):
    path = make_dataset(1)
    with DatasetWriter.append_to(path) as writer:
        world.record(writer, 1, operator="anna")
    with pytest.raises(DatasetError, match=message):
        edit_episodes(path, [0], fields)
    assert not (path / EDITS).exists()


def test_wrong_episodes_and_names_are_refused(make_dataset, tmp_path):
    path = make_dataset(1, 1)
    for attempt, message in [
        (lambda: edit_episodes(path, [0, 2], {"task": "x"}), "has no episode 2; it has 2"),
        (lambda: set_mask(path, "train", [-1]), "has no episode -1; it has 2"),
        (lambda: set_mask(path, "a/b", [0]), "cannot be called 'a/b'"),
        (lambda: set_mask(path, "..", [0]), "cannot be called '..'"),
        (lambda: set_mask(path, "", [0]), "cannot be called ''"),
        (lambda: set_mask(tmp_path / "none.zarr", "a", [0]), "does not exist"),
    ]:
        with pytest.raises(DatasetError, match=message):
            attempt()
    assert not (path / EDITS).exists()


def test_a_mask_set_after_more_was_recorded_does_not_surprise_an_open_reader(make_dataset, world):
    path = make_dataset(1, 1)
    early = Dataset(path)
    with DatasetWriter.append_to(path) as writer:
        world.record(writer, 1)
        set_mask(path, "late", [1, 2])
        edit_episodes(path, [1, 2], {"task": "new"})
        world.record(writer, 1)
    assert early.mask("late").tolist() == [False, True]
    assert [record["task"] for record in early.episodes] == ["count", "new"]
    assert labels(path, "task") == ["count", "new", "new", "count"]


def test_a_torn_last_line_was_never_acknowledged(make_dataset):
    path = make_dataset(1, 1)
    set_mask(path, "train", [0])
    whole = (path / EDITS).read_bytes()
    set_mask(path, "train", [1])
    both = (path / EDITS).read_bytes()
    for cut in range(len(whole) + 1, len(both)):
        (path / EDITS).write_bytes(both[:cut])
        assert Dataset(path).mask("train").tolist() == [True, False]
    set_mask(path, "valid", [1])
    assert [edit.mask for edit in read_edits(path)] == ["train", "valid"]


def test_a_damaged_line_is_named_and_can_be_mended(make_dataset, tmp_path):
    path = make_dataset(1, 1)
    for episode in (0, 1):
        edit_episodes(path, [episode], {"success": True})
        set_mask(path, "train", [episode])
    data = bytearray((path / EDITS).read_bytes())
    data[data.index(b"\n") + 40] ^= 4
    (path / EDITS).write_bytes(data)
    with pytest.raises(DatasetError, match=r"edits.jsonl, line 2 is damaged \(its checksum does not match\)"):
        Dataset(path).episodes  # noqa: B018
    edits, damaged = scan_edits(path)
    assert (len(edits), list(damaged)) == (3, [2])
    assert mend_edits(path, tmp_path / "aside") == [2]
    assert (tmp_path / "aside").read_bytes() == data
    assert read_edits(path) == edits
    assert mend_edits(path, tmp_path / "again") == []
    assert not (tmp_path / "again").exists()


def test_lines_that_mean_nothing_are_damaged_even_with_a_right_checksum(make_dataset):
    path = make_dataset(1)
    for text in [
        b"[]",
        b'{"at": "", "by": ""}',
        b'{"at": "", "by": "", "episodes": [[3, 1]], "mask": "a"}',
        b'{"at": "", "by": "", "episodes": [[0, 1]]}',
        b'{"at": "", "by": "", "episodes": null, "labels": {"task": "x"}}',
        b'{"at": "", "by": "", "episodes": [["x", 1]], "mask": "a"}',
        b"\xff",
    ]:
        (path / EDITS).write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
        with pytest.raises(DatasetError, match="line 1 is damaged"):
            read_edits(path)


def _edit_often(path, name, count):
    for k in range(count):
        edit_episodes(path, [k % 2], {name: k})


def test_editors_and_a_recorder_at_the_same_time_lose_nothing(make_dataset, world):
    """Three processes make 20 edits each while episodes are recorded."""
    path = make_dataset(1, 1)
    context = multiprocessing.get_context("fork")
    editors = [context.Process(target=_edit_often, args=(path, name, 20)) for name in ("aa", "zz", "qq")]
    for editor in editors:
        editor.start()
    with DatasetWriter.append_to(path) as writer:
        for _ in range(5):
            world.record(writer, 2)
    for editor in editors:
        editor.join()
        assert editor.exitcode == 0
    edits = read_edits(path)
    for name in ("aa", "zz", "qq"):
        assert [edit.labels[name] for edit in edits if name in edit.labels] == list(range(20))
    dataset = Dataset(path)
    assert (dataset.num_episodes, dataset.episodes[1]["zz"]) == (7, 19)


def test_a_full_disk_leaves_the_journal_as_it_was(make_dataset, monkeypatch):
    path = make_dataset(1)
    set_mask(path, "train", [0])
    before = (path / EDITS).read_bytes()
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: real(file, data[:10], offset))
    with pytest.raises(DatasetError, match="No space left on device"):
        set_mask(path, "valid", [0])
    assert (path / EDITS).read_bytes() == before


def test_edits_change_no_checksum_of_the_content(make_dataset):
    path = make_dataset(2)
    before = Dataset(path).checksum()
    edit_episodes(path, np.array([0]), {"task": "other"})
    assert Dataset(path).checksum() == before
    Dataset(path).verify_episode(0)
