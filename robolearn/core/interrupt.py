"""Ctrl-C, SIGTERM and a closed terminal as a request to stop between two ticks, not an exception inside one."""

from __future__ import annotations

import signal
import threading
from types import FrameType

# the last one arrives when an SSH connection or a terminal window is closed
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopRequest:
    """Context manager that notes the first stop signal; a second Ctrl-C interrupts at once.

    Calling the object says whether a stop was requested. Outside the main thread, where Python delivers no
    signals, it never is.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[int, object] = {}

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program ended by this signal; 0 when there was none."""
        return 0 if self.signal is None else 128 + int(self.signal)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            # under nohup a hangup is ignored already, and stays so
            heeded = [n for n in _SIGNALS if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
