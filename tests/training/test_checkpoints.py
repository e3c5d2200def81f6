"""What becomes of the folder of checkpoints when people copy it and put things into it."""

import errno
import fcntl
import json
import os
import re
import shutil
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from world import BC, run_config, write_dataset

from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.policies.checkpoint import load_policy
from robolearn.training.checkpoints import Checkpoints
from robolearn.training.trainer import train

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    config = run_config(write_dataset(tmp_path / "d.zarr"), tmp_path / "run", steps=4, checkpoint_every=2)
    train(config, "bc", BC, quiet=True)
    return config


@pytest.mark.parametrize("left", ["both", "last"], ids=["copied whole", "without the folder that was linked"])
def test_a_run_copied_without_its_link_goes_on(run, tmp_path, left):
    copy = shutil.copytree(run.output, tmp_path / "copy", symlinks=False)
    folder = copy / "checkpoints"
    assert not (folder / "last").is_symlink()
    if left == "last":
        shutil.rmtree(folder / "00000004")
    train(replace(run, output=copy, steps=6, resume=True), "bc", BC, quiet=True)
    assert sorted(p.name for p in folder.iterdir()) == ["00000006", "last"]
    assert (folder / "last").readlink().name == "00000006"


def test_a_folder_that_is_trained_into_is_refused_until_that_run_ends(run):
    later = replace(run, steps=6, resume=True)
    files = {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()}
    with Checkpoints(run.output).held():
        with pytest.raises(ConfigError, match=rf"run is being written by process {os.getpid()}; wait for it"):
            train(later, "bc", BC, quiet=True)
        kept = {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file() and path.name != ".lock"}
        assert kept == files
    train(later, "bc", BC, quiet=True)


@pytest.mark.usefixtures("no_flock")
def test_where_the_file_system_has_no_locks_it_trains_and_others_are_still_refused(run):
    later = replace(run, steps=6, resume=True)
    told = rf"run is being written by process {os.getpid()}; wait for it"
    with Checkpoints(run.output).held(), pytest.raises(ConfigError, match=told):
        train(later, "bc", BC, quiet=True)
    assert train(later, "bc", BC, quiet=True).steps == 6
    assert sorted(path.name for path in run.output.glob(".*")) == []


@pytest.fixture
def no_flock(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))


def test_what_people_put_beside_the_checkpoints_stays(run):
    folder = run.output / "checkpoints"
    mine = shutil.copytree(folder / "00000004", folder / "my_best")
    (folder / "00000003.partial").mkdir()
    train(replace(run, steps=6, resume=True), "bc", BC, quiet=True)
    assert (mine / "model.safetensors").is_file()
    assert sorted(p.name for p in folder.iterdir()) == ["00000006", "last", "my_best"]


@pytest.fixture
def small_disk(disk_of):
    return disk_of("1m")


def fill(disk, leave):
    """Leave so many bytes free."""
    state = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(state.f_bavail * state.f_frsize - leave))


@pytest.mark.parametrize(
    ("leave", "what"), [(0, "the (output folder|configuration|metrics)"), (32768, "the checkpoint of step 4")]
)
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_that_there_is(tmp_path, small_disk, leave, what):
    config = run_config(write_dataset(tmp_path / "d.zarr"), small_disk / "run", steps=2, checkpoint_every=2)
    train(config, "bc", BC, quiet=True)
    before = {file.name: file.read_bytes() for file in (config.output / "checkpoints" / "last").iterdir()}
    fill(small_disk, leave)
    later = replace(config, steps=4, log_every=1, resume=True)
    with pytest.raises(CheckpointError) as error:
        train(later, "bc", BC, quiet=True)
    message = str(error.value)
    assert re.search(f"{what} cannot be written .*No space left on device.*; the checkpoint of step 2 is", message)
    assert "\n" not in message
    assert "the checkpoint of step 2 is intact: mend that, then go on with --resume." in message
    folder = config.output / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["00000002", "last"]
    assert {file.name: file.read_bytes() for file in (folder / "last").iterdir()} == before
    (small_disk / "filler").unlink()
    assert train(later, "bc", BC, quiet=True).steps == 4
    load_policy(config.output)
    lines = (config.output / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if "loss" in json.loads(line)] == [2, 3, 4]


def test_a_full_disk_before_the_first_checkpoint_says_that_there_is_none(tmp_path, small_disk):
    dataset = write_dataset(tmp_path / "d.zarr")
    fill(small_disk, 32768)
    with pytest.raises(CheckpointError, match="there is no checkpoint yet: mend that, then start again"):
        train(run_config(dataset, small_disk / "run", steps=2), "bc", BC, quiet=True)
