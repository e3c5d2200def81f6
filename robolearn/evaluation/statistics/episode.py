"""The outcome of one episode, or why there is none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpisodeResult:
    """What happened in one episode; equal for equal (scene, start state, policy, seed), except for the timing.

    `steps` counts actions; `first_success_step` is the number of actions after which success was first true.
    Scores are the environment's own partial credit in [0, 1]. `goal_episode` is the recorded episode that ended in
    the goal, for goal-conditioned policies. `fault` is what the policy failed with, in one line, where that ended the
    episode after some of its actions had been executed. `inexact` says which actions were not exactly converted to
    those that the environment takes, such as poses out of reach.
    """

    init_state: int
    success: bool
    steps: int
    first_success_step: int | None
    max_score: float
    final_score: float
    mode: str | None
    inferences: int
    mean_inference_ms: float = field(compare=False)
    wall_s: float = field(compare=False)
    video: str | None = field(default=None, compare=False)
    goal_episode: int | None = None
    fault: str | None = None
    inexact: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AbortedEpisode:
    """An episode that ended before it could be judged. `cause` is one line, `KIND: what happened`."""

    init_state: int
    cause: str
