"""`robolearn dataset view` as a real process: it prints an address that works, and ends on Ctrl-C."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.writer import DatasetWriter


@pytest.fixture
def path(tmp_path):
    with DatasetWriter.create(
        tmp_path / "d.zarr", features([Feature("action", (1,), kind="action")]), fps=10
    ) as writer:
        for _ in range(2):
            writer.start_episode()
            writer.append(0.0, {"action": np.zeros(1, np.float32)})
            writer.commit({})
    return tmp_path / "d.zarr"


@pytest.mark.slow
def test_it_serves_until_ctrl_c(path):
    command = [sys.executable, "-m", "robolearn", "dataset", "view", str(path), "--no-browser", "--episode", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url, episode = re.search(r"(http://127\.0\.0\.1:\d+/\S+/)#episode=(\d)", process.stdout.readline()).groups()
        assert episode == "1"
        with urllib.request.urlopen(f"{url}api/dataset", timeout=20) as answer:
            assert json.load(answer)["num_episodes"] == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--episode", "2"], "has no episode 2"), (["--port", "70000"], "--port must be 0 to 65535, found 70000")],
)
def test_what_cannot_be_shown_is_refused_in_one_line(path, capsys, options, message):
    assert main(["dataset", "view", str(path), "--no-browser", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_missing_dataset_is_refused(tmp_path, capsys):
    assert main(["dataset", "view", str(tmp_path / "no.zarr"), "--no-browser"]) == 2
    assert "does not exist" in capsys.readouterr().err
