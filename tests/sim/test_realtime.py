import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DeviceError, LayoutError
from robolearn.core.feature import Feature, features
from robolearn.sim.realtime import Cell, CellOptions, _run, run_cell


class PointMass:
    """A TCP that goes to its target at 1 m/s, along x, with a bar in its gripper; 2 ms physics, like the real ones."""

    timestep_s = 0.002
    control_hz = 20.0
    max_steps = 100
    workspace_low_m = (0.0, -1.0, 0.0)
    workspace_high_m = (1.0, 1.0, 1.0)
    observation_features = features([Feature("observation.state", (10,))])

    def reset(self, *, seed=None, options=None):
        self.steps, self.x = 0, 0.1 * options["init_state"]
        self.target_x = self.x

    @property
    def time_s(self):
        return self.steps * self.timestep_s

    def set_target(self, action):
        self.target_x, self.target_gripper = float(action[0]), float(action[9])

    def advance(self, substeps):
        self.steps += substeps
        reach = substeps * self.timestep_s
        self.x += float(np.clip(self.target_x - self.x, -reach, reach))

    def observe(self):
        return {"observation.state": np.array([self.x, 0, 0, 1, 0, 0, 0, 1, 0, 0.35], np.float32)}

    def task_info(self):
        return {"success": False, "score": 0.0}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start_s=100.0)


@pytest.fixture
def cell(clock) -> Cell:
    return Cell(PointMass(), clock, command_timeout_s=0.2)


def go_to(x: float, stop: bool = False, gripper: float = 1.0) -> dict:
    return {"position": np.array([x, 0, 0]), "rotation": np.eye(3), "gripper": gripper, "stop": stop}


def run(cell: Cell, clock: VirtualClock, duration_s: float, command: dict | None = None) -> None:
    for _ in range(round(duration_s / 0.004)):
        clock.advance(0.004)
        if command is not None:
            cell.command(command)
        cell.tick()


def test_simulated_time_stays_level_with_the_clock(cell, clock):
    run(cell, clock, 2.0)
    assert cell.env.time_s == pytest.approx(2.0, abs=0.002)
    assert cell.sample_time_s == pytest.approx(clock.now(), abs=0.002)
    assert cell.overruns == 0


def test_a_short_delay_is_caught_up_within_one_tick(cell, clock):
    clock.advance(0.040)
    cell.tick()
    assert cell.env.time_s == pytest.approx(0.040, abs=0.002)
    assert cell.overruns == 0


def test_a_long_delay_is_lost_time_and_never_run_off_in_a_rush(cell, clock):
    clock.advance(1.0)
    cell.tick()
    assert cell.env.time_s == pytest.approx(0.05)
    assert (cell.overruns, cell.lost_s) == (1, pytest.approx(0.95))
    run(cell, clock, 1.0)
    assert cell.env.time_s == pytest.approx(1.05, abs=0.002)
    assert cell.sample_time_s == pytest.approx(clock.now(), abs=0.002)
    assert cell.overruns == 1


def test_commands_are_followed_and_a_missing_one_ends_the_motion(cell, clock):
    """At 1 m/s when the last command is 0.2 s old; braking at 3 m/s2 takes 1/6 m more."""
    cell.command(go_to(10.0))
    run(cell, clock, 0.196)
    assert not cell.holding
    before = cell.env.x
    run(cell, clock, 1.0)
    assert cell.holding
    assert cell.env.x == pytest.approx(before + 1 / 6, abs=0.01)


def test_repeated_commands_keep_it_going(cell, clock):
    run(cell, clock, 1.0, go_to(10.0))
    assert not cell.holding
    assert cell.env.x == pytest.approx(1.0, abs=0.01)


def test_stop_is_obeyed_at_once_and_ends_with_the_next_command(cell, clock):
    run(cell, clock, 0.5, go_to(10.0))
    run(cell, clock, 0.5, go_to(0.0, stop=True))
    assert cell.holding
    assert cell.env.x == pytest.approx(0.5 + 1 / 6, abs=0.01)
    run(cell, clock, 0.1, go_to(10.0))
    assert not cell.holding


def test_a_reset_starts_the_scene_now_and_voids_the_command(cell, clock):
    run(cell, clock, 1.0, go_to(10.0))
    cell.reset(3)
    assert cell.holding
    assert cell.observation["observation.state"][0] == pytest.approx(0.3)
    run(cell, clock, 0.5)
    assert cell.env.x == pytest.approx(0.3)
    assert cell.env.time_s == pytest.approx(0.5, abs=0.002)


def test_an_arm_that_holds_does_not_let_go(cell, clock):
    """The fingers are held open by the bar: to command what is measured would be to stop pressing."""
    run(cell, clock, 0.5, go_to(10.0, gripper=0.0))
    run(cell, clock, 1.0)
    assert cell.holding
    assert cell.env.target_gripper == 0.0


class Stop(Exception):
    pass


class ResetRequested:
    """Records whose reader asks once for start state 3; notes what is published, and stops after a few ticks."""

    class Silent:
        sequence = 0
        writer_alive = True

    class Request:
        sequence = 1

        def read(self):
            return {"reset": 1, "init_state": 3}, 1

    def __init__(self):
        self.command, self.request, self.published = self.Silent(), self.Request(), []

    def publish(self, cell, tick):
        self.published.append(("state", round(float(cell.observation["observation.state"][0]), 6)))
        if len(self.published) > 5:
            raise Stop

    def publish_task(self, cell, reset):
        self.published.append(("task", reset))


def test_who_is_told_that_a_reset_is_done_never_sees_the_scene_before_it(cell, clock):
    records = ResetRequested()
    with pytest.raises(Stop):
        _run(cell, records, clock, 0.004)
    assert ("state", 0.3) in records.published[: records.published.index(("task", 1))]


def test_a_cell_that_cannot_keep_up_leaves_the_processor_to_others_between_ticks(cell, clock):
    """Every tick takes three periods: time is lost and said, and there is a rest each time."""
    rests, slept_until = [], clock.sleep_until

    def sleep_until(time_s):
        rests.append(time_s - clock.now())
        if len(rests) > 20:
            raise Stop
        slept_until(time_s)

    clock.sleep_until = sleep_until
    advance = cell.env.advance
    cell.env.advance = lambda substeps: (advance(substeps), clock.advance(0.012))
    records = ResetRequested()
    records.publish = records.publish_task = lambda *_: None
    with pytest.raises(Stop):
        _run(cell, records, clock, 0.004)
    assert min(rests) >= 0.1 * 0.004


def test_a_cell_whose_driver_has_died_ends_within_a_moment(cell, clock):
    records = ResetRequested()
    records.publish = records.publish_task = lambda *_: None
    records.command.writer_alive = False
    start_s = clock.now()
    with pytest.raises(DeviceError, match="driver of the simulated cell has ended"):
        _run(cell, records, clock, 0.004)
    assert clock.now() - start_s <= 0.25


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ("avoiding", r"takes actions 'pose relative to the last target \(base axes, xy, no rotation\)'"),
        ("hand_over/panda", r"takes actions 'left and right \(panda\): pose \(rot6d\), gripper'"),
    ],
)
def test_what_a_cell_cannot_be_told_is_refused_with_the_reason(env, told):
    with pytest.raises(LayoutError, match=rf"{told}.*; a simulated cell is told 'pose \(rot6d\), gripper' of one arm"):
        run_cell(CellOptions(env=env, name="never_made"))
