"""A new dataset appears whole or not at all, and takes nobody's place."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.unfinished import Unfinished
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.drop import drop
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parent))
from counting_datasets import counting


def test_an_output_that_exists_is_refused_and_kept(tmp_path):
    parent = Dataset(counting(tmp_path / "a.zarr", [1, 1]))
    (tmp_path / "d.zarr").mkdir()
    (tmp_path / "d.zarr" / "mine").touch()
    with pytest.raises(DatasetError, match="exists already"):
        drop(parent, tmp_path / "d.zarr", selection=Selection("0"))
    assert [p.name for p in (tmp_path / "d.zarr").iterdir()] == ["mine"]


def test_no_dataset_is_made_inside_of_another_one(tmp_path):
    parent = counting(tmp_path / "a.zarr", [1, 1])
    (tmp_path / "link").symlink_to(parent)
    files = sorted(path for path in parent.rglob("*"))
    for output in (parent / "d.zarr", tmp_path / "link" / "data" / "d.zarr"):
        with pytest.raises(DatasetError, match="is inside of the dataset .*, which stays as it is"):
            drop(Dataset(parent), output, selection=Selection("0"))
    assert sorted(path for path in parent.rglob("*")) == files


def test_what_a_killed_tool_left_is_cleared_away_but_not_under_one_that_runs(tmp_path):
    path = counting(tmp_path / "a.zarr", [1, 1])
    unfinished = tmp_path / "d.zarr.unfinished"
    code = (
        "import time\nfrom pathlib import Path\nfrom robolearn.datasets.tools.output import new_folder\n"
        f"with new_folder(Path({str(tmp_path / 'd.zarr')!r})) as folder:\n"
        "    folder.mkdir(); (folder / 'half').touch(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(DatasetError, match=f"being written by process {process.pid}"):
            drop(Dataset(path), tmp_path / "d.zarr", selection=Selection("0"))
        assert unfinished.exists()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    drop(Dataset(path), tmp_path / "d.zarr", selection=Selection("0"))
    assert Dataset(tmp_path / "d.zarr").num_episodes == 1
    assert not unfinished.exists()


def test_what_something_else_left_under_the_name_of_the_unfinished_is_kept(tmp_path):
    parent = Dataset(counting(tmp_path / "a.zarr", [1, 1]))
    conversion = Unfinished(tmp_path / "d.zarr")
    DatasetWriter.create(conversion.dataset, {"a": Feature("a", (1,))}, 10).close()
    conversion.begin({})
    conversion.release()
    for output in ("d.zarr", "e.zarr"):
        mine = tmp_path / f"{output}.unfinished" / "mine"
        mine.parent.mkdir(exist_ok=True)
        mine.touch()
        with pytest.raises(DatasetError, match=r"unfinished is in the way and is not ours to remove"):
            drop(parent, tmp_path / output, selection=Selection("0"))
        assert mine.exists()
    assert conversion.dataset.exists()
