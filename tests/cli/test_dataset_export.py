"""`robolearn dataset convert --to FORMAT`."""

import json
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.writer import DatasetWriter


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "ours.zarr"
    with DatasetWriter.create(path, features([Feature("action", (2,), kind="action")]), fps=10) as writer:
        writer.start_episode()
        for step in range(3):
            writer.append(0.1 * step, {"action": np.full(2, step, np.float32)})
        writer.commit({"task": "count"})
    return path


def convert(dataset: Path, output: Path, *options: str) -> int:
    return main(["dataset", "convert", "--input", str(dataset), "--output", str(output), *options])


def test_a_dataset_is_written_in_another_format(dataset, tmp_path, capsys):
    pytest.importorskip("h5py")
    assert convert(dataset, tmp_path / "theirs.hdf5", "--to", "robomimic_hdf5", "--json") == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["format"], report["num_episodes"], report["num_steps"]) == ("robomimic_hdf5", 1, 3)
    assert "note: next_obs" in said.err
    assert (tmp_path / "theirs.hdf5").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "lerobot"), "Did you mean 'lerobot_v3'?"),
        (("--to", "diffusion_policy_zarr", "--mask", "train"), "Unknown mask 'train'"),
        (("--to", "lerobot_v3", "--crf", "99"), "--crf is 0 to 63"),
    ],
)
def test_a_mistake_is_one_line(dataset, tmp_path, capsys, options, message):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    assert convert(dataset, tmp_path / "theirs", *options) != 0
    said = capsys.readouterr().err
    assert message in said and said.strip().count("\n") == 0
    assert not list(tmp_path.glob("theirs*"))
