"""`Prefetcher`: makes the batches that are about to be asked for, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """`at(step)` is `make(step)`; asked for one step after the other, the next ones are under way already.

    Threads, not processes: reading files and decoding images leave Python's lock alone, and nothing is copied between
    processes. What `make` raises reaches the caller of `at` for that step. `at` itself is for one thread.

    Args:
        make: called in the threads, for each step once.
        workers: threads; 0 = `make` runs where `at` is called.
        ahead: steps under way beside the one asked for.
    """

    def __init__(self, make: Callable[[int], T], workers: int, ahead: int):
        self._make, self._ahead = make, ahead
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers else None
        self._coming: deque[tuple[int, Future[T]]] = deque()

    def at(self, step: int, stop: int | None = None) -> T:
        """The product of `step`. Nothing is made ahead from `stop` on."""
        if self._threads is None:
            return self._make(step)
        if not self._coming or self._coming[0][0] != step:
            self._drop()
        following = self._coming[-1][0] + 1 if self._coming else step
        for coming in range(following, step + 1 + self._ahead if stop is None else min(step + 1 + self._ahead, stop)):
            self._coming.append((coming, self._threads.submit(self._make, coming)))
        return self._coming.popleft()[1].result()

    def close(self) -> None:
        """Drop what is under way and end the threads."""
        self._drop()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def _drop(self) -> None:
        for _, future in self._coming:
            future.cancel()
        self._coming.clear()
