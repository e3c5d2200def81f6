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
from robolearn.control.deploy import DeployConfig, deploy
from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import ConfigError, DeviceError, FeatureError, LayoutError, ServerError
from robolearn.core.feature import Feature
from robolearn.hardware.robot import Outcome, Robot, make_robot


@pytest.fixture
def robots(real_time, monkeypatch):
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
    seen, priorities = [], set()

    def note(episode):
        seen.append(episode)
        priorities.update(os.sched_getscheduler(pid) for pid in (0, robots[0].scene.process.pid))

    output = tmp_path / "out"
    config = DeployConfig(url, num_episodes=2, init_state=5, output=output, time_limit_s=1.0, token="secret")
    results = deploy(config, note)
    assert len(priorities) == 1, "loop and cell run at the same priority"
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


def test_a_server_killed_in_mid_episode_stops_the_arm_and_a_new_one_moves_it_in_the_next_episode(
    server_process, robots
):
    process, url = server_process()
    port = int(url.rsplit(":", 1)[1])
    track, said = [], []

    def restart(episode):
        stop.set()
        if episode["init_state"] == 0:
            server_process(port)

    def watch():  # up to the end of the first episode: then the scene is reset
        while not stop.is_set():
            if robots and robots[0].scene.process is not None:
                try:
                    track.append((time.monotonic(), float(robots[0].arm.read().values["observation.state"][0])))
                except DeviceError:
                    pass
            time.sleep(0.01)

    stop = threading.Event()
    killed = later(2.0, process.kill)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        results = deploy(DeployConfig(url, num_episodes=2, time_limit_s=4.5), restart, said.append)
    finally:
        stop.set()
        watcher.join()
        killed.join()
    lost, went_on = results["episodes"]
    assert (lost["outcome"], lost["success"]) == ("aborted", None)
    assert lost["cause"].startswith("server gone: ")
    assert lost["duration_s"] < 4.4
    assert lost["safety_stops"] >= 1
    assert lost["states"]["holding"] > 50
    assert went_on["outcome"] in ("success", "failure")
    assert went_on["requests"]["answered"] > 10
    assert (results["success"]["n"], results["aborted"]) == (1, {"n": 1, "kinds": {"server gone": 1}})
    steps = [abs(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(track, track[1:], strict=False) if b[0] > a[0]]
    assert max(steps) < 1.0  # nowhere a jump


def test_with_a_server_that_stays_away_the_episodes_that_are_left_are_not_run(server_process, robots):
    process, url = server_process()
    seen, said = [], []
    config = DeployConfig(url, num_episodes=3, time_limit_s=0.5, connect_wait_s=0.2)

    def kill(episode):
        seen.append(episode)
        process.kill()

    results = deploy(config, kill, said.append)
    assert [e["outcome"] for e in results["episodes"]] == ["failure", "aborted", "aborted"]
    assert [e["init_state"] for e in seen] == [0, 1]
    assert results["episodes"][2]["cause"].startswith("server gone: not run; ")
    assert said[-1].startswith("Not run: start state 2 (server gone: ")


def test_a_cell_that_dies_in_mid_episode_aborts_that_episode_and_those_that_are_left(server_process, robots, tmp_path):
    _, url = server_process()

    def kill_in_second(episode):
        later(0.5, robots[0].scene.process.kill)

    deploy(DeployConfig(url, num_episodes=3, output=tmp_path, time_limit_s=1.0), kill_in_second)
    results = json.loads((tmp_path / "results.json").read_text())
    assert [e["outcome"] for e in results["episodes"]] == ["failure", "aborted", "aborted"]
    assert results["episodes"][1]["cause"].startswith("device failed: The simulated cell has ended")
    assert results["episodes"][2]["cause"].startswith("device failed: not run; The simulated cell has ended")
    assert 0.2 < results["episodes"][1]["duration_s"] < 1.0
    assert (results["success"]["k"], results["success"]["n"], results["aborted"]["n"]) == (0, 1, 2)


def test_a_fault_in_a_driver_is_raised_and_what_was_found_before_is_kept(server_process, robots, tmp_path):
    _, url = server_process()

    def break_driver(episode):
        robots[0].arm.read = lambda: {}["joint 7"]

    with pytest.raises(KeyError):
        deploy(DeployConfig(url, num_episodes=3, output=tmp_path, time_limit_s=0.3), break_driver)
    results = json.loads((tmp_path / "results.json").read_text())
    kept, faulty = results["episodes"]
    assert (kept["outcome"], faulty["outcome"]) == ("failure", "aborted")
    assert faulty["cause"].startswith("device failed: KeyError: 'joint 7' at ")


def test_where_nothing_measures_the_outcome_the_operator_is_asked(server_process, robots, tmp_path):
    _, url = server_process()
    answers = {0: True, 1: False, 2: None}

    def cover_the_camera(episode=None):
        robots[0].scene.outcome = Outcome

    config = DeployConfig(url, num_episodes=4, time_limit_s=0.3, output=tmp_path)
    results = deploy(config, cover_the_camera, judge=lambda init_state: answers[init_state - 1])
    found = [(e["outcome"], e["success"], e["judged_by"]) for e in results["episodes"]]
    assert found == [
        ("failure", False, "robot"), ("success", True, "operator"), ("failure", False, "operator"),
        ("unjudged", None, None),
    ]  # fmt: skip
    assert (results["success"]["k"], results["success"]["n"], results["unjudged"]) == (1, 3, 1)


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
    deploy(DeployConfig(url, num_episodes=1, output=tmp_path, time_limit_s=20.0))
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["success"], results["aborted"]["n"]) == ({"k": 0, "n": 0, "wilson": None}, 1)


def test_ctrl_c_in_mid_episode_disconnects_everything(server_process, robots):
    _, url = server_process()
    timer = later(3.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            deploy(DeployConfig(url, num_episodes=50, time_limit_s=5.0))
    finally:
        timer.join()


def test_a_robot_that_cannot_be_connected_is_told_before_a_server_is_waited_for(robots):
    said = []
    config = DeployConfig("ws://127.0.0.1:9", robot="sim:put_on_plat", connect_wait_s=60.0)
    with pytest.raises(DeviceError, match="Did you mean 'put_on_plate'"):
        deploy(config, say=said.append)
    assert said == []


def test_without_a_server_nothing_moves_and_nothing_is_left_running(robots):
    with pytest.raises(ServerError, match="No policy server answers"):
        deploy(DeployConfig("ws://127.0.0.1:9", connect_wait_s=0.0))


def test_a_policy_for_another_robot_is_refused_before_anything_moves(server_process, robots, monkeypatch):
    _, url = server_process()
    wanted = {"observation_features": [{"name": "observation.stat", "shape": [10]}], "obs_horizon": 1,
              "action_feature": SPEC.action_feature.to_dict(), "action_horizon": 8, "control_hz": 20.0}  # fmt: skip
    monkeypatch.setattr(deploy_module.PolicyClient, "metadata", {"spec": wanted})
    with pytest.raises(FeatureError, match="'observation.stat', which robot 'sim:put_on_plate' lacks"):
        deploy(DeployConfig(url))


def test_a_policy_of_another_layout_is_refused_before_anything_moves(server_process, robots, monkeypatch):
    _, url = server_process()
    joints = ActionLayout((Part("joints", tuple(f"joint{k}" for k in range(1, 8))), Part("gripper")))
    steps = ActionLayout((Part("pose", reference="current", rotation="axis_angle"), Part("gripper")))
    both = ActionLayout(tuple(Part(kind, arm=arm) for arm in ("left", "right") for kind in ("pose", "gripper")))
    told = {}
    for name, layout in {"joints": joints, "steps": steps, "two arms": both}.items():
        action = Feature("action", (layout.size,), kind="action", layout=layout)
        monkeypatch.setattr(
            deploy_module.PolicyClient, "metadata", {"spec": {**SPEC.to_dict(), "action_feature": action.to_dict()}}
        )
        monkeypatch.setattr(Robot, "command", lambda *_: pytest.fail("the arm was commanded"))
        with pytest.raises(LayoutError) as error:
            deploy(DeployConfig(url))
        told[name] = str(error.value)
    takes = "robot 'sim:put_on_plate' takes an absolute TCP pose with gripper (x, y, z, rot6d, gripper) alone; train it"
    assert told["joints"].startswith(f"the policy answers joints (8 numbers), and {takes}")
    moved = "pose relative to the current one (base axes, axis_angle)"
    assert told["steps"].startswith(f"the policy answers {moved} (7 numbers), and {takes}")
    assert told["two arms"].startswith("the policy moves the arms 'left' and 'right' (20 numbers), and robot 'sim:put")


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
