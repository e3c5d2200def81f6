"""Evaluation of a policy over a fixed list of start states: run, summarise, save."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robolearn.core.config import to_dict
from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.output import held_output
from robolearn.core.process import usable_cores
from robolearn.core.provenance import provenance
from robolearn.evaluation.run.rollout import RolloutConfig
from robolearn.evaluation.run.seen_states import seen_states
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.run.video import VideoConfig
from robolearn.evaluation.run.workers import RolloutJob, WorkerReport, check_job, run_episodes
from robolearn.evaluation.statistics.episode import AbortedEpisode, EpisodeResult
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.evaluation.statistics.runs import METRICS
from robolearn.execution.goals import GoalSource
from robolearn.sim.registry import evaluation_start

CUDA_WORKERS = 4


@dataclass(frozen=True)
class EvaluationConfig:
    """What to evaluate on.

    Attributes:
        env: a name `make_env` knows.
        env_options: given to `make_env`, beside the cameras that the policy itself asks for.
        num_episodes: episodes start from `init_state`, `init_state + 1`, ...
        init_state: the first; None = the one that the environment keeps for evaluation.
        workers: processes; None is `default_workers`. Results do not depend on it.
        num_videos: the first so many start states are filmed, whatever their outcome.
        goals: for goal-conditioned policies.
    """

    env: str
    num_episodes: int = 50
    init_state: int | None = None
    env_options: dict[str, Any] = field(default_factory=dict)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    workers: int | None = None
    num_videos: int = 0
    video: VideoConfig = field(default_factory=VideoConfig)
    goals: GoalSource | None = None

    def __post_init__(self) -> None:
        if self.num_episodes < 1:
            raise ConfigError(f"--num-episodes must be at least 1, found {self.num_episodes}.")
        if self.num_videos < 0:
            raise ConfigError(f"--num-videos must be at least 0, found {self.num_videos}.")
        if (self.init_state or 0) < 0 or self.rollout.seed < 0:
            raise ConfigError(
                f"--init-state and --seed must be at least 0, found {self.init_state} and {self.rollout.seed}."
            )
        for name, value in (("--workers", self.workers), ("--max-steps", self.rollout.max_steps)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, found {value}.")

    def init_states(self) -> list[int]:
        """All of them, in their order. Raises ConfigError for an environment that there is not."""
        first = evaluation_start(self.env) if self.init_state is None else self.init_state
        return list(range(first, first + self.num_episodes))


def default_workers(device: str) -> int:
    """One for each usable core; on a CUDA device at most four, as each holds hundreds of MB of its memory."""
    return usable_cores() if device == "cpu" else min(usable_cores(), CUDA_WORKERS)


def default_output(source: PolicySource, env: str) -> Path:
    """A folder for each policy, environment and sampler: evaluations with different samplers replace no other."""
    policy = source.directory.resolve().name if source.directory is not None else source.name
    parts = (policy, env, *(f"{name}={value}" for name, value in source.sampling.items()))
    return Path("outputs/eval") / "-".join(re.sub(r"[^\w.=+-]+", "-", part) for part in parts)


def evaluate(
    source: PolicySource,
    config: EvaluationConfig,
    output: Path | None = None,
    on_episode: Callable[[EpisodeResult | AbortedEpisode], None] | None = None,
    command: str | None = None,
    on_ready: Callable[[], None] | None = None,
    on_interrupt: Callable[[EvaluationResults, bool], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> EvaluationResults:
    """Run the evaluation; with `output`, write `results.json` and `videos/` there, replacing older ones.

    `on_note` is told before the first episode what a reader of the results should know, such as that the policy was
    trained on these start states. `on_ready` is called when the first worker has loaded, `on_episode` after each
    episode.

    With `on_interrupt`, what was judged before Ctrl-C, SIGTERM or a closed terminal is not lost: it is called with
    the results, in which the other episodes are aborted, and whether they were written to `output`; older results that
    judged more episodes stay. The interruption goes on afterwards.

    At least one episode was judged then; what happened to the others is in `aborted`. Raises, before the first episode,
    like `check_job` and `held_output`, and ConfigError when `output` is the folder of a training run, whose own files
    it would replace; then like `run_episodes`.
    """
    if output is not None and (output / METRICS).exists():
        raise ConfigError(f"{output} holds a training run; choose another --output for its evaluation.")
    source, init_states = source.resolved(), config.init_states()
    videos = None if output is None else output / "videos"
    job = RolloutJob(
        source, config.env, config.env_options, config.rollout,
        frozenset(init_states[: config.num_videos]), videos, config.video, config.goals,
    )  # fmt: skip
    actions = check_job(job)
    run = _Run(job, config, init_states, command)
    if on_note and (note := run.seen.note()):
        on_note(note)
    if on_note and actions is not None and actions.description is not None and not actions.plain:
        on_note(actions.description)
    with nullcontext() if output is None else held_output(output):
        try:
            results = run(on_episode, on_ready)
        except (KeyboardInterrupt, SystemExit) as stop:
            if on_interrupt is not None and (found := run.interrupted(stop)) is not None:
                kept = output is not None and judged_in(output) <= len(found.episodes)
                if output is not None and kept:
                    _save(found, output)
                on_interrupt(found, kept)
            raise
        if output is not None:
            _save(results, output)
        return results


def judged_in(output: Path) -> int:
    """How many judged episodes the results in a folder have; 0 where there are none, or none that can be read."""
    try:
        return len(EvaluationResults.load(output).episodes)
    except DatasetError:
        return 0


def _save(results: EvaluationResults, output: Path) -> None:
    """Write `results.json`; of older results no video stays."""
    results.save(output)
    videos = {output / episode.video for episode in results.episodes if episode.video is not None}
    for old in set((output / "videos").glob("start_*.mp4*")) - videos:
        old.unlink()


class _Run:
    """One evaluation, and what is known of it so far."""

    def __init__(self, job: RolloutJob, config: EvaluationConfig, init_states: list[int], command: str | None):
        self._job, self._config, self._init_states, self._command = job, config, init_states, command
        self._checkpoint = _checkpoint_record(job.source)
        self.seen = seen_states(self._checkpoint["provenance"] or {}, config.env, init_states)
        self._workers = config.workers or default_workers(job.source.device)
        self._started = time.perf_counter()
        self._ended: dict[int, EpisodeResult | AbortedEpisode] = {}
        self._report: WorkerReport | None = None

    def __call__(
        self,
        on_episode: Callable[[EpisodeResult | AbortedEpisode], None] | None,
        on_ready: Callable[[], None] | None,
    ) -> EvaluationResults:
        def ready(report: WorkerReport) -> None:
            self._report = report
            if on_ready:
                on_ready()

        def ended(episode: EpisodeResult | AbortedEpisode) -> None:
            self._ended[episode.init_state] = episode
            if on_episode:
                on_episode(episode)

        episodes, report = run_episodes(self._job, self._init_states, self._workers, ended, ready)
        return self._results(episodes, report)

    def interrupted(self, stop: BaseException) -> EvaluationResults | None:
        """What there is when `stop` ends the run, or None while no episode was judged."""
        if self._report is None or not any(isinstance(e, EpisodeResult) for e in self._ended.values()):
            return None
        by = "Ctrl-C" if isinstance(stop, KeyboardInterrupt) else "SIGTERM, or its terminal was closed"
        cause = f"interrupted: the evaluation was ended by {by}"
        episodes = [self._ended.get(k) or AbortedEpisode(k, cause) for k in self._init_states]
        return self._results(episodes, self._report)

    def _results(self, episodes: Sequence[EpisodeResult | AbortedEpisode], report: WorkerReport) -> EvaluationResults:
        source, config = self._job.source, self._config
        return EvaluationResults(
            policy={
                "source": source.name,
                "spec": report.spec.to_dict(),
                "sampling": source.sampling,
                "device": source.device,
                **self._checkpoint,
            },
            environment={
                "name": config.env,
                "scene_version": report.scene_version,
                "robots": report.robots,
                "options": to_dict(config.env_options),
                "control_hz": report.control_hz,
                "max_steps": report.max_steps,
                "modes": report.modes,
                "actions": report.actions.taken,
            },
            settings={
                "seed": config.rollout.seed,
                "execute": report.execute,
                "workers": self._workers,
                "max_steps": config.rollout.max_steps,
                "goals": report.goals,
                "actions": report.actions.description,
                "seen_start_states": self.seen.to_dict(),
            },
            episodes=tuple(e for e in episodes if isinstance(e, EpisodeResult)),
            aborted=tuple(e for e in episodes if isinstance(e, AbortedEpisode)),
            wall_s=time.perf_counter() - self._started,
            command=self._command,
            provenance=provenance(),
        )


def _checkpoint_record(source: PolicySource) -> dict[str, Any]:
    """Name, configuration and making of a checkpoint's policy, as it was saved, without the training curve."""
    if source.directory is None:
        return {"name": None, "config": None, "provenance": None}
    from robolearn.policies.checkpoint import load_declaration, load_provenance

    record = load_provenance(source.directory)
    return {
        **load_declaration(source.directory),
        "provenance": {key: value for key, value in record.items() if key != "curve"},
    }
