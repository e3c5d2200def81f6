"""`robolearn deploy`: run an arm in real time from a policy server."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.core.config import main_stderr, parse


@dataclass(frozen=True)
class DeployOptions:
    """Run an arm from a policy server, at a fixed rate, with limits and watchdog on.

    Attributes:
        server: Address of the policy server.
        robot: Robot, such as sim:put_on_plate.
        env: Environment of the simulated robot: --robot sim --env X is --robot sim:X.
        num_episodes: Episodes, one from each start state.
        init_state: First start state; the others follow it.
        goals: Dataset of demonstrations whose ends are the goals of a goal-conditioned policy.
        goal_mask: Take goals only from episodes in this mask of it.
        output: Folder for results.json.
        rate_hz: Commands per second.
        execute: Actions used of each chunk before the next one is asked for; half of the chunk by default.
        time_limit_s: Longest episode; the scene's own limit by default.
        max_speed: Lower speed limit of the TCP in m/s than the arm's own.
        connect_wait_s: How long to wait for the server to come up.
        token_env: Environment variable with the server's token.
        json: Print the results as json and nothing else.
    """

    server: str = "ws://127.0.0.1:8000"
    robot: str = "sim"
    env: str | None = None
    num_episodes: int = 10
    init_state: int = 0
    goals: str | None = None
    goal_mask: str | None = None
    output: Path = Path("outputs/deploy")
    rate_hz: float = 200.0
    execute: int | None = None
    time_limit_s: float | None = None
    max_speed: float | None = None
    connect_wait_s: float = 10.0
    token_env: str = "ROBOLEARN_TOKEN"
    json: bool = False


def main(argv: list[str]) -> int:
    options = parse(
        DeployOptions, argv, prog="robolearn deploy", description="Run an arm in real time from a policy server."
    )
    from robolearn.control.deploy import DeployConfig, deploy
    from robolearn.control.loop import LoopOptions
    from robolearn.control.verdict import OperatorJudge, somebody_is_there
    from robolearn.evaluation.statistics.tally import Tally
    from robolearn.execution.goals import goal_source

    config = DeployConfig(
        server=options.server,
        robot=options.robot if options.env is None else f"{options.robot}:{options.env}",
        num_episodes=options.num_episodes,
        init_state=options.init_state,
        output=options.output,
        time_limit_s=options.time_limit_s,
        max_speed_m_s=options.max_speed,
        connect_wait_s=options.connect_wait_s,
        token=os.environ.get(options.token_env) or None,
        goals=goal_source(options.goals, options.goal_mask),
        loop=LoopOptions(rate_hz=options.rate_hz, execute=options.execute),
    )
    judge = OperatorJudge(main_stderr) if somebody_is_there() else None
    results = deploy(config, None if options.json else _show_episode, main_stderr, judge, options)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        _show(results)
        print(f"Saved: {options.output}/results.json")
    return Tally.of_episodes(results["episodes"]).exit_status


def _show_episode(episode: dict[str, Any]) -> None:
    # one line after each episode: a live display would draw while the loop runs
    count = episode["safety_stops"]
    stops = f", {count} safety stop{'s' if count > 1 else ''}" if count else ""
    cause = f", {episode['cause']}" if episode["cause"] else ""
    words = f"{episode['outcome']:<8} {episode['duration_s']:5.1f} s{stops}{cause}"
    print(f"start state {episode['init_state']:3d}  {words}", flush=True)


def _show(results: dict[str, Any]) -> None:
    from robolearn.evaluation.statistics.tally import Tally

    loop = results["loop"]
    print(f"\nsuccess {Tally.of_episodes(results['episodes'])}")
    print(f"safety stops {results['safety_stops']}, limited ticks {results['limited_ticks']} of {loop['ticks']}")
    rows = {name.replace("_", " "): row for name, row in results["latency_ms"].items()}
    rows = {f"lateness at {loop['rate_hz']:g} Hz ({loop['priority']})": loop["lateness_ms"], **rows}
    width = max(map(len, rows))
    print(f"\n{'ms':<{width}}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    for name, row in rows.items():
        cells = "".join("        -" if row[q] is None else f"{row[q]:9.3f}" for q in ("p50", "p95", "p99", "max"))
        print(f"{name:<{width}}{cells}")
