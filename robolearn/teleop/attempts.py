"""Start states one after the other, until enough episodes are kept, or nothing but failures comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from robolearn.core.errors import RobolearnError

MAX_FAILURES_IN_A_ROW = 20


class Attempts:
    """What is still to be tried: `for init_state in attempts`, with `keep()` or `miss()` said of each.

    Args:
        num_episodes: to be kept.
        init_states: tried in this order; when they end, so do the attempts.
        who: named when nothing but failures comes.
        where: the dataset, named likewise.
    """

    def __init__(self, num_episodes: int, init_states: Iterable[int], who: str, where: object):
        self.num_episodes = num_episodes
        self.kept = 0
        self._init_states = iter(init_states)
        self._who, self._where = who, where
        self._state: int | None = None
        self._failures = 0

    def __iter__(self) -> Iterator[int]:
        while self.kept < self.num_episodes:
            self._state = next(self._init_states, None)
            if self._state is None:
                return
            yield self._state

    def keep(self) -> None:
        """The episode is saved."""
        self.kept += 1
        self._failures = 0

    def miss(self, saved: int) -> None:
        """The episode missed the task, and another is tried.

        Args:
            saved: episodes that are in the dataset.

        Raises RobolearnError after `MAX_FAILURES_IN_A_ROW`.
        """
        self._failures += 1
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            raise RobolearnError(
                f"The {self._who} failed {self._failures} times in a row, last from start state {self._state}; "
                f"{saved} episodes are saved in {self._where}."
            )
