"""How often the scripted operator puts the bar on the plate with each robot, as `robolearn record` runs it.

    python benchmarks/robots.py           50 start states each; writes benchmarks/results/robots.json
    python benchmarks/robots.py --quick   two start states each
    python benchmarks/robots.py --only ur5e so100   these robots, and leaves the other figures as they are

What failed is kept with the figure: the start state, and how far it came.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import closing
from typing import Any

from robolearn.core.clock import VirtualClock
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.evaluation.statistics.intervals import wilson_interval
from robolearn.execution.command import Command
from robolearn.sim import make_env
from robolearn.sim.env import SimEnv
from robolearn.teleop.episode import Episode
from robolearn.teleop.operators import SCRIPTED, make_operator
from robolearn.teleop.session import TeleopSession
from robolearn.teleop.target import SimTarget

VARIANTS = {"panda": "", "ur5e": "ur5e", "xarm7": "xarm7", "vx300s": "vx300s", "so100": "so100"}
FLAGS = ("grasped", "lifted", "on_plate")
STARTS, SEED = 50, 0


def episodes(env: SimEnv, starts: int) -> list[dict[str, Any]]:
    """What became of each start state."""
    clock = VirtualClock()
    operator = make_operator(SCRIPTED, env.name, clock, env.control_hz, SEED)
    passed: list[str] = []

    def look(episode: Episode, measured: Command, target: Command) -> None:
        info = env.task_info()
        passed.extend(flag for flag in FLAGS if info[flag] and flag not in passed)

    found = []
    session = TeleopSession(SimTarget(env), operator, clock, env.control_hz, on_tick=look)
    operator.connect()
    for init_state in range(starts):
        passed.clear()
        episode = session.run_episode(init_state)
        reached = {"init_state": init_state, "success": bool(episode.success), "steps": episode.steps}
        found.append({**reached, "ended": episode.ending.name.lower(), "passed": list(passed)})
    operator.disconnect()
    return found


def expert_success(variant: str, starts: int, command: str) -> Figure:
    name = f"put_on_plate/{variant}" if variant else "put_on_plate"
    with closing(make_env(name)) as env:
        found = episodes(env, starts)
        steps = [int(episode["steps"]) for episode in found]
        failed = [episode for episode in found if not episode["success"]]
        config = {
            "variant": next(iter(env.robots)), "env": name, "scene_version": env.scene_version,
            "robots": dict(env.robots), "control_hz": env.control_hz, "start_states": [0, starts - 1],
            "steps": [min(steps), max(steps)], "failed": failed,
        }  # fmt: skip
    rate = wilson_interval(starts - len(failed), starts)
    notes = "scripted operator, as robolearn record runs it; interval: Wilson 95 %"
    return Figure("robots.expert_success", rate.value, "1", starts, command, rate.interval, (SEED,), config, notes)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="The scripted operator on each robot of put_on_plate.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=[*VARIANTS], metavar="ROBOT")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/robots.py", *argv])
    for robot in options.only:
        figure = expert_success(VARIANTS[robot], 2 if options.quick else STARTS, command)
        print(f"{figure.id} {figure.variant} {figure.value:.2f} {figure.interval}", flush=True)
        write_figures(results_file("robots", options.quick), [figure])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
