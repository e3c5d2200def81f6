"""The simulated cell: an environment that runs in real time in a process of its own, like a robot in a room.

    python -m robolearn.sim.realtime --env put_on_plate --name PREFIX

It talks through shared records (`robolearn.core.shared_record`), as an arm's controller would over its bus:

    PREFIX_command   read      position, rotation, gripper, stop: the newest wins; none for too long = hold
    PREFIX_request   read      reset counter and init_state: put the scene into a start state
    PREFIX_state     written   observation.state, observation.joint_position, with times, every tick
    PREFIX_objects   written   observation.environment_state, every tick
    PREFIX_task      written   success, score, simulated time, which reset they belong to

When it is ready it prints one line of json that describes it (features, workspace, rates) on stdout. It runs at the
priority it is started with, which is its driver's: a cell above its driver could keep it from commanding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.core import config
from robolearn.core.clock import Clock, MonotonicClock
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import ConfigError, DeviceError, LayoutError, RobolearnError
from robolearn.core.feature import Feature
from robolearn.core.interrupt import stopped_in_order
from robolearn.core.meaning import layout_difference
from robolearn.core.process import adopt_parent_from_environment
from robolearn.core.realtime import no_interruptions
from robolearn.core.rotation import matrix_to_rot6d
from robolearn.core.shared_record import SharedRecord
from robolearn.core.shared_segment import SharedSegment, remove_left_over
from robolearn.execution.command import COMMAND_LAYOUT

if TYPE_CHECKING:
    from robolearn.sim.env import RealtimeEnv

# fields of command and request are laid out by the side that writes them: robolearn.hardware.simulated_cell
STATE, JOINTS, OBJECTS = "observation.state", "observation.joint_position", "observation.environment_state"

_STAMP_FIELDS = {"time_s": ((), "float64"), "sim_time_s": ((), "float64"), "tick": ((), "int64")}
_TASK_FIELDS = {
    "reset": ((), "int64"),
    "success": ((), "uint8"),
    "score": ((), "float64"),
    "sim_time_s": ((), "float64"),
    "overruns": ((), "int64"),
    "lost_s": ((), "float64"),
}

COMMAND_TIMEOUT_S = 0.2
_HISTORY = 64  # samples kept for a reader that was held up: a quarter of a second at 250 Hz
_DECELERATION_M_S2 = 3.0
_LONGEST_CATCH_UP_S = 0.05
_LOOK_EVERY = 50  # ticks between looks whether the driver lives; where the kernel tells us itself, it is sooner
_REST = 0.2  # share of a period in which others may have the processor, also when ticks take longer than a period


class Cell:
    """Keeps simulated time level with the clock, and holds the arm when its commands stop.

    Simulated time may fall behind for a moment (another process had the processor); it then catches up by
    at most 50 ms in one tick. What is behind beyond that is given up and counted: the simulated world simply
    lost that much real time, it never runs faster to make up for it.
    """

    def __init__(self, env: RealtimeEnv, clock: Clock, command_timeout_s: float = COMMAND_TIMEOUT_S):
        self.env = env
        self.clock = clock
        self.command_timeout_s = command_timeout_s
        self.overruns = 0
        self.lost_s = 0.0
        self._longest_catch_up = round(_LONGEST_CATCH_UP_S / env.timestep_s)
        self.reset(0)

    def reset(self, init_state: int) -> None:
        """Put the scene into a start state and let it begin now."""
        self.env.reset(options={"init_state": init_state})
        self.observation = self.env.observe()
        self._origin_s = self.clock.now() - self.env.time_s
        self._velocity_m_s = np.zeros(3)
        self._commanded_at_s: float | None = None
        self._gripper = 1.0

    @property
    def holding(self) -> bool:
        """Whether no command is being followed."""
        return self._commanded_at_s is None

    def command(self, values: Mapping[str, np.ndarray]) -> None:
        """Follow one command record."""
        if values["stop"]:
            self.hold()
            return
        self._gripper = float(values["gripper"])
        rotation = matrix_to_rot6d(values["rotation"])
        self.env.set_target(np.concatenate([values["position"], rotation, [self._gripper]]))
        self._commanded_at_s = self.clock.now()

    def hold(self) -> None:
        """Come to rest where a constant deceleration from the present velocity ends, and keep what is grasped."""
        if self.holding:
            return
        speed = float(np.linalg.norm(self._velocity_m_s))
        target = np.array(self.observation[STATE], dtype=np.float64)
        target[:3] += self._velocity_m_s * speed / (2 * _DECELERATION_M_S2)
        target[9] = self._gripper  # the measured opening would let go: fingers press only while they want further
        self.env.set_target(target)
        self._commanded_at_s = None

    def tick(self) -> bool:
        """Advance simulated time to the clock's; False when it is there already, so that there is nothing new."""
        if self._commanded_at_s is not None and self.clock.now() - self._commanded_at_s > self.command_timeout_s:
            self.hold()
        behind = int((self.clock.now() - self._origin_s - self.env.time_s) / self.env.timestep_s + 1e-6)
        if behind > self._longest_catch_up:
            lost_s = (behind - self._longest_catch_up) * self.env.timestep_s
            self._origin_s += lost_s
            self.lost_s += lost_s
            self.overruns += 1
            behind = self._longest_catch_up
        if behind < 1:
            return False
        before = self.observation[STATE][:3].astype(np.float64)
        self.env.advance(behind)
        self.observation = self.env.observe()
        self._velocity_m_s = (self.observation[STATE][:3] - before) / (behind * self.env.timestep_s)
        return True

    @property
    def sample_time_s(self) -> float:
        """Clock time that the present state belongs to."""
        return self._origin_s + self.env.time_s


@dataclasses.dataclass(frozen=True)
class CellOptions:
    """Run an environment in real time behind shared records.

    Attributes:
        env: Environment to run.
        name: Prefix of the shared records' names.
        rate_hz: Ticks per second; the environment advances by as many physics steps as fit.
    """

    env: str
    name: str
    rate_hz: float = 250.0


class Records:
    """The cell's side of the shared records."""

    def __init__(self, name: str, observation: Mapping[str, np.ndarray]):
        def field(feature: str) -> tuple[tuple[int, ...], str]:
            return observation[feature].shape, observation[feature].dtype.str

        with contextlib.ExitStack() as undo:
            self.command = undo.enter_context(contextlib.closing(SharedRecord.open(f"{name}_command")))
            self.request = undo.enter_context(contextlib.closing(SharedRecord.open(f"{name}_request")))
            self._vectors = {"state": [n for n in (STATE, JOINTS) if n in observation]}
            if OBJECTS in observation:
                self._vectors["objects"] = [OBJECTS]
            self._written = {
                part: undo.enter_context(
                    contextlib.closing(
                        SharedRecord.create(
                            f"{name}_{part}", {**{f: field(f) for f in names}, **_STAMP_FIELDS}, _HISTORY
                        )
                    )
                )
                for part, names in self._vectors.items()
            }
            self._task = undo.enter_context(contextlib.closing(SharedRecord.create(f"{name}_task", _TASK_FIELDS)))
            self._undo = undo.pop_all()

    def publish(self, cell: Cell, tick: int) -> None:
        stamp = {"time_s": cell.sample_time_s, "sim_time_s": cell.env.time_s, "tick": tick}
        for part, names in self._vectors.items():
            self._written[part].write(**{n: cell.observation[n] for n in names}, **stamp)

    def publish_task(self, cell: Cell, reset: int) -> None:
        info = cell.env.task_info()
        self._task.write(
            reset=reset, success=info["success"], score=info["score"], sim_time_s=cell.env.time_s,
            overruns=cell.overruns, lost_s=cell.lost_s,
        )  # fmt: skip

    def close(self) -> None:
        self._undo.close()


def describe(env: RealtimeEnv, rate_hz: float) -> dict[str, Any]:
    """What a driver needs to know, ready for json."""
    names = [n for n in (STATE, JOINTS, OBJECTS) if n in env.observation_features]
    return {
        "features": [env.observation_features[n].to_dict() for n in names],
        "workspace_low_m": list(env.workspace_low_m),
        "workspace_high_m": list(env.workspace_high_m),
        "control_hz": env.control_hz,
        "rate_hz": rate_hz,
        "max_steps": env.max_steps,
        "command_timeout_s": COMMAND_TIMEOUT_S,
    }


def check_cell_layout(action: Feature, env: str) -> None:
    """Raises LayoutError unless actions are the absolute pose of one arm with a gripper: a cell is told no others."""
    found = layout_of(action)
    if found is None or layout_difference(COMMAND_LAYOUT, found) is not None:
        told = "actions that it says nothing of" if found is None else f"actions {found.describe()!r}"
        raise LayoutError(
            f"Environment {env!r} takes {told}; a simulated cell is told {COMMAND_LAYOUT.describe()!r} of one arm. "
            "Policies act in this environment without real time with: robolearn eval."
        )


def run_cell(options: CellOptions) -> None:
    """Run until a signal ends it.

    Raises RobolearnError when the environment or its records cannot be opened, DeviceError when the driver has ended.
    """
    from robolearn.sim.env import RealtimeEnv
    from robolearn.sim.registry import make_env

    env = make_env(options.env)
    if not isinstance(env, RealtimeEnv):
        env.close()
        raise ConfigError(f"Environment {options.env!r} cannot run in real time: it takes no targets between steps.")
    try:
        check_cell_layout(env.action_feature, options.env)
    except RobolearnError:
        env.close()
        raise
    clock = MonotonicClock(spin_s=0.0002)
    cell = Cell(env, clock)
    records = Records(options.name, cell.observation)
    try:
        records.publish(cell, 0)
        records.publish_task(cell, 0)
        print(json.dumps(describe(env, options.rate_hz)), flush=True)
        with no_interruptions():
            _run(cell, records, clock, 1.0 / options.rate_hz)
    finally:
        records.close()
        env.close()


def _run(cell: Cell, records: Records, clock: Clock, period_s: float) -> None:
    tick, reset, seen = 0, 0, 0
    due_s = clock.now()
    while True:
        due_s = max(due_s + period_s, clock.now() + _REST * period_s)
        clock.sleep_until(due_s)
        if records.request.sequence and (found := records.request.read()) and int(found[0]["reset"]) != reset:
            reset = int(found[0]["reset"])
            cell.reset(int(found[0]["init_state"]))
            seen = records.command.sequence  # commands for the scene before are void
            records.publish(cell, tick)  # first, so that who sees the reset done never sees the scene before it
            records.publish_task(cell, reset)
        if records.command.sequence != seen and (command := records.command.read()):
            values, seen = command
            cell.command(values)
        tick += 1
        if cell.tick():
            records.publish(cell, tick)
        if tick % 5 == 0:
            records.publish_task(cell, reset)
        if tick % _LOOK_EVERY == 0 and not records.command.writer_alive:
            raise DeviceError("The driver of the simulated cell has ended.")


def main() -> int:
    adopt_parent_from_environment()
    with stopped_in_order():
        name = ""
        try:
            options = config.parse(CellOptions, sys.argv[1:], prog="python -m robolearn.sim.realtime")
            name = options.name
            run_cell(options)
        except RobolearnError as error:
            config.main_stderr(f"error: {error}")
            return 2
        finally:
            _tidy_up_after_driver(name)
    return 0


def _tidy_up_after_driver(name: str, wait_s: float = 1.0) -> None:
    """Remove the records of a driver that was killed; one that stops us in order has removed them itself.

    We hear of its end when its first thread has ended, and its records are its own until the last one has.
    """
    deadline = time.monotonic() + wait_s
    while SharedSegment.exists(f"{name}_command") and time.monotonic() < deadline:
        remove_left_over()
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
