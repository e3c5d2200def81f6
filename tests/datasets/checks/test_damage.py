"""Every kind of damage is a finding that names its place; an undamaged dataset has none."""

import json
import os

import fsspec
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.checks import validate
from robolearn.datasets.checks.finding import Finding, summary
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "observation.images.front"


def errors(path, **options):
    return [finding for finding in validate(path, **options) if finding.severity == "error"]


def flip(file, place=0):
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.unlink()
    file.write_bytes(data)


@pytest.mark.parametrize("images", ["sample", "all", "none"])
def test_an_undamaged_dataset_has_no_errors_and_no_warnings_of_damage(make_dataset, images):
    found = validate(make_dataset(30, 40, 35, sim=True), images)
    assert {finding.check for finding in found} <= {"time", "constant", "lag", "black"}
    assert not [finding for finding in found if finding.severity == "error"]


def test_a_flipped_number_is_found_by_file_episode_and_feature(make_dataset):
    path = make_dataset(3, 5)
    flip(path / "data/action/0.0", 4 * 8)  # step 4 is step 1 of episode 1
    (found,) = errors(path)
    assert (found.check, found.file, found.episode, found.feature) == ("checksum", "data/action/0.0", 1, "action")


def test_a_changed_frame_is_named(make_dataset):
    path = make_dataset(3, 5)
    flip(path / f"data/{CAMERA}/5.0.0.0", 300)
    (found,) = errors(path, images="sample")
    assert (found.check, found.file, found.episode, found.step) == ("checksum", f"data/{CAMERA}/5.0.0.0", 1, 2)
    assert errors(path, images="none") == []


def test_a_missing_frame_and_a_missing_chunk_are_named(make_dataset):
    path = make_dataset(3, 5)
    (path / f"data/{CAMERA}/1.0.0.0").unlink()
    (path / "data/action/0.0").unlink()
    found = {finding.file: finding for finding in errors(path)}
    assert found[f"data/{CAMERA}/1.0.0.0"].episode == 0
    assert "the file is missing; episodes 0 to 1 are in it" in found["data/action/0.0"].message


def test_of_a_truncated_chunk_the_rows_that_are_left_are_good(make_dataset):
    path = make_dataset(3, 5)
    chunk = path / "data/action/0.0"
    chunk.write_bytes(chunk.read_bytes()[: 4 * 8])
    (found,) = errors(path)
    assert "the file has 32 bytes, expected 32768" in found.message


@pytest.mark.parametrize("content", [b"", b"{", b'{"metadata": 3}', b"\xff" * 50])
def test_damaged_metadata_is_a_finding_and_the_rest_is_checked(make_dataset, content):
    path = make_dataset(3, 5)
    (path / ".zmetadata").write_bytes(content)
    flip(path / "data/action/0.0", 4 * 8)
    assert [(f.check, f.file) for f in errors(path)] == [("checksum", "data/action/0.0"), ("metadata", ".zmetadata")]


def test_metadata_that_cannot_be_rebuilt_is_one_finding(make_dataset):
    path = make_dataset(3)
    (path / ".zmetadata").unlink()
    (path / ".zattrs").write_bytes(b'{"robolearn_format": 1}')
    (found,) = validate(path)
    assert found.check == "metadata" and "copies do not help" in found.message


def test_a_lost_or_changed_record_is_named(make_dataset):
    path = make_dataset(3, 5)
    chunk = path / "meta/episodes/0"
    chunk.write_bytes(chunk.read_bytes().replace(b'"count"', b'"cOunt"', 1))
    found = {(f.check, f.episode, f.file) for f in errors(path)}
    assert ("files", 0, "meta/episodes/0") in found and ("records", 0, None) in found
    chunk.write_bytes(chunk.read_bytes()[:40])
    assert any(f.file == "meta/episodes/0" and "holds 0 of 2" in f.message for f in errors(path))


def test_ends_that_differ_from_the_records_are_found(make_dataset):
    path = make_dataset(3, 5)
    flip(path / "meta/episode_ends/0")
    assert {(f.check, f.episode) for f in errors(path)} >= {("metadata", 0)}


def test_a_stale_copy_is_a_warning(make_dataset):
    path = make_dataset(3)
    (path / "data/action/.zarray").write_bytes(b"{}")
    (found,) = [f for f in validate(path) if f.check == "copies"]
    assert (found.severity, found.file) == ("warning", "data/action/.zarray")


def test_a_changed_simulator_model_is_found(tmp_path, world):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, world.features, fps=10) as w:
        w.set_sim_model("<mujoco/>", {"name": "x", "scene_version": 1})
        world.record(w, 3, sim=True)
    (model,) = (path / "sim/models").iterdir()
    model.write_text("<mujoco> </mujoco>")
    (found,) = errors(path)
    assert found.file == f"sim/models/{model.name}" and "sha256" in found.message


def test_a_damaged_edit_is_named_by_its_line(make_dataset):
    path = make_dataset(3)
    for name in ("a", "b", "c"):
        set_mask(path, name, [0])
    flip(path / "meta/edits.jsonl", 100)
    (found,) = errors(path)
    assert found.file == "meta/edits.jsonl" and "line " in found.message


def test_a_torn_edit_is_a_warning(make_dataset):
    path = make_dataset(3)
    set_mask(path, "a", [0])
    file = path / "meta/edits.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    (found,) = [f for f in validate(path) if f.file == "meta/edits.jsonl"]
    assert (found.severity, found.check) == ("warning", "metadata")


def test_unfinished_episodes_and_leftovers_are_told(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 2, first=3)
        assert any(f.message == f"process {os.getpid()} is writing this dataset" for f in validate(path))
    (path / "data/action/7.0").write_bytes(b"")
    found = {f.severity: f for f in validate(path) if f.check == "leftovers"}
    assert found["warning"].file.startswith("pending/")
    assert found["info"].file == "data/action" and "1 files past the end" in found["info"].message


def test_episodes_in_quarantine_are_not_checked(make_dataset):
    path = make_dataset(3, 5)
    flip(path / "data/action/0.0", 4 * 8)
    set_mask(path, "quarantine", [1])
    assert errors(path) == []
    assert any(f.check == "quarantine" and "1 in quarantine" in f.message for f in validate(path))


def test_a_dataset_behind_a_url_is_checked(make_dataset):
    path = make_dataset(3, 5)
    flip(path / "data/action/0.0", 4 * 8)
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/checked.zarr", recursive=True)
    try:
        (found,) = errors("memory://checked.zarr")
    finally:
        memory.rm("/checked.zarr", recursive=True)
    assert (found.file, found.episode) == ("data/action/0.0", 1)


def test_what_is_no_dataset_raises(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        validate(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="is not a dataset"):
        validate(tmp_path / "empty")
    with pytest.raises(ConfigError, match="Did you mean 'sample'"):
        validate(tmp_path, "samples")


def test_progress_is_told_once_an_episode(make_dataset):
    seen = []
    validate(make_dataset(2, 2, 2), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_finding_is_one_line_and_json():
    finding = Finding(
        severity="error", check="checksum", message="differs", file="data/a/0", episode=3, feature="a", step=7
    )
    assert finding.line() == "error    checksum    episode 3, a, step 7: differs [data/a/0]"
    assert json.loads(json.dumps(finding.to_dict())) == {
        "severity": "error", "check": "checksum", "file": "data/a/0", "episode": 3, "feature": "a", "step": 7,
        "message": "differs",
    }  # fmt: skip
    assert summary([finding]) == "1 error, 0 warnings, 0 infos"
