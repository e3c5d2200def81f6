import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robolearn.cli.stages import MemoryWatch, StageRunner, tree_memory_bytes
from robolearn.core.errors import RobolearnError


def processes_mentioning(text: str) -> list[str]:
    """Command lines of running processes that contain `text`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and str(os.getpid()) != entry.parent.name:
            found.append(command)
    return found


@pytest.mark.slow
def test_a_quick_demo_runs_every_part_and_writes_one_page(tmp_path):
    output = tmp_path / "demo"
    command = [sys.executable, "-m", "robolearn", "demo", "--quick", "--output", str(output), "--num-threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for stage in ("record", "train", "evaluate", "serve", "deploy"):
        assert f"== {stage}:" in done.stdout
    summary = json.loads((output / "demo.json").read_text())
    assert summary["eval_success"].endswith("/2") and summary["deploy_success"].endswith("/1")
    assert 0 < summary["peak_memory_gb"] < 3.0
    page = (output / "report.html").read_text()
    assert "data:video/mp4" in page and "data:image" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert not processes_mentioning(str(output))


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_all_it_started(tmp_path):
    output = tmp_path / "demo"
    process = subprocess.Popen(
        [sys.executable, "-m", "robolearn", "demo", "--quick", "--num-episodes", "500", "--output", str(output)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while not list((output / "demos.zarr").glob("data/*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in text
    deadline = time.monotonic() + 10
    while processes_mentioning(str(output)):
        assert time.monotonic() < deadline, processes_mentioning(str(output))
        time.sleep(0.1)


@pytest.mark.slow
def test_a_failing_stage_is_named():
    with pytest.raises(RobolearnError, match=r"'evaluate' ended \(exit status 2\)"):
        StageRunner().run("evaluate", ["eval", "--policy", "/nowhere", "--env", "put_on_plate"])


def test_a_policy_server_that_ends_is_not_said_to_be_slow():
    told = r"The policy server ended \(exit status 2\); its lines above say why"
    with pytest.raises(RobolearnError, match=told), StageRunner().serving(["serve", "--port", "many"]):
        raise AssertionError("there is no address")


def test_memory_of_children_is_counted():
    alone = tree_memory_bytes(os.getpid())
    code = "import sys; block = bytearray(120_000_000); print('ready', flush=True); sys.stdin.read()"
    with MemoryWatch(interval_s=0.02) as watch:
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        assert tree_memory_bytes(os.getpid()) - alone > 100e6
        deadline = time.monotonic() + 10
        while watch.peak_bytes < alone + 100e6 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.communicate("")
    assert watch.peak_bytes > alone + 100e6
