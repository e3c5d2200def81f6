"""The simulated cell, its driver and the loop that commands it on one core that is busy with other work: who dies?

cell.deaths_on_one_core     runs of 20 in which the cell ended by itself or its driver gave the robot up; 0

All processes of a run are bound to one core, as with `taskset -c 0`, beside two that do nothing but compute. Half of
the runs are driven like `deploy` (200 Hz loop at real-time priority where that is allowed), half like `teleop` and
`record` (a thread at 200 Hz at normal priority). Lateness is not judged: one core cannot be on time for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from robolearn.control.loop import EpisodeLoop, LoopOptions
from robolearn.control.requester import RequestCounts
from robolearn.control.safety import SafetyLimits
from robolearn.core.clock import MonotonicClock, Ticker
from robolearn.core.errors import RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.core.process import end_in_words
from robolearn.core.realtime import no_interruptions, raised_priority
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.execution.chunk import Chunk
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.execution.policy_spec import PolicySpec
from robolearn.hardware.robot import Robot, make_robot
from robolearn.teleop.robot_target import RobotTarget

ROBOT = "sim:put_on_plate"
LOAD = 2
RATE_HZ = 20.0


def circle(center: np.ndarray, t_s: float | np.ndarray) -> np.ndarray:
    """Actions (..., 10) on a circle of 4 cm in the horizontal plane, once in 2 s, through `center` (10,)."""
    angle = np.pi * np.asarray(t_s)
    actions = np.broadcast_to(center, (*angle.shape, 10)).copy()
    actions[..., 0] += 0.04 * (np.cos(angle) - 1)
    actions[..., 1] += 0.04 * np.sin(angle)
    return actions


class Circling:
    """A requester that answers at once, with chunks that go round."""

    def __init__(self, center: np.ndarray, clock: MonotonicClock):
        self.counts = RequestCounts()
        self.in_flight, self.connected, self.gone = False, True, False
        self.last_error: str | None = None
        self._center, self._clock, self._start_s = center, clock, clock.now()
        self._answer: Chunk | None = None

    def begin(self) -> None:
        self._answer = None

    def submit(self, request: ChunkRequest) -> None:
        actions = circle(self._center, request.t_obs_s - self._start_s + np.arange(16) / RATE_HZ)
        now_s = self._clock.now()
        self._answer = Chunk(actions, request.t_obs_s, now_s, now_s, 0.0, 0.0)
        self.counts.sent += 1

    def poll(self) -> Chunk | None:
        answer, self._answer = self._answer, None
        return answer


def deployed(robot: Robot, duration_s: float) -> int:
    """Drive as `deploy` does. Returns how many commands were given."""
    clock = MonotonicClock(spin_s=0.0002)
    state, action = Feature("observation.state", (10,)), Feature("action", (10,), kind="action")
    spec = PolicySpec(features([state]), action, obs_horizon=1, action_horizon=16, control_hz=RATE_HZ)
    robot.prepare(0)
    requester = Circling(robot.read().values["observation.state"], clock)
    limits = SafetyLimits.from_capabilities(robot.capabilities)
    with no_interruptions():
        record = EpisodeLoop(robot, requester, spec, LoopOptions(execute=8), limits, clock).run(duration_s)
    return int(record.ticks.lateness_s.size)


def teleoperated(robot: Robot, duration_s: float) -> int:
    """Drive as `teleop` and `record` do. Returns how many targets were given."""
    target, clock = RobotTarget(robot, RATE_HZ), MonotonicClock()
    target.start_episode(0)
    ticker, start_s, given = Ticker(clock, RATE_HZ), clock.now(), 0
    center = target.observe()["observation.state"]
    while clock.now() - start_s < duration_s:
        ticker.wait()
        target.observe()
        target.apply(circle(center, clock.now() - start_s))
        given += 1
    target.end_episode()
    return given


def one_run(raised: bool, duration_s: float) -> int:
    """A run in this process, which is bound to one core already; what happened is printed as one line of json."""
    robot = make_robot(ROBOT)
    drive: Callable[[Robot, float], int] = deployed if raised else teleoperated
    try:
        with raised_priority() if raised else no_interruptions() as priority:
            robot.connect()
            try:
                given = drive(robot, duration_s)
                task = robot.scene.record("task").read()[0]  # type: ignore[attr-defined]
            finally:
                robot.disconnect()
    except RobolearnError as error:
        print(json.dumps({"death": str(error)}))
        return 1
    told = {"given": given, "overruns": int(task["overruns"]), "lost_s": float(task["lost_s"])}
    print(json.dumps({"priority": priority or "as started", **told}))
    return 0


def run_under_load(core: int, raised: bool, duration_s: float) -> dict[str, object]:
    """What one run told, with "death" where it died."""
    bound = ["taskset", "-c", str(core)]
    load = [subprocess.Popen([*bound, sys.executable, "-c", "while True: pass"]) for _ in range(LOAD)]
    try:
        command = [*bound, sys.executable, __file__, "--one-run", "--duration-s", str(duration_s)]
        ended = subprocess.run(
            [*command, *(["--raised"] if raised else [])], stdout=subprocess.PIPE, text=True, check=False, timeout=300
        )
    finally:
        for process in load:
            process.kill()
            process.wait()
    lines = ended.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"death": f"the driver ended: {end_in_words(ended.returncode)}"}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--duration-s", type=float, default=10.0, help="length of a run")
    parser.add_argument("--one-run", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--raised", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one_run:
        return one_run(options.raised, options.duration_s)
    runs, duration_s = (2, 3.0) if options.quick else (20, options.duration_s)
    core, load = min(os.sched_getaffinity(0)), os.getloadavg()[0]
    told = []
    for run in range(runs):
        told.append(run_under_load(core, run % 2 == 0, duration_s))
        print(f"run {run}: {told[-1]}", flush=True)
    deaths = [t["death"] for t in told if "death" in t]
    lost_s = [float(str(t["lost_s"])) for t in told if "lost_s" in t]
    note = (
        f"{runs} runs of {duration_s:g} s on core {core} of {os.cpu_count()} beside {LOAD} busy ones, load average "
        f"{load:.1f}; the simulated world lost {np.median(lost_s or [0]):.2f} s a run (median)"
    )
    print(f"{len(deaths)} deaths; {note}")
    command = "python benchmarks/cell_one_core.py" + (" --quick" if options.quick else "")
    figure = Figure("cell.deaths_on_one_core", len(deaths), "1", runs, command, config={"runs": told}, notes=note)
    write_figures(results_file("cell_one_core", options.quick), [figure])
    return int(bool(deaths))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
