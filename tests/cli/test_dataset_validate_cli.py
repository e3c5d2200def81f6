"""`robolearn dataset validate` and `repair`: exit status, lines and json."""

import json

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, features([Feature("action", (2,), kind="action")]), 20) as writer:
        for episode in range(3):
            writer.start_episode()
            for k in range(30):
                writer.append(0.05 * k, {"action": np.array([k * k, np.sin(k + episode)], np.float32)})
            writer.commit({"task": "lift", "success": True})
    return path


def damage(path):
    chunk = path / "data/action/0.0"
    data = bytearray(chunk.read_bytes())
    data[35 * 8] ^= 1
    chunk.write_bytes(data)


def test_a_sound_dataset_is_status_0_with_a_summary(dataset, capsys):
    assert main(["dataset", "validate", str(dataset), "--strict"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 errors, 0 warnings, 1 info." and "a sample" not in lines[0]
    assert lines[0].startswith("info     time        grid at 20 Hz")


def test_what_was_done_about_images_is_told_where_there_are_some(tmp_path, capsys):
    camera = Feature("observation.images.front", (8, 8, 3), "uint8", "image")
    with DatasetWriter.create(tmp_path / "d.zarr", features([camera]), 20) as writer:
        writer.start_episode()
        writer.append(0.0, {camera.name: np.full((8, 8, 3), 90, np.uint8)})
        writer.commit({})
    assert main(["dataset", "validate", str(tmp_path / "d.zarr"), "--images", "all"]) == 0
    assert capsys.readouterr().out.endswith(" Images: every frame looked at.\n")


def test_errors_are_status_1_and_come_first(dataset, capsys):
    damage(dataset)
    assert main(["dataset", "validate", str(dataset)]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        "error    checksum    episode 1, action: the bytes are not those that were recorded [data/action/0.0]"
    )


def test_warnings_are_status_1_only_when_strict(dataset, capsys):
    (dataset / "data/action/.zarray").write_text("{}")
    assert main(["dataset", "validate", str(dataset)]) == 0
    assert main(["dataset", "validate", str(dataset), "--strict"]) == 1
    assert "0 errors, 1 warning, 1 info" in capsys.readouterr().out


def test_findings_as_json(dataset, capsys):
    damage(dataset)
    assert main(["dataset", "validate", str(dataset), "--json", "--images", "none"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["error"], told["warning"]) == (1, 0)
    assert told["findings"][0]["episode"] == 1 and told["findings"][0]["file"] == "data/action/0.0"


@pytest.mark.parametrize("verb", ["validate", "repair"])
def test_what_is_no_dataset_is_status_2_and_one_line(tmp_path, verb, capsys):
    (tmp_path / "x").mkdir()
    assert main(["dataset", verb, str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_repair_prints_what_it_did_and_then_that_nothing_is_left(dataset, capsys):
    damage(dataset)
    assert main(["dataset", "repair", str(dataset), "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("Nothing was changed (--dry-run).\n")
    assert Dataset(dataset).masks == {}
    assert main(["dataset", "repair", str(dataset)]) == 0
    assert capsys.readouterr().out.startswith("quarantine  episode 1: data/action is not what was recorded")
    assert main(["dataset", "repair", str(dataset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dry_run": False, "actions": []}
    assert main(["dataset", "repair", str(dataset)]) == 0
    assert capsys.readouterr().out == "Nothing to repair.\n"
    assert main(["dataset", "validate", str(dataset)]) == 0
