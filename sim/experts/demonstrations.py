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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, RobolearnError
from robolearn.core.progress import Progress, no_progress
from robolearn.core.provenance import git_revision, package_versions, provenance
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.tools.start_states import FIRST_RECORDED_STATE, next_init_state
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.sim.env import SimEnv
from robolearn.sim.experts import EXPERTS, gives_actions
from robolearn.sim.experts.protocol import ActionExpert
from robolearn.sim.registry import make_env

MAX_FAILURES_IN_A_ROW = 50


@dataclass
class DemonstrationSummary:
    """What `record_demonstrations` did.

    Attributes:
        dataset: path.
        recorded, steps: episodes and steps added.
        dropped: episodes that did not succeed.
        total_episodes: in the dataset now.
        modes: behaviour mode -> episodes added, where the scene tells modes apart.
        wall_s: of the whole.
        stopped: whether it was stopped early.
    """

    dataset: str
    recorded: int = 0
    steps: int = 0
    dropped: int = 0
    total_episodes: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    stopped: bool = False


def record_demonstrations(
    env_name: str,
    num_episodes: int,
    output: Path,
    init_states: Iterable[int] | None = None,
    *,
    cameras: tuple[str, ...] = (),
    image_size: int = 96,
    task: str | None = None,
    resume: bool = False,
    progress: Progress = no_progress,
    stop: Callable[[], bool] = lambda: False,
) -> DemonstrationSummary:
    """Record successful episodes of the expert of `env_name` until there are `num_episodes` more.

    Args:
        output: dataset to make, or with `resume` to add to.
        init_states: tried in this order; when they end, so does the recording. By default from
            `FIRST_RECORDED_STATE` on, with `resume` those that the dataset has not had.
        cameras, image_size: pictures in the observations.
        task: in words; the environment's name by default.
        progress: called with (episodes recorded, `num_episodes`).
        stop: asked before each episode; True ends the recording.

    Raises ConfigError for an environment whose expert gives no actions, DatasetError for a path that is taken, and
    RobolearnError when the expert fails `MAX_FAILURES_IN_A_ROW` times in a row; what succeeded is kept.
    """
    if num_episodes < 1:
        raise ConfigError(f"The number of episodes must be at least 1, found {num_episodes}.")
    if not gives_actions(env_name):
        known = ", ".join(name for name in EXPERTS if gives_actions(name))
        raise ConfigError(f"No expert gives actions for environment {env_name!r}; there are experts for {known}.")
    started = time.monotonic()
    expert: ActionExpert = EXPERTS.resolve(env_name)()
    env = make_env(env_name, cameras=cameras, image_size=image_size)
    summary = DemonstrationSummary(str(output))
    modes: Counter[str] = Counter()
    if init_states is None:
        init_states = itertools.count(next_init_state(output) if resume else FIRST_RECORDED_STATE)
    failures, model = 0, env.model_xml()
    with _open_writer(env, env_name, output, resume, cameras, image_size) as writer:
        progress(0, num_episodes)
        for init_state in init_states:
            if summary.recorded == num_episodes:
                break
            if stop():
                summary.stopped = True
                break
            episode, info = demonstrate(env, expert, init_state, writer)
            if not info["success"]:
                summary.dropped += 1
                failures += 1
                if failures == MAX_FAILURES_IN_A_ROW:
                    raise RobolearnError(
                        f"The expert of {env_name!r} failed {failures} times in a row, last from start state "
                        f"{init_state}; {writer.num_episodes} episodes are saved in {output}."
                    )
                continue
            failures = 0
            episode.record["task"] = env_name.replace("_", " ") if task is None else task
            episode.sim_model = model
            writer.write_episode(episode)
            summary.recorded += 1
            summary.steps += len(episode.timestamps)
            if info["mode"] is not None:
                modes[str(info["mode"])] += 1
            progress(summary.recorded, num_episodes)
        summary.total_episodes = writer.num_episodes
    env.close()
    summary.modes = dict(sorted(modes.items()))
    summary.wall_s = time.monotonic() - started
    return summary


def demonstrate(
    env: SimEnv, expert: ActionExpert, init_state: int, writer: DatasetWriter
) -> tuple[EpisodeData, dict[str, Any]]:
    """One episode, until the expert is done or the environment ends it, and the environment's last info.

    Pictures are encoded as `writer` stores them.
    """
    codecs = {n: writer.codec(n) for n, f in env.observation_features.items() if f.kind in ("image", "depth")}
    values: dict[str, list[np.ndarray]] = {n: [] for n in env.observation_features.keys() - codecs.keys()}
    frames: dict[str, list[bytes]] = {name: [] for name in codecs}
    actions: list[np.ndarray] = []
    sim_states: list[np.ndarray] = []
    observation, info = env.reset(options={"init_state": init_state})
    expert.start_episode(init_state)
    ended = False
    while not ended and (action := expert.action(observation)) is not None:
        for name, column in values.items():
            column.append(observation[name])
        for name, pictures in frames.items():
            pictures.append(codecs[name].encode(observation[name]))
        actions.append(action)
        sim_states.append(env.sim_state())
        observation, _, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
    columns = {name: np.array(column) for name, column in values.items()}
    columns[env.action_feature.name] = np.array(actions, dtype=env.action_feature.dtype)
    record = {
        "success": bool(info["success"]),
        "success_env": bool(info["success"]),
        "operator": "scripted",
        "init_state": init_state,
        "mode": info["mode"],
        "clock": "simulated",
        "rate_hz": round(env.control_hz, 4),
        "late_ticks": 0,
        "skipped_ticks": 0,
        "software": {"git_revision": git_revision(), "versions": package_versions()},
    }
    times = np.arange(len(actions)) / env.control_hz
    return EpisodeData(times, columns, frames, record, np.array(sim_states)), info


def _open_writer(
    env: SimEnv, env_name: str, output: Path, resume: bool, cameras: tuple[str, ...], image_size: int
) -> DatasetWriter:
    """Raises DatasetError for a path that is taken and for a dataset of another scene."""
    if resume:
        writer = DatasetWriter.append_to(output)
    else:
        features = {**env.observation_features, env.action_feature.name: env.action_feature}
        described = {"env": env_name, "robot": None, "operator": "scripted", "provenance": provenance()}
        # not durable: what a power cut destroys can be made again
        writer = DatasetWriter.create(output, features, env.control_hz, described, durable=False)
    made_in = {
        "name": env_name, "scene_version": env.scene_version, "control_hz": env.control_hz, "cameras": list(cameras),
        "image_size": image_size,
    }  # fmt: skip
    try:
        writer.set_sim_model(env.model_xml(), made_in)
    except BaseException:
        writer.close()
        raise
    return writer
