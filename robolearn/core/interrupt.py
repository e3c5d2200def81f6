"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP), for every verb alike.

    stopped_in_order()    around a whole program: the first signal becomes an exception that passes every `finally`
    StopRequest()         around a loop: the first signal is noted, and the loop ends between two ticks
    spared_children()     around starting worker processes: what a terminal sends to all reaches the parent only

Under `nohup`, and in the background of a shell without job control, some of these signals are ignored when a program
starts. They stay so.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

# the last one arrives when an SSH connection or a terminal window is closed
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# those that a terminal sends to every process of the group in front of it
_FROM_TERMINAL = {number for number in _SIGNALS if number != signal.SIGTERM}


def _heeded() -> list[signal.Signals]:
    """The signals that ask a program to stop, but for those that it was told to ignore."""
    # a background job of a script is deaf to Ctrl-C but not to `kill -INT`, which is what we tell people to type
    return [n for n in _SIGNALS if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]


class _Handlers:
    """A signal handler for a while, in the main thread; Python delivers signals to no other."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[int, object] = {}

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _heeded()}

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
            # who was told within the block is not told again: the same hangup comes from the kernel and the shell
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, _Handlers):
                outer.signal = outer.signal or self.signal
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError


class StopRequest(_Handlers):
    """Context manager that notes the first stop signal; a second Ctrl-C interrupts at once.

    Calling the object says whether a stop was requested. Outside the main thread, where Python delivers no
    signals, it never is.

    Args:
        told: called when a stop is requested, for who sleeps rather than asks.
    """

    def __init__(self, told: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._told = told

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program ended by this signal; 0 when there was none."""
        return 0 if self.signal is None else 128 + int(self.signal)

    def __enter__(self) -> StopRequest:
        self._install()
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        self._told()


class StoppedError(SystemExit):
    """The end that a signal asked for, as against that of code which calls `sys.exit`."""


class _Unwinding(_Handlers):
    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, signal.Signals(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        # cleaning up goes on, only Ctrl-C cuts it short: a hangup is told by the kernel and the shell, and a child is
        # told of its parent's end once for each of the parent's threads
        if not again:
            raise StoppedError(128 + number)

    def _restore(self) -> None:
        heeded = list(self._previous)
        super()._restore()
        for number in heeded if self.signal is not None else ():
            if number != signal.SIGINT:  # the program is ending, with the status of the first signal
                signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def stopped_in_order() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block like Ctrl-C: by an exception, so arms stop and files are closed.

    The exception is StoppedError with the status a shell expects (143, 129), for Ctrl-C KeyboardInterrupt. Once one has
    come, further SIGTERM and SIGHUP are ignored to the end of the program.
    """
    handlers = _Unwinding()
    handlers._install()
    try:
        yield
    finally:
        handlers._restore()


@contextlib.contextmanager
def spared_children() -> Iterator[None]:
    """Processes started inside never hear Ctrl-C or a hangup themselves: the parent does, and then stops them.

    Python's resource tracker unblocks signals when it starts, so it is started first.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
