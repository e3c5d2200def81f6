"""Play recorded simulated episodes back: do they reach the task's success check by states, and by actions?

By states: every recorded simulator state is set and the task is checked there; this asks whether states, model and
success check still belong together. By actions: the recorded actions run open loop from the first state; this asks
whether the physics still leads to the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import DatasetError
from robolearn.core.registry import SignatureError
from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.run.video import EpisodeVideo, VideoConfig
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.sim.env import SimEnv
from robolearn.sim.registry import make_env

Way = Literal["states", "actions"]
WAYS: tuple[Way, ...] = get_args(Way)
_STATE = "observation.state"


@dataclass(frozen=True)
class Outcome:
    """How one episode went one way.

    Attributes:
        success: the task's check held at some step.
        step: first step at which it held, counted in recorded steps; None when it never did.
        score: the best partial credit.
        deviation: largest distance of an element of `observation.state` from the recording, in its own unit.
    """

    success: bool
    step: int | None
    score: float
    deviation: float | None


@dataclass(frozen=True)
class EpisodeReplay:
    """One episode played back. A way that was not asked for, or that the dataset cannot be played in, is None."""

    episode: int
    task: str | None
    steps: int
    recorded_success: bool | None
    states: Outcome | None
    actions: Outcome | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def replay_dataset(
    path: Path,
    ways: Sequence[Way] = WAYS,
    episodes: Sequence[int] | None = None,
    videos: Path | None = None,
    video_camera: str | None = None,
    on_episode: Callable[[EpisodeReplay], None] = lambda _: None,
) -> list[EpisodeReplay]:
    """Play episodes back in a fresh environment of the dataset's kind.

    Args:
        path: dataset that was recorded in, or imported from, a simulator.
        ways: "states", "actions" or both.
        episodes: which; all by default.
        videos: folder for one mp4 per episode and way; none by default.
        video_camera: the environment's usual one by default.
        on_episode: called after each episode.

    Raises DatasetError when the dataset has no simulator states, was made with another scene version, or lacks an
    episode asked for.
    """
    dataset = Dataset(path)
    chosen = list(range(dataset.num_episodes)) if episodes is None else list(episodes)
    for episode in chosen:
        dataset.episode_slice(episode)
    found = []
    with closing(_environment(dataset)) as env:
        for episode in chosen:
            outcomes: dict[str, Outcome] = {}
            for way in ways:
                with ExitStack() as stack:
                    film = None
                    if videos is not None:
                        file = videos / f"episode_{episode:04d}_{way}.mp4"
                        film = stack.enter_context(EpisodeVideo(file, env, episode, VideoConfig(camera=video_camera)))
                    outcomes[way] = _play(env, dataset, episode, way, film)
            record = dataset.episodes[episode]
            replay = EpisodeReplay(
                episode=episode,
                task=record.get("task"),
                steps=int(record["num_steps"]),
                recorded_success=record.get("success"),
                states=outcomes.get("states"),
                actions=outcomes.get("actions"),
            )
            found.append(replay)
            on_episode(replay)
    return found


def summarise(replays: Sequence[EpisodeReplay]) -> dict[str, dict[str, int]]:
    """For each way played: how many episodes of how many reached success."""
    summary: dict[str, dict[str, int]] = {}
    for way in WAYS:
        outcomes = [getattr(replay, way) for replay in replays if getattr(replay, way) is not None]
        if outcomes:
            summary[way] = {"successes": sum(outcome.success for outcome in outcomes), "episodes": len(outcomes)}
    return summary


def _environment(dataset: Dataset) -> SimEnv:
    described = dataset.sim_env
    if described is None:
        raise DatasetError(
            f"{dataset.name} was not recorded in a simulator, so it cannot be replayed. Datasets made by `robolearn "
            "record` in a simulated environment, and imported robosuite demonstrations, can."
        )
    name, rate = described["name"], described.get("control_hz")
    env = make_env(name)
    recorded = layout_of(dataset.features[env.action_feature.name])
    action = {}
    if recorded is not None and recorded != layout_of(env.action_feature) and env.takes(recorded):
        action = {"action": recorded}
        env.close()
        env = make_env(name, **action)
    if rate is not None and abs(rate - env.control_hz) > 1e-6 * env.control_hz:
        env.close()
        try:
            env = make_env(name, control_hz=rate, **action)
        except SignatureError as error:
            raise DatasetError(
                f"{dataset.name} was recorded at {rate} Hz; {name} runs at {env.control_hz} Hz."
            ) from error
    if described.get("robots") not in (None, dict(env.robots)):  # older datasets do not name them
        env.close()
        raise DatasetError(
            f"{dataset.name} was recorded with the robot models {described['robots']}; {name} has {dict(env.robots)} "
            "here: the same actions lead elsewhere. Install the version it was recorded with."
        )
    if env.scene_version != described.get("scene_version"):
        env.close()
        raise DatasetError(
            f"{dataset.name} was recorded in {described.get('scene_version')} of {name}, which is {env.scene_version} "
            "here: the same actions lead elsewhere. Install the version it was recorded with."
        )
    return env


def _play(env: SimEnv, dataset: Dataset, episode: int, way: Way, film: EpisodeVideo | None) -> Outcome:
    states = dataset.sim_states(episode)
    if states is None:
        raise DatasetError(f"{dataset.name} holds no simulator states; record it again to be able to replay it.")
    steps = dataset.episode_slice(episode)
    recorded = dataset.array(_STATE)[steps] if _STATE in dataset.features else None
    tally = _Tally(recorded, film)
    observation, _ = env.reset(options=_start_of(dataset.episodes[episode]))
    if way == "states":
        for k, state in enumerate(states):
            tally.add(env, k, env.set_sim_state(state), env.task_info())
    else:
        actions = dataset.array(env.action_feature.name)[steps]
        converter = _converter(env, dataset)
        # a start state that is reproduced exactly keeps what the state does not hold, such as solver warm starts
        if not np.array_equal(env.sim_state(), states[0]):
            observation = env.set_sim_state(states[0])
        if converter is not None:
            converter.start(observation)
        for k, action in enumerate(actions):
            told = action if converter is None else converter.convert(action, observation)
            observation, _, _, _, info = env.step(told)
            tally.add(env, k + 1, observation, info)
    return tally.outcome()


def _converter(env: SimEnv, dataset: Dataset) -> ActionConverter | None:
    """What makes the environment's actions of the dataset's, where it does not take them; None where it does."""
    recorded, taken = (
        layout_of(feature) for feature in (dataset.features[env.action_feature.name], env.action_feature)
    )
    if recorded is None or taken is None:
        return None
    plan = conversion(recorded, taken, mounted=env.mounted, dt_s=1.0 / env.control_hz)
    return None if plan.identity else ActionConverter(plan, env.observation_features, env)


def _start_of(record: dict[str, Any]) -> dict[str, Any]:
    """Options of `reset` that rebuild the model an episode was recorded in."""
    return record.get("reset_options") or {"init_state": record.get("init_state") or 0}


class _Tally:
    """What has been seen of one episode so far."""

    def __init__(self, recorded: np.ndarray | None, film: EpisodeVideo | None):
        self._recorded = recorded
        self._film = film
        self._step: int | None = None
        self._score = 0.0
        self._deviation: float | None = None

    def add(self, env: SimEnv, step: int, observation: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        if info["success"] and self._step is None:
            self._step = step
        self._score = max(self._score, float(info["score"]))
        if self._recorded is not None and step < len(self._recorded) and _STATE in observation:
            here = float(np.abs(observation[_STATE] - self._recorded[step]).max())
            self._deviation = max(here, self._deviation or 0.0)
        if self._film is not None:
            self._film.add(env, step, bool(info["success"]))

    def outcome(self) -> Outcome:
        success = self._step is not None
        if self._film is not None:
            self._film.finish(success)
        return Outcome(success, self._step, self._score, self._deviation)
