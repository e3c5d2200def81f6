"""`robolearn dataset convert --to FORMAT`."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.writer import DatasetWriter


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


@pytest.fixture
def filmed(tmp_path: Path) -> Path:
    """40 episodes of 20 frames of noise, which takes a while to encode."""
    described = features([Feature("action", (2,), kind="action"), Feature("camera", (96, 96, 3), "uint8", "image")])
    rng, path = np.random.default_rng(0), tmp_path / "filmed.zarr"
    with DatasetWriter.create(path, described, fps=10, durable=False) as writer:
        for _ in range(40):
            writer.start_episode()
            for step in range(20):
                values = {"action": np.zeros(2, np.float32), "camera": rng.integers(0, 256, (96, 96, 3), np.uint8)}
                writer.append(0.1 * step, values)
            writer.commit({"task": "noise"})
    return path


@pytest.mark.realtime
def test_an_export_killed_half_way_is_gone_on_with(filmed, tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    arguments = ["dataset", "convert", "--input", str(filmed), "--to", "lerobot_v3", "--video", "h264"]
    parts = tmp_path / "theirs.unfinished" / "parts" / "camera"
    command = [sys.executable, "-m", "robolearn", *arguments, "--workers", "1", "--output", str(tmp_path / "theirs")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (parts.is_dir() and len(list(parts.glob("e*.mp4"))) >= 2) and process.poll() is None:
        assert time.monotonic() < deadline, "the export made no parts"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "theirs").exists()
    assert 2 <= len(list(parts.glob("e*.mp4"))) < 40, "the process was killed too early or too late to say anything"
    assert convert(filmed, tmp_path / "theirs", *arguments[4:], "--resume") == 0
    assert convert(filmed, tmp_path / "whole", *arguments[4:]) == 0
    for file in sorted((tmp_path / "whole").rglob("*")):
        if file.is_file():
            assert (tmp_path / "theirs" / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes()
