"""How long work reports how far it is: a function that is called with (episodes done, episodes in all)."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Say nothing."""
