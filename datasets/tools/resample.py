"""A dataset at another rate: each new step shows the newest sample that there was at its time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import ConfigError
from robolearn.core.feature import Feature, Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.format.alignment import align, nearest_earlier
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, make_dataset

JITTER = 0.25  # of a period: how much later than its time on the grid a step may have been taken
GAP = 1.5  # periods after which a sample is too old to be shown
MOST_STEPS = 10_000_000  # of one episode


def resample(parent: Dataset, output: Path, fps: float, *, progress: Progress = no_progress) -> Made:
    """Make `output` of `parent` with steps at `fps` Hz.

    Observations, simulator states and frames are those of the newest sample at the time of the step: nothing is
    interpolated, nothing comes from the future. An action is the one in force then, as for position and velocity
    commands; actions that are differences between steps do not survive a change of rate, and a note says so.

    Args:
        parent: the dataset to make it of. From streams at native rates where it has them, else from its steps.
        output: dataset to make; must not exist.
        fps: rate of the new steps in Hz.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError for a rate that is none, or that makes an episode too long.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise ConfigError(f"--fps must be a positive rate in Hz, found {fps:g}.")
    episodes = parent.intact_episodes.tolist()
    longest = max((parent.episodes[i]["duration_s"] for i in episodes), default=0.0)
    if longest * fps > MOST_STEPS:
        raise ConfigError(f"At {fps:g} Hz an episode would have {longest * fps:.0f} steps; the most is {MOST_STEPS}.")

    def change(dataset: Dataset, episode: EpisodeData) -> EpisodeData:
        return from_streams(episode, fps) if episode.streams else from_steps(episode, dataset.fps, fps)

    plan = Plan.like(parent, episodes, "resample", {"fps": fps, "from_fps": parent.fps})
    plan = replace(
        plan,
        fps=fps,
        sim_env=_env_at_rate(plan.sim_env, fps),
        features=plan.features if plan.streams else _at_rate(plan.features, parent.fps, fps),
        change=change,
        notes=(*plan.notes, *_action_notes(plan.features, parent.fps, fps)),
    )
    return make_dataset(output, plan, progress)


def from_streams(episode: EpisodeData, fps: float) -> EpisodeData:
    """The episode with its grid derived anew from its streams, which stay as they are; pauses stay without steps."""
    stamps = {name: rows.timestamp for name, rows in episode.streams.items() if rows.at_step is not None}
    grid = align(stamps, fps, episode.record.get("pauses") or ())
    states = None
    if episode.sim_states is not None:
        states = episode.sim_states[np.maximum(nearest_earlier(episode.timestamps, grid.times), 0)]
    return replace(
        episode,
        timestamps=grid.times,
        values={},
        frames={},
        sim_states=states,
        streams={name: replace(rows, at_step=grid.at_step.get(name)) for name, rows in episode.streams.items()},
    )


def from_steps(episode: EpisodeData, old_fps: float, fps: float) -> EpisodeData:
    """The episode with its steps on a grid of `fps` Hz; see `held_steps`."""
    rows, times = held_steps(episode.timestamps, old_fps, fps)
    return replace(
        episode,
        timestamps=times,
        values={name: column[rows] for name, column in episode.values.items()},
        frames={name: [images[row] for row in rows.tolist()] for name, images in episode.frames.items()},
        sim_states=None if episode.sim_states is None else episode.sim_states[rows],
    )


def held_steps(timestamps: np.ndarray, old_fps: float, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Which step a grid of `fps` Hz shows at each of its times, and when that is.

    Args:
        timestamps: `(T,)` seconds, rising; nominally `old_fps` Hz.
        old_fps: nominal rate of `timestamps`.
        fps: rate of the grid, which begins with the first step.

    Returns `(K,)` int64 indices into `timestamps`, and `(K,)` float64 seconds. Loops do not run on the microsecond: a
    step up to a quarter of a period off its time on the grid stands for it, and keeps its own time. Where the newest
    step is older than 1.5 periods (of the longer one) nothing is shown: a gap stays a gap.

    From 10 Hz to 20 Hz, with steps missing after 0.2 s:

        old steps      0.0        0.103       0.2                              0.5
        grid           0.0  0.05  0.1   0.15  0.2  0.25  0.3  0.35  0.4  0.45  0.5
        shows          0    0     1     1     2    2     2    2     -    -     3
        at             0.0  0.05  0.103 0.15  0.2  0.25  0.3  0.35             0.5
    """
    shorter, longer = sorted((1 / old_fps, 1 / fps))
    slack = JITTER * shorter
    first, last = timestamps[0], timestamps[-1]
    grid = first + np.arange(int((last - first + slack) * fps) + 1) / fps
    rows = np.searchsorted(timestamps, grid + slack, side="right") - 1
    age = grid - timestamps[rows]
    shown = age <= GAP * longer + 1e-9
    times = np.where(np.abs(age) <= slack, timestamps[rows], grid)
    return rows[shown], times[shown]


def _at_rate(features: Features, old_fps: float, fps: float) -> Features:
    """Features that had the rate of the grid have the new one; a slower native rate stays true."""
    return {
        name: replace(feature, rate_hz=fps) if feature.rate_hz == old_fps else feature
        for name, feature in features.items()
    }


def _env_at_rate(env: Json | None, fps: float) -> Json | None:
    """The environment as actions at the new rate replay in it."""
    return {**env, "control_hz": fps} if env is not None and "control_hz" in env else env


def _action_notes(features: Features, old_fps: float, fps: float) -> list[str]:
    actions = [feature for feature in features.values() if feature.kind == "action"]
    deltas = [f.name for f in actions if _are_differences(f)]
    if fps == old_fps or not actions:
        return []
    if deltas:
        how = "repeated" if fps > old_fps else "skipped"
        return [f"{name} looks like differences between steps; they are {how}, not rescaled" for name in deltas]
    return ["each step has the action in force at its time: right for positions and velocities, not for differences"]


def _are_differences(action: Feature) -> bool:
    """By what its layout says, else by its names."""
    if (meaning := layout_of(action)) is not None:
        return any(part.reference != "absolute" for part in meaning.parts)
    return any("delta" in label.lower() for label in (action.name, *(action.names or ())))
