"""Where the episodes of a session go: nowhere, into a dataset step by step, or as streams (`streaming.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robolearn.datasets.write.writer import DatasetWriter
from robolearn.teleop.episode import Episode


class EpisodeSink:
    """Takes an episode while it happens. This one keeps nothing."""

    @property
    def num_episodes(self) -> int:
        """Committed episodes."""
        return 0

    def start_episode(self, facts: Mapping[str, Any] | None = None) -> None:
        """Begin an episode.

        Args:
            facts: what is known of it already, json-ready; an episode that is never committed has them, too.
        """

    def step(self, time_s: float, values: Mapping[str, np.ndarray], sim_state: np.ndarray | None) -> None:
        """One aligned step: observation and the action given in it."""

    def pause(self) -> None:
        """There will be no step for a while."""

    def commit(self, metadata: Mapping[str, Any]) -> None:
        """Save the episode with what is known of it now."""

    def discard(self) -> None:
        """Throw the episode away."""

    def describe_episode(self, episode: Episode) -> str:
        """How many samples were expected and came in the episode saved last, in one line for the operator."""
        return ""


class StepSink(EpisodeSink):
    """Steps go into a dataset's pending episode."""

    def __init__(self, writer: DatasetWriter):
        self._writer = writer

    @property
    def num_episodes(self) -> int:
        return self._writer.num_episodes

    def start_episode(self, facts: Mapping[str, Any] | None = None) -> None:
        self._writer.start_episode(facts)

    def step(self, time_s: float, values: Mapping[str, np.ndarray], sim_state: np.ndarray | None) -> None:
        self._writer.append(time_s, values, sim_state)

    def commit(self, metadata: Mapping[str, Any]) -> None:
        self._writer.commit(metadata)

    def discard(self) -> None:
        self._writer.discard()

    def describe_episode(self, episode: Episode) -> str:
        expected = episode.steps + episode.skipped_ticks
        return f"steps {episode.steps}/{expected}, {episode.skipped_ticks} dropped, {episode.late_ticks} late"
