import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arm_contract import *  # noqa: F403

from robolearn.core.errors import ConfigError, DeviceError
from robolearn.core.shared_record import SharedRecord
from robolearn.execution.command import Command
from robolearn.hardware.arms.registry import ARMS
from robolearn.hardware.arms.simulated import SimulatedArm
from robolearn.hardware.robot import Robot, make_robot
from robolearn.hardware.simulated_cell import SimulatedCell

pytest.importorskip("mujoco", reason="the simulated cell needs MuJoCo")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def arm(real_time) -> Iterator[SimulatedArm]:
    made = SimulatedArm(SimulatedCell("put_on_plate"))
    yield made
    made.disconnect()


@pytest.fixture
def robot(real_time) -> Iterator[Robot]:
    made = make_robot("sim:put_on_plate")
    made.connect()
    yield made
    made.disconnect()


def test_the_registry_names_the_driver():
    assert ARMS.resolve("simulated") is SimulatedArm


def test_a_robot_merges_its_devices(robot):
    sample = robot.read()
    assert {"observation.state", "observation.joint_position", "observation.environment_state"} == set(sample.values)
    assert set(robot.observation_features) == set(sample.values)
    assert 0 <= time.monotonic() - sample.host_time_s < 0.2


def test_prepare_gives_the_same_scene_for_the_same_start_state(robot):
    seen = []
    for init_state in (3, 4, 3):
        robot.prepare(init_state)
        seen.append(robot.read().values["observation.environment_state"])
    assert seen[0] == pytest.approx(seen[2], abs=1e-3)
    assert seen[0] != pytest.approx(seen[1], abs=1e-3)
    assert robot.outcome().success is False


def test_simulated_time_is_real_time(robot):
    first, start = robot.read(), time.monotonic()
    time.sleep(1.0)
    second, elapsed = robot.read(), time.monotonic() - start
    assert second.device_time_s - first.device_time_s == pytest.approx(elapsed, abs=0.1)


def test_a_cell_that_dies_is_a_device_error(robot):
    robot.scene.process.kill()
    robot.scene.process.wait()
    for act in (robot.read, robot.stop, robot.outcome, lambda: robot.prepare(0)):
        with pytest.raises(DeviceError, match=r"^The simulated cell has ended \(killed by SIGKILL\)\.$"):
            act()


def test_a_cell_that_ends_by_itself_is_quoted(robot):
    with pytest.raises(DeviceError, match=r"has ended \(exit status 2\): init_state must be .*, found -1\.$"):
        robot.prepare(-1)


def test_a_cell_has_the_priority_of_who_drives_it(robot):
    """Not one of its own, which would keep its driver from running; raised with it in `test_deploy`."""
    ours, theirs = (
        (os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)) for pid in (0, robot.scene.process.pid)
    )
    assert ours == theirs


def test_a_cell_hears_its_driver_while_the_driver_stands_still_half_way_through_a_command(robot):
    """What used to end it: the writer of a record loses the processor between two bytes."""
    record = robot.scene.record("command")
    robot.command(Command.from_action(robot.read().values["observation.state"]))
    record._numbers[(record.sequence + 1) % len(record._numbers)] = 0  # the next is begun
    time.sleep(0.3)
    robot.scene.check_alive()
    assert 0 <= time.monotonic() - robot.read().host_time_s < 0.2


def test_a_cell_that_hangs_is_noticed_when_its_scene_is_reset(robot):
    os.kill(robot.scene.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeviceError, match="did not reset its scene within 0.2 s"):
            robot.scene.prepare(1, timeout_s=0.2)
    finally:
        os.kill(robot.scene.process.pid, signal.SIGCONT)


def test_disconnecting_leaves_no_process_and_no_shared_memory(robot):
    process, name = robot.scene.process, robot.scene.name
    robot.disconnect()
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(Path("/dev/shm").glob(f"{name}*"))


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sim:put_on_plat", "Unknown environment 'put_on_plat'. Did you mean 'put_on_plate'"),
        ("sim:pusht", "'pusht' cannot run in real time"),
    ],
)
def test_a_cell_that_cannot_start_says_why(name, message):
    robot = make_robot(name)
    with pytest.raises(DeviceError, match=message):
        robot.connect()
    assert not list(Path("/dev/shm").glob(f"{robot.scene.name}*"))


def test_unknown_robots_get_the_closest_name():
    with pytest.raises(ConfigError, match="Unknown robot 'simm'. Did you mean 'sim'"):
        make_robot("simm:put_on_plate")
    with pytest.raises(ConfigError, match="needs an environment; write --robot sim:put_on_plate"):
        make_robot("sim")


@pytest.mark.realtime
def test_the_records_of_a_killed_cell_are_removed_when_its_driver_closes():
    cell = SimulatedCell("put_on_plate")
    cell.start()
    # its whole group: also the resource tracker, which would otherwise remove the records some time later
    os.killpg(cell.process.pid, signal.SIGKILL)
    cell.process.wait()
    cell.close()
    assert not list(Path("/dev/shm").glob(f"{cell.name}*"))


@pytest.mark.realtime
def test_when_driver_and_cell_are_killed_the_next_start_removes_their_records():
    program = """
        from robolearn.hardware.simulated_cell import SimulatedCell
        cell = SimulatedCell("put_on_plate")
        cell.start()
        print(cell.name, cell.process.pid, flush=True)
        cell.process.wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    name, pid = driver.stdout.readline().split()
    os.kill(driver.pid, signal.SIGSTOP)  # so that neither hears of the other's end
    os.killpg(int(pid), signal.SIGKILL)
    driver.kill()
    driver.communicate()
    while is_running(int(pid)):
        time.sleep(0.01)
    SharedRecord.create(f"robolearn_test_{os.getpid()}_next", {"x": ((), "f8")}).close()
    assert not list(Path("/dev/shm").glob(f"{name}_*"))
