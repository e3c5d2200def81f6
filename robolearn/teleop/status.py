"""What the operator sees while a session runs: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from robolearn.core.fitting import fitting
from robolearn.execution.command import Command
from robolearn.teleop.episode import Episode

REFRESH_S = 0.2
PLAIN_REFRESH_S = 5.0


class Status(Protocol):
    """Shows a session. `tick` is cheap enough to be called from the loop."""

    def say(self, message: str) -> None: ...

    def tick(self, heading: str, episode: Episode, measured: Command) -> None: ...

    def close(self) -> None: ...


def describe(episode: Episode, measured: Command) -> list[str]:
    """An episode in progress, in parts; what matters least comes last, where a narrow terminal leaves it out."""
    if episode.paused:
        state = "paused"
    elif episode.waiting:
        state = "waiting for the first motion"
    else:
        state = f"{episode.duration_s:.1f} s"
    parts = [state, f"{episode.rate_hz:.1f} Hz, {episode.late_ticks} late"]
    if episode.mark is not None:
        parts.append("marked success" if episode.mark else "marked failure")
    elif episode.success:
        parts.append("success")
    x, y, z = (1e3 * coordinate for coordinate in measured.position_m)
    parts += [f"gripper {100 * measured.gripper:.0f} %", f"TCP {x:+.0f} {y:+.0f} {z:+.0f} mm"]
    return [*parts, f"{episode.steps} steps"]


class LiveStatus:
    """A line that is redrawn in place a few times a second; messages scroll by above it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        # no thread of rich's own: it would take the interpreter away from the loop at random moments
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._next_s = 0.0

    def say(self, message: str) -> None:
        self._console.print(message, markup=False)

    def tick(self, heading: str, episode: Episode, measured: Command) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + REFRESH_S
            # asked for each time: windows change their size
            line = fitting([heading, *describe(episode, measured)], self._console.width)
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        self._live.stop()


class PlainStatus:
    """Messages one a line, and now and then how the episode goes, for log files and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._next_s = time.monotonic() + PLAIN_REFRESH_S

    def say(self, message: str) -> None:
        print(message, file=self._stream, flush=True)

    def tick(self, heading: str, episode: Episode, measured: Command) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + PLAIN_REFRESH_S
            self.say(" | ".join([heading, *describe(episode, measured)]))

    def close(self) -> None: ...


def make_status(stream: TextIO | None = None) -> Status:
    """A live line when the stream (standard error by default) is a terminal, plain lines otherwise."""
    stream = stream or sys.stderr
    return LiveStatus(stream) if stream.isatty() else PlainStatus(stream)
