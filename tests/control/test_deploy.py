"""The real thing: a policy server process, a simulated cell process, and the loop between them."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from scripted_world import SPEC

pytest.importorskip("mujoco", reason="the simulated cell needs MuJoCo")

from robolearn.control import deploy as deploy_module
from robolearn.control.deploy import DeployConfig, deploy, percentiles
from robolearn.core.errors import ConfigError, DeviceError, FeatureError, ServerError
from robolearn.hardware.robot import make_robot


@pytest.fixture
def robots(monkeypatch):
    """The robots that `deploy` makes, to do things to them."""
    made = []
    monkeypatch.setattr(deploy_module, "make_robot", lambda name: made.append(make_robot(name)) or made[-1])
    yield made
    for robot in made:
        assert robot.scene.process is None, "deploy left its cell running"
        assert not list(Path("/dev/shm").glob(f"{robot.scene.name}*"))


def later(delay_s, act):
    timer = threading.Timer(delay_s, act)
    timer.start()
    return timer


def test_results_say_what_happened(server_process, robots, tmp_path):
    _, url = server_process()
    seen = []
    output = tmp_path / "out"
    config = DeployConfig(url, num_episodes=2, init_state=5, output=output, time_limit_s=1.0, token="secret")
    results = deploy(config, seen.append)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(json.dumps(results))
    assert [e["init_state"] for e in results["episodes"]] == [5, 6]
    assert results["episodes"] == seen
    assert (results["success"]["k"], results["success"]["n"]) == (0, 2)
    assert results["success"]["wilson"]["interval"][1] < 0.7
    loop = results["loop"]
    assert sum(loop["histogram"]["counts"]) == loop["ticks"] == loop["lateness_ms"]["n"]
    assert 300 < loop["ticks"] <= 440  # 2 episodes of 1 s at 200 Hz and the braking
    assert set(results["latency_ms"]) == {
        "inference", "server", "round_trip", "observation_to_answer", "observation_age_at_command"
    }  # fmt: skip
    assert results["latency_ms"]["round_trip"]["p50"] < 100
    assert results["config"]["token"] is None


def test_a_server_killed_in_mid_episode_stops_the_arm_and_a_new_one_moves_it_again(server_process, robots):
    process, url = server_process()
    port = int(url.rsplit(":", 1)[1])
    track = []

    def restart():
        server_process(port)

    def watch():
        while not stop.is_set():
            if robots and robots[0].scene.process is not None:
                try:
                    track.append((time.monotonic(), float(robots[0].arm.read().values["observation.state"][0])))
                except DeviceError:
                    pass
            time.sleep(0.01)

    stop = threading.Event()
    killed, restarted = later(2.5, process.kill), later(4.0, restart)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        results = deploy(DeployConfig(url, num_episodes=1, time_limit_s=8.0))
    finally:
        stop.set()
        watcher.join()
        killed.join()
        restarted.join()
    (episode,) = results["episodes"]
    assert episode["safety_stops"] >= 1
    assert episode["requests"]["reconnects"] >= 1
    assert episode["states"]["holding"] > 50
    assert episode["requests"]["answered"] > 10
    steps = [abs(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(track, track[1:], strict=False) if b[0] > a[0]]
    assert max(steps) < 1.0  # nowhere a jump


def test_a_cell_that_dies_in_mid_episode_is_a_device_error_and_finished_episodes_are_kept(
    server_process, robots, tmp_path
):
    _, url = server_process()

    def kill_in_second(episode):
        later(0.5, robots[0].scene.process.kill)

    with pytest.raises(DeviceError, match="simulated cell has ended"):
        deploy(DeployConfig(url, num_episodes=3, output=tmp_path, time_limit_s=1.0), kill_in_second)
    assert len(json.loads((tmp_path / "results.json").read_text())["episodes"]) == 1


def test_results_of_an_earlier_run_do_not_pass_for_those_of_one_that_failed(server_process, robots, tmp_path):
    _, url = server_process()
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ServerError):
        deploy(DeployConfig("ws://127.0.0.1:9", num_episodes=1, output=tmp_path, connect_wait_s=0.1))
    assert (tmp_path / "results.json").exists(), "nothing was run: nothing is lost"

    def kill_once_episodes_have_begun():
        while (tmp_path / "results.json").exists():
            time.sleep(0.02)
        robots[-1].scene.process.kill()

    threading.Thread(target=kill_once_episodes_have_begun, daemon=True).start()
    with pytest.raises(DeviceError):
        deploy(DeployConfig(url, num_episodes=1, output=tmp_path, time_limit_s=20.0))
    assert not (tmp_path / "results.json").exists()


def test_ctrl_c_in_mid_episode_disconnects_everything(server_process, robots):
    _, url = server_process()
    timer = later(3.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            deploy(DeployConfig(url, num_episodes=50, time_limit_s=5.0))
    finally:
        timer.join()


def test_without_a_server_nothing_is_started(robots):
    with pytest.raises(ServerError, match="No policy server answers"):
        deploy(DeployConfig("ws://127.0.0.1:9", connect_wait_s=0.0))


def test_a_policy_for_another_robot_is_refused_before_anything_moves(server_process, robots, monkeypatch):
    _, url = server_process()
    wanted = {"observation_features": [{"name": "observation.stat", "shape": [10]}], "obs_horizon": 1,
              "action_feature": {"name": "action", "shape": [10]}, "action_horizon": 8, "control_hz": 20.0}  # fmt: skip
    monkeypatch.setattr(deploy_module.PolicyClient, "metadata", {"spec": wanted})
    with pytest.raises(FeatureError, match="'observation.stat', which robot 'sim:put_on_plate' lacks"):
        deploy(DeployConfig(url))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "does not say what its policy needs"),
        ({"spec": {}}, "in an unknown way: it lacks 'observation_features'"),
        ({"spec": [1]}, "in an unknown way: found list, expected a map"),
        ({"spec": {**SPEC.to_dict(), "obs_horizon": 10**9}}, "in an unknown way: obs_horizon is 1000000000"),
    ],
)
def test_a_server_without_a_spec_is_refused(server_process, robots, monkeypatch, metadata, message):
    _, url = server_process()
    monkeypatch.setattr(deploy_module.PolicyClient, "metadata", metadata)
    with pytest.raises(ServerError, match=message):
        deploy(DeployConfig(url))


def test_impossible_configurations_are_refused():
    with pytest.raises(ConfigError, match="--num-episodes must be at least 1"):
        DeployConfig(num_episodes=0)
    with pytest.raises(ConfigError, match="--init-state must be at least 0"):
        DeployConfig(init_state=-1)
    with pytest.raises(ConfigError, match="--time-limit-s must be positive, found -1"):
        DeployConfig(time_limit_s=-1.0)


def test_percentiles_of_nothing_are_none():
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None, "max": None, "n": 0}
    assert percentiles([1.0, 2.0, 3.0])["p50"] == 2.0
