"""Episodes in worker processes: one policy and one environment each, start states handed out as workers become free.

Workers are spawned, never forked (a fork copies GL contexts and CUDA state that do not survive it), run torch on
one thread, and die with the parent. What an episode gives does not depend on which worker ran it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.core.errors import ConfigError, MissingDependencyError, RobolearnError, one_line
from robolearn.core.failure import UnexpectedError, debugging, explained, traceback_of
from robolearn.core.interrupt import spared_children
from robolearn.core.process import end_in_words
from robolearn.evaluation.run.environment import ActionRecord, open_world
from robolearn.evaluation.run.rollout import RolloutConfig, run_episode
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.run.video import EpisodeVideo, VideoConfig
from robolearn.evaluation.statistics.episode import AbortedEpisode, EpisodeResult
from robolearn.execution.anchored import trained_spec
from robolearn.execution.goals import Goals, GoalSource
from robolearn.execution.policy import ActingPolicy
from robolearn.execution.receding_horizon import actions_per_chunk

if TYPE_CHECKING:
    from robolearn.execution.policy_spec import PolicySpec
    from robolearn.sim.env import SimEnv

_STOP_TIMEOUT_S = 5.0
_TRIES = 3


@dataclass(frozen=True)
class RolloutJob:
    """All that a worker needs, by value.

    Attributes:
        env_options: for `make_env`; cameras that the policy looks through are added to them.
        videos: start states of which a video is made, in `video_folder`.
    """

    source: PolicySource
    env: str
    env_options: dict[str, Any] = field(default_factory=dict)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    videos: frozenset[int] = frozenset()
    video_folder: Path | None = None
    video: VideoConfig = field(default_factory=VideoConfig)
    goals: GoalSource | None = None


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says once its policy and environment are loaded."""

    spec: PolicySpec
    execute: int
    scene_version: str
    robots: dict[str, str]
    control_hz: float
    max_steps: int
    modes: int | None
    goals: dict[str, Any] | None
    actions: ActionRecord


def check_job(job: RolloutJob) -> ActionRecord | None:
    """What becomes of the policy's actions. Raises what is wrong with names and settings, before workers could say so.

    Raises like `load_policy` without its weights, `open_world` and `actions_per_chunk`. A policy from a factory is not
    looked at: its module may well be what adds the environment.
    """
    spec = job.source.spec()
    if spec is None:
        return None
    actions_per_chunk(spec, job.rollout.execute)
    env, _, actions = open_world(spec, job.env, job.env_options, job.goals, job.source.label, job.rollout.arm)
    env.close()
    return actions


def run_episodes(
    job: RolloutJob,
    init_states: Sequence[int],
    workers: int,
    on_episode: Callable[[EpisodeResult | AbortedEpisode], None] | None = None,
    on_ready: Callable[[WorkerReport], None] | None = None,
) -> tuple[list[EpisodeResult | AbortedEpisode], WorkerReport]:
    """Run one episode from each start state and return the results in the order of `init_states`.

    `on_ready` is called once, when the first worker has loaded policy and environment.

    An episode in which something raised, or whose worker died, is aborted; the others go on. What would end every
    episode is raised instead: an error at loading, an option that is wrong, a library that is missing, and the error of
    the first start state when the first three, or all, are aborted. All workers have been stopped then. Ctrl-C stops
    them too.
    """
    waiting = deque(init_states)
    outcomes: dict[int, EpisodeResult | AbortedEpisode] = {}
    failures: dict[int, _Failure] = {}
    report: WorkerReport | None = None
    not_started = ""
    with contextlib.closing(_Pool(job)) as pool:
        for _ in range(max(1, min(workers, len(init_states)))):
            pool.start()
        while pool.busy:
            connection, answer = pool.answer()
            init_state = pool.busy[connection]
            if isinstance(answer, WorkerReport):
                if report is None and on_ready:
                    on_ready(answer)
                report = answer
            elif init_state is None:
                assert isinstance(answer, _Failure)
                if report is None:
                    raise answer.error
                not_started = f"; {answer.error}"  # in place of one that died: the others go on
            else:
                if isinstance(answer, _Failure):
                    failures[init_state] = answer
                    _raise_what_is_everywhere(failures, init_state, init_states[:_TRIES])
                outcomes[init_state] = answer.aborted(init_state) if isinstance(answer, _Failure) else answer
                if on_episode:
                    on_episode(outcomes[init_state])
            if isinstance(answer, _Failure) and answer.died:
                pool.drop(connection)
                if waiting and init_state is not None:
                    pool.start()
            else:
                pool.hand_out(connection, waiting)
        pool.join()
    for init_state in waiting:
        outcomes[init_state] = AbortedEpisode(init_state, f"worker died: none could be started again{not_started}")
    assert report is not None
    if len(waiting) + len(failures) == len(init_states):
        raise next(iter(failures.values())).error
    return [outcomes[k] for k in init_states], report


def _raise_what_is_everywhere(failures: Mapping[int, _Failure], latest: int, first: Sequence[int]) -> None:
    """Raise the error that every episode would end with, if it is one of that kind."""
    if isinstance(failures[latest].error, ConfigError | MissingDependencyError):
        raise failures[latest].error
    if all(k in failures for k in first):
        raise failures[first[0]].error


class _Pool:
    """Worker processes. `busy` holds those that owe an answer, with the start state that they are at."""

    def __init__(self, job: RolloutJob):
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, Any] = {}
        self.busy: dict[Connection, int | None] = {}

    def start(self) -> None:
        """Start a worker; its first answer is a WorkerReport."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._job, theirs), daemon=True)
        with spared_children():
            process.start()
        theirs.close()
        self.busy[ours] = None
        self._processes[ours] = process

    def answer(self) -> tuple[Connection, EpisodeResult | WorkerReport | _Failure]:
        """Wait for the next answer of a worker that owes one. A death is an answer, too."""
        connection = multiprocessing.connection.wait(list(self.busy))[0]
        assert isinstance(connection, Connection)
        try:
            return connection, connection.recv()
        except (EOFError, ConnectionResetError):
            process, init_state = self._processes[connection], self.busy[connection]
            process.join(_STOP_TIMEOUT_S)
            status, loading = process.exitcode, init_state is None
            doing = "loading" if loading else f"start state {init_state}"
            how = f"{end_in_words(status)}{_hint(status, loading)}"
            error = RobolearnError(f"An evaluation worker died at {doing} ({how}).")
            return connection, _Failure(error, f"worker died: {how}", died=True)

    def hand_out(self, connection: Connection, waiting: deque[int]) -> None:
        """Give a worker the next start state; when there is none, let it end."""
        if waiting:
            self.busy[connection] = waiting.popleft()
        else:
            del self.busy[connection]
        # a worker that has just died is noticed when its answer is read
        with contextlib.suppress(BrokenPipeError):
            connection.send(self.busy.get(connection))

    def drop(self, connection: Connection) -> None:
        """A worker that owes nothing more."""
        del self.busy[connection]

    def join(self) -> None:
        for process in self._processes.values():
            process.join(_STOP_TIMEOUT_S)

    def close(self) -> None:
        for connection, process in self._processes.items():
            connection.close()
            if process.is_alive():
                process.terminate()
                process.join(_STOP_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()


def _hint(status: int | None, loading: bool) -> str:
    """What may have killed a worker and what to do about it, as the end of a sentence."""
    if status == -signal.SIGKILL:
        return ", often the kernel's answer to full memory: use fewer --workers"
    if status == 1 and loading:
        # its own exceptions come as messages: Python could not even import what the parent is running
        return '; what it printed says why. In a script, call evaluate() under `if __name__ == "__main__":`'
    return ""


@dataclass(frozen=True)
class _Failure:
    """What ended an episode, or a worker at loading, in a form that can be sent.

    Attributes:
        cause: of an aborted episode.
        died: the worker is no more.
    """

    error: RobolearnError
    cause: str
    died: bool = False

    @classmethod
    def of(cls, error: Exception, init_state: int | None) -> _Failure:
        told, whose = explained(error), getattr(error, "blamed", "evaluation")
        return cls(_named(told, init_state), f"{whose} failed: {one_line(told)}", died=init_state is None)

    def aborted(self, init_state: int) -> AbortedEpisode:
        return AbortedEpisode(init_state, self.cause)


def _work(job: RolloutJob, connection: multiprocessing.connection.Connection) -> None:
    """A worker's life: load, report, then one result for each start state received, until None or a closed pipe."""
    import torch

    from robolearn.core.process import die_with_parent

    die_with_parent()
    torch.set_num_threads(1)
    init_state: int | None = None
    try:
        policy = job.source.load()
        name, trained = job.source.label, trained_spec(policy)
        env, goals, actions = open_world(trained, job.env, job.env_options, job.goals, name, job.rollout.arm)
        execute = actions_per_chunk(policy.spec, job.rollout.execute)
        chosen = goals.to_dict() if goals else None
        with _talking():
            connection.send(
                WorkerReport(
                    trained,
                    execute,
                    env.scene_version,
                    dict(env.robots),
                    env.control_hz,
                    env.max_steps,
                    env.modes,
                    chosen,
                    actions,
                )
            )
            init_state = connection.recv()
        while init_state is not None:
            found: EpisodeResult | _Failure
            try:
                if init_state in job.videos and job.video_folder is not None:
                    found = _film(policy, env, init_state, job, name, job.video_folder, goals)
                else:
                    found = run_episode(policy, env, init_state, job.rollout, name, goals=goals)
            except Exception as error:
                found = _Failure.of(error, init_state)
                if debugging():
                    print(traceback_of(error), file=sys.stderr)
            with _talking():
                connection.send(found)
                init_state = connection.recv()
        env.close()
    except _ParentLeftError:
        return
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):
            connection.send(_Failure.of(error, init_state))


class _ParentLeftError(Exception):
    """The parent is gone or has stopped listening."""


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise _ParentLeftError from error


def _film(
    policy: ActingPolicy, env: SimEnv, init_state: int, job: RolloutJob, name: str, folder: Path, goals: Goals | None
) -> EpisodeResult:
    """`run_episode` with a video of it in `folder`."""
    path = folder / f"start_{init_state:06d}.mp4"
    try:
        with EpisodeVideo(path, env, init_state, job.video) as video:
            result = run_episode(policy, env, init_state, job.rollout, name, video.add, goals)
            video.finish(result.success)
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{error} Or evaluate without videos: --num-videos 0") from error
    return replace(result, video=f"{folder.name}/{path.name}")


def _named(error: RobolearnError, init_state: int | None) -> RobolearnError:
    """The same error with its start state in the message."""
    if init_state is None or f"start state {init_state}" in str(error):
        return error
    message = f"start state {init_state}: {error}"
    if isinstance(error, UnexpectedError):
        return UnexpectedError(message, error.details, error.ours)
    return type(error)(message)
