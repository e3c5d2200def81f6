import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import make_policy, save_policy
from robolearn.policies.registry import POLICIES
from robolearn.serving.client import PolicyClient


@pytest.fixture
def checkpoint(tmp_path):
    """An untrained policy, as a directory."""
    observation, action = Feature("observation.state", (3,)), Feature("action", (2,), kind="action")
    everything = features([observation, action])
    corners = {"observation.state": np.eye(3, dtype=np.float32), "action": np.eye(2, dtype=np.float32)}
    spec = PolicySpec(features([observation]), action, obs_horizon=1, action_horizon=4, control_hz=10.0)
    policy = make_policy("bc", POLICIES.resolve("bc").Config(), spec, Normalizer.fit(corners, everything))
    save_policy(tmp_path / "policy", "bc", policy, policy.state_dict(), {})
    return tmp_path / "policy"


def user_sees(capfd, *arguments):
    status = main(["serve", *map(str, arguments)])
    return status, capfd.readouterr().err.strip()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_serve_offers_a_checkpoint_until_ctrl_c_or_its_terminal_is_closed(checkpoint, number):
    command = [sys.executable, "-m", "robolearn", "serve", "--policy", str(checkpoint), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert re.search(r"warm, [0-9.]+ ms an inference", process.stdout.readline())
        line = process.stdout.readline()
        assert line.startswith("listening on ws://127.0.0.1:")
        with PolicyClient(line.split()[-1]) as client:
            spec = PolicySpec.from_dict(client.metadata["spec"])
            assert (spec.action_horizon, spec.control_hz) == (4, 10.0)
            answer = client.infer({"observation.state": np.zeros((1, 3), np.float32)})
            assert answer["actions"].shape == (4, 2)
        process.send_signal(number)
        if number == signal.SIGHUP:
            process.send_signal(number)  # told by the kernel and by the shell
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


def test_a_missing_policy_is_one_line(capfd, tmp_path):
    status, error = user_sees(capfd, "--policy", tmp_path / "nowhere")
    assert status == 2
    assert error.startswith("error: No policy at ")
    assert "\n" not in error


def test_a_taken_port_is_one_line(capfd, checkpoint):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, error = user_sees(capfd, "--policy", checkpoint, "--port", port)
    assert status == 2
    assert error == (
        f"error: Port {port} on 127.0.0.1 is taken by another program; "
        f"choose another with --port {port + 1}, or --port 0 for any free one."
    )


def test_an_open_address_without_a_token_is_refused(capfd, tmp_path, monkeypatch):
    monkeypatch.delenv("ROBOLEARN_TOKEN", raising=False)
    status, error = user_sees(capfd, "--policy", tmp_path, "--host", "0.0.0.0")
    assert status == 2
    assert "set a token in ROBOLEARN_TOKEN" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["--polcy", "x"],
        ["--policy", "x", "--port", "many"],
        ["--policy", "x", "--port", "70000"],
        ["--policy", "x", "--num-threads", "0"],
        [],
    ],
)
def test_bad_options_are_one_line(capfd, arguments):
    status, error = user_sees(capfd, *arguments)
    assert status == 2
    assert error.startswith("error: ")
    assert "\n" not in error
