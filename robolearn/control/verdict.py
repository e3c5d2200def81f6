"""Whether an episode succeeded, asked of a person where nothing measures it."""

from __future__ import annotations

import os
from collections.abc import Callable

from robolearn.core.clock import Clock, MonotonicClock
from robolearn.hardware.input.keyboard import Keyboard, terminal
from robolearn.hardware.input.protocol import Event

_ANSWERS = {Event.SUCCESS: True, Event.FAILURE: False, Event.STOP: None}
_POLL_S = 0.02

Judge = Callable[[int], bool | None]


def somebody_is_there(descriptor: int | None = None) -> bool:
    """Whether keys can be read: standard input is a terminal, and this program is in its foreground."""
    found = terminal(descriptor)
    try:
        return found is not None and os.tcgetpgrp(found) == os.getpgrp()
    except OSError:  # not this program's own terminal
        return False


class OperatorJudge:
    """Asks the operator with the keys of `record`: s success, f failure, Esc or q neither.

    Args:
        say: shows the question.
        keyboard: of standard input by default.
    """

    def __init__(self, say: Callable[[str], None], keyboard: Keyboard | None = None, clock: Clock | None = None):
        self._say = say
        self._clock = clock or MonotonicClock(spin_s=0.0)
        self._keyboard = keyboard or Keyboard(self._clock)

    def __call__(self, init_state: int) -> bool | None:
        """Wait for an answer: True, False, or None where the episode is to stay unjudged."""
        self._keyboard.connect()
        try:
            self._keyboard.read()  # what was typed while the arm moved answers nothing
            self._say(f"start state {init_state}: did it succeed?  s success, f failure, q leave it unjudged")
            while True:
                for event in self._keyboard.read().events:
                    if event in _ANSWERS:
                        return _ANSWERS[event]
                self._clock.sleep_until(self._clock.now() + _POLL_S)
        finally:
            self._keyboard.disconnect()
