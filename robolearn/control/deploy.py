"""Episodes of a robot under a policy server: connect, check, run each start state, and say how it went."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.control.loop import EpisodeLoop, EpisodeRecord, LoopOptions, check_robot, other_robot
from robolearn.control.requester import ChunkRequester
from robolearn.control.results import RESULTS, FinishedEpisode, summarize
from robolearn.control.safety import SafetyLimits
from robolearn.control.verdict import Judge
from robolearn.core import config as configuration
from robolearn.core.clock import MonotonicClock
from robolearn.core.errors import ConfigError, DeviceError, RobolearnError, ServerError, one_line
from robolearn.core.failure import explained
from robolearn.core.files import write_text
from robolearn.core.output import held_output
from robolearn.core.realtime import no_interruptions, raised_priority
from robolearn.execution.command import COMMAND_LAYOUT
from robolearn.execution.goals import GoalSource, make_goals
from robolearn.execution.policy_spec import PolicySpec
from robolearn.hardware.robot import Robot, make_robot
from robolearn.serving.client import PolicyClient


@dataclass(frozen=True)
class DeployConfig:
    """What to run.

    Attributes:
        server: address of the policy server.
        robot: name of the robot, as for `make_robot`.
        num_episodes: one from each start state.
        init_state: first start state; the others follow it.
        output: folder for results.json; None writes nothing.
        time_limit_s: longest episode; None is the scene's own limit.
        max_speed_m_s: lower speed limit than the arm's own.
        connect_wait_s: how long to wait for the server to come up.
        token: for servers that want one.
        goals: for goal-conditioned policies.
        loop: see `LoopOptions`.
    """

    server: str = "ws://127.0.0.1:8000"
    robot: str = "sim:put_on_plate"
    num_episodes: int = 10
    init_state: int = 0
    output: Path | None = None
    time_limit_s: float | None = None
    max_speed_m_s: float | None = None
    connect_wait_s: float = 10.0
    token: str | None = field(default=None, repr=False)
    goals: GoalSource | None = None
    loop: LoopOptions = field(default_factory=LoopOptions)

    def __post_init__(self) -> None:
        if self.num_episodes < 1:
            raise ConfigError(f"--num-episodes must be at least 1, found {self.num_episodes}.")
        if self.init_state < 0:
            raise ConfigError(f"--init-state must be at least 0, found {self.init_state}.")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise ConfigError(f"--time-limit-s must be positive, found {self.time_limit_s:g}.")


def deploy(
    config: DeployConfig,
    on_episode: Callable[[dict[str, Any]], None] | None = None,
    say: Callable[[str], None] = lambda words: None,
    judge: Judge | None = None,
    typed: Any = None,
) -> dict[str, Any]:
    """Run the episodes and return (and write) the results, and with them, as config.yaml, what was `typed`.

    An episode that something else than the policy kept from being judged is `aborted`, with its cause. When the robot
    has failed, or the server stays away for `connect_wait_s`, the start states that are left are aborted as well,
    without being run: an arm that has reported a fault is not moved again by itself.

    `on_episode` is given each episode that was run, `say` what a person should know while they wait. `judge` is asked
    for the outcome of episodes that nothing measured; without one they stay unjudged.

    Raises, before the robot is connected, like `held_output`; DeviceError when the robot cannot be connected,
    ServerError when no server answers at the start, FeatureError when policy and robot do not match. However it ends,
    Ctrl-C included, the arm is stopped, the robot disconnected, and the results of the finished episodes are written.
    """
    output = config.output
    robot = make_robot(config.robot)
    client = PolicyClient(config.server, config.token, timeout_s=2.0, takes=COMMAND_LAYOUT)
    episodes: list[FinishedEpisode] = []
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as cleanup:
        if output is not None:
            cleanup.enter_context(held_output(output))
        # raised before the robot's processes and our threads start, so that all inherit the same
        priority = cleanup.enter_context(raised_priority())
        robot.connect()
        cleanup.callback(_disconnect, robot, say)
        client.connect(config.connect_wait_s, _telling(say, config))
        cleanup.callback(client.close)
        spec = _spec_of(client)
        goals = make_goals(config.goals, spec)
        check_robot(spec, robot, config.loop)
        if (words := other_robot(spec, robot)) is not None:
            say(words)
        limits = SafetyLimits.from_capabilities(robot.capabilities, config.max_speed_m_s)
        time_limit_s = config.time_limit_s or robot.time_limit_s
        clock = MonotonicClock(spin_s=0.0002)
        requester = cleanup.enter_context(ChunkRequester(client, spec, clock))
        loop = EpisodeLoop(robot, requester, spec, config.loop, limits, clock)
        if output is not None:
            # from here on results are this run's, however it ends
            (output / RESULTS).unlink(missing_ok=True)
        init_states = range(config.init_state, config.init_state + config.num_episodes)
        try:
            for init_state in init_states:
                if not requester.wait_until_connected(config.connect_wait_s, _telling(say, config)):
                    hindrance: str | None = f"server gone: {requester.last_error or 'the connection was lost'}"
                else:
                    goal = goals.goal(init_state) if goals else None
                    hindrance = _run_episode(init_state, episodes, robot, loop, time_limit_s, goal, judge)
                    if on_episode:
                        on_episode(episodes[-1].to_dict())
                if hindrance is not None:
                    left = init_states[len(episodes) :]
                    episodes += [FinishedEpisode(k, EpisodeRecord(aborted=_not_run(hindrance))) for k in left]
                    if left:
                        last = f" to {left[-1]}" if len(left) > 1 else ""
                        say(f"Not run: start state {left[0]}{last} ({hindrance.rstrip('.')}).")
                    break
        finally:
            if episodes:
                as_run = configuration.to_dict(dataclasses.replace(config, token=None))
                results = summarize(episodes, config.loop.rate_hz, priority, as_run)
                if output is not None:
                    write_text(output / RESULTS, json.dumps(results, indent=1))
                    if typed is not None:
                        configuration.save_yaml(typed, output / "config.yaml")
    return results


def _run_episode(
    init_state: int,
    episodes: list[FinishedEpisode],
    robot: Robot,
    loop: EpisodeLoop,
    time_limit_s: float,
    goal: dict[str, np.ndarray] | None,
    judge: Judge | None,
) -> str | None:
    """Add the episode to `episodes`, unless it is interrupted. Returns why no other one can be run, or None."""
    finished = FinishedEpisode(init_state)
    record = finished.record
    try:
        robot.prepare(init_state)
        with no_interruptions():
            loop.run(time_limit_s, goal, record)
    except Exception as error:
        # of whatever kind: what the episodes before it found is kept, and the arm is not moved again by itself
        known = isinstance(error, DeviceError | OSError)
        record.success = None
        record.aborted = "device failed: " + one_line(error if known else explained(error))
        episodes.append(finished)
        if not known:
            raise
        return record.aborted
    finished.last_error = loop.requester.last_error
    episodes.append(finished)
    if record.success is not None:
        finished.judged_by = "robot"
    elif record.aborted is None and judge is not None:
        record.success = judge(init_state)
        finished.judged_by = None if record.success is None else "operator"
    return None


def _not_run(hindrance: str) -> str:
    kind, _, what = hindrance.partition(": ")
    return f"{kind}: not run; {what}"


def _disconnect(robot: Robot, say: Callable[[str], None]) -> None:
    """What a robot that has failed says at its disconnection must not hide what was found before."""
    try:
        robot.disconnect()
    except DeviceError as error:
        say(f"The robot could not be disconnected: {error}")


def _telling(say: Callable[[str], None], config: DeployConfig) -> Callable[[float], None]:
    """A `sleep` that says once what is being waited for."""
    told = False

    def sleep(pause_s: float) -> None:
        nonlocal told
        if not told:
            say(f"Waiting up to {config.connect_wait_s:g} s for a policy server at {config.server} ...")
            told = True
        time.sleep(pause_s)

    return sleep


def _spec_of(client: PolicyClient) -> PolicySpec:
    metadata = client.metadata
    if "spec" not in metadata:
        raise ServerError(
            f"The server at {client.url} does not say what its policy needs; serve it with: robolearn serve"
        )
    try:
        spec = PolicySpec.from_dict(metadata["spec"])
        spec.check_size()
    except (KeyError, TypeError, RobolearnError) as error:
        lacking = "it lacks " if isinstance(error, KeyError) else ""
        reason = one_line(error).rstrip(".")
        raise ServerError(
            f"The server at {client.url} describes its policy in an unknown way: {lacking}{reason}."
        ) from error
    return spec
