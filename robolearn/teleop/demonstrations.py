"""Demonstrations of an `ActionExpert`, as fast as the scene can be stepped, into a dataset.

Each start state is tried once and only what succeeded is kept. An episode holds the observation and the simulator
state before every action, and the action; nothing in it depends on the clock, so the same start states give the same
steps again.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import ConfigError, RobolearnError
from robolearn.core.progress import Progress, no_progress
from robolearn.core.provenance import provenance
from robolearn.datasets.tools.start_states import next_init_state
from robolearn.kinematics.converter import ActionConverter
from robolearn.sim.env import SimEnv
from robolearn.sim.experts import EXPERTS, gives_actions
from robolearn.sim.experts.protocol import ActionExpert
from robolearn.sim.registry import make_env, task_text
from robolearn.teleop.attempts import Attempts
from robolearn.teleop.dataset import check_dataset_path, open_writer, store_scene
from robolearn.teleop.env_actions import env_converter
from robolearn.teleop.episode import software
from robolearn.teleop.recording import RecordSummary
from robolearn.teleop.sink import EpisodeSink, StepSink

OPERATOR = "scripted"


def record_demonstrations(
    env_name: str,
    num_episodes: int,
    output: Path,
    init_states: Iterable[int] | None = None,
    *,
    action: str | None = None,
    cameras: tuple[str, ...] = (),
    image_size: int = 96,
    task: str | None = None,
    resume: bool = False,
    progress: Progress = no_progress,
    stop: Callable[[], bool] = lambda: False,
) -> RecordSummary:
    """Record successful episodes of the expert of `env_name` until there are `num_episodes` more.

    Args:
        output: dataset to make, or with `resume` to add to.
        init_states: tried in this order; when they end, so does the recording. By default those that the dataset has
            not had, from `FIRST_RECORDED_STATE` on.
        action: what the recorded actions mean: a dialect (`robolearn.core.action_dialect`) that the environment takes,
            into which those of the expert are converted; the environment's own, which the expert speaks, when None.
        cameras, image_size: pictures in the observations.
        task: in words; the environment's name by default.
        progress: called with (episodes recorded, `num_episodes`).
        stop: asked before each episode; True ends the recording.

    Raises ConfigError for an environment whose expert gives no actions, LayoutError for actions that it does not take
    or that do not follow from the expert's, DatasetError for a path that is taken or a dataset of another scene, and
    RobolearnError when the expert fails again and again; what succeeded is kept.
    """
    if num_episodes < 1:
        raise ConfigError(f"The number of episodes must be at least 1, found {num_episodes}.")
    if not gives_actions(env_name):
        raise ConfigError(f"No expert gives actions for environment {env_name!r}; there are experts for {_others()}.")
    check_dataset_path(output, resume, f"robolearn record --env {env_name} --operator {OPERATOR} --dataset {output}")
    started = time.monotonic()
    expert: ActionExpert = EXPERTS.resolve(env_name)()
    env = make_env(env_name, action, cameras=cameras, image_size=image_size)
    facts = {"task": task_text(env_name) if task is None else task, "operator": OPERATOR}
    described = {"env": env_name, "robot": None, "operator": OPERATOR, "provenance": provenance()}
    summary = RecordSummary(str(output), rate_hz=env.control_hz)
    modes: Counter[str] = Counter()
    # not durable: what a power cut destroys can be made again
    with closing(env), open_writer(output, env, env.control_hz, described, durable=False) as writer:
        store_scene(writer, env, env_name, cameras, image_size)
        actions = _spoken_by_expert(env_name, env) if action is not None else None
        sink = StepSink(writer)
        states = itertools.count(next_init_state(output)) if init_states is None else init_states
        attempts = Attempts(num_episodes, states, f"expert of {env_name!r}", output)
        progress(0, num_episodes)
        for init_state in attempts:
            if stop():
                summary.stopped = "signal"
                break
            steps, info = demonstrate(env, expert, init_state, sink, facts, actions)
            if not info["success"]:
                sink.discard()
                summary.failed += 1
                attempts.miss(sink.num_episodes)
                continue
            sink.commit(episode_facts(env, info))
            attempts.keep()
            summary.recorded += 1
            summary.steps += steps
            if info["mode"] is not None:
                modes[str(info["mode"])] += 1
            progress(summary.recorded, num_episodes)
        summary.total_episodes = sink.num_episodes
    summary.modes = dict(sorted(modes.items()))
    summary.recorded_s = (summary.steps - summary.recorded) / env.control_hz
    summary.wall_s = time.monotonic() - started
    return summary


def _others() -> str:
    """The environments whose experts give actions; of experts that cannot be imported nothing is said here."""
    found = []
    for name in EXPERTS:
        with suppress(RobolearnError):
            found += [name] if gives_actions(name) else []
    return ", ".join(found)


def _spoken_by_expert(env_name: str, env: SimEnv) -> ActionConverter | None:
    """What turns an expert's actions, which are those of the environment as it is by default, into those of `env`."""
    with closing(make_env(env_name)) as own:
        spoken = layout_of(own.action_feature)
    if spoken is None or spoken == layout_of(env.action_feature):
        return None
    return env_converter(env, spoken)


def demonstrate(
    env: SimEnv,
    expert: ActionExpert,
    init_state: int,
    sink: EpisodeSink,
    known: dict[str, Any],
    actions: ActionConverter | None = None,
) -> tuple[int, dict[str, Any]]:
    """One episode into the sink, until the expert is done or the environment ends it.

    `actions` turns the expert's into the environment's, where they speak different layouts.

    Returns the number of steps and the environment's last info. An episode that an error cuts short is discarded.
    """
    observation, info = env.reset(options={"init_state": init_state})
    expert.start_episode(init_state)
    if actions is not None:
        actions.start(observation)
    sink.start_episode({**known, "init_state": init_state})
    steps, ended = 0, False
    try:
        while not ended and (given := expert.action(observation)) is not None:
            action = np.asarray(given, env.action_feature.dtype)
            if actions is not None:
                action = actions.convert(np.asarray(given), observation).astype(env.action_feature.dtype)
            sink.step(steps / env.control_hz, {**observation, env.action_feature.name: action}, env.sim_state())
            observation, _, terminated, truncated, info = env.step(action)
            steps, ended = steps + 1, terminated or truncated
    except BaseException:
        sink.discard()
        raise
    return steps, info


def episode_facts(env: SimEnv, info: dict[str, Any]) -> dict[str, Any]:
    """What is stored with a demonstration when it is over; `info` is the environment's last."""
    return {
        "success": bool(info["success"]),
        "success_env": bool(info["success"]),
        "mode": info["mode"],
        "started_at": None,  # it would be the only difference between two recordings
        "clock": "simulated",
        "rate_hz": round(env.control_hz, 4),
        "late_ticks": 0,
        "skipped_ticks": 0,
        "software": software(),
    }
