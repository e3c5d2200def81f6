"""The keyboard of a terminal, which also works over SSH: no X11, no root, no extra package.

A terminal reports presses only. Holding a key gives one press, a gap of 0.25 to 0.5 s (the keyboard's repeat
delay), then presses 25 to 35 ms apart. Each press therefore moves the arm for `pulse_s` = 0.15 s: a tap is a
nudge of 15 mm at the normal 0.1 m/s, and repeats arrive soon enough to keep the motion going, with up to 0.1 s
of jitter on the line. The arm stops at most 0.15 s after a key is let go, or when the connection dies. Terminals
repeat only the key pressed last, so diagonal moves are taps in turn.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import termios
import tty

import numpy as np

from robolearn.core.clock import Clock, MonotonicClock
from robolearn.core.errors import DeviceError
from robolearn.hardware.input.keys import KeyDecoder
from robolearn.hardware.input.protocol import Event, Motion

# key -> axis of the twist and sign; x forward, y left, z up, rotations about the same axes of the base frame
MOTION_KEYS: dict[str, tuple[int, float]] = {
    "i": (0, 1.0), "k": (0, -1.0), "j": (1, 1.0), "l": (1, -1.0), "u": (2, 1.0), "o": (2, -1.0),
    "up": (2, 1.0), "down": (2, -1.0),
    "y": (3, 1.0), "h": (3, -1.0), "t": (4, 1.0), "g": (4, -1.0), "v": (5, 1.0), "b": (5, -1.0),
}  # fmt: skip
EVENT_KEYS: dict[str, Event] = {
    "right": Event.SAVE, "n": Event.SAVE,
    "left": Event.DISCARD, "r": Event.DISCARD, "backspace": Event.DISCARD,
    "s": Event.SUCCESS, "f": Event.FAILURE, "space": Event.CLUTCH,
    "esc": Event.STOP, "q": Event.STOP,
}  # fmt: skip
GRIPPER_KEYS = ("c", "enter")
SPEED_KEYS = {"+": 1.25, "=": 1.25, "-": 0.8, "_": 0.8}

KEY_TABLE = """\
  move      i / k  forward / back     j / l  left / right     u / o (or up / down)  up / down
  turn      y / h  roll               t / g  pitch            v / b  yaw
  gripper   c or Enter  open / close  + / -  faster / slower
  episode   right or n  save          left or r  discard and do it again
            s  mark success           f  mark failure
            space  pause / go on      Esc or q  stop (drops the episode in progress)"""


def terminal(descriptor: int | None = None) -> int | None:
    """The descriptor, of standard input by default, if it is a terminal; else None."""
    try:
        descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        return descriptor if os.isatty(descriptor) else None
    except (OSError, ValueError, AttributeError):
        return None


class Keyboard:
    """Reads key presses from a terminal in cbreak mode and turns them into a twist, a gripper and events.

    Args:
        clock: what `pulse_s` is measured on.
        descriptor: file descriptor of the terminal; standard input by default.
        speed_m_s, turn_rad_s: velocity while a motion key is down, before `+` and `-`.
        pulse_s: how long one press moves.
    """

    name = "keyboard"
    autonomous = False

    def __init__(
        self,
        clock: Clock | None = None,
        descriptor: int | None = None,
        speed_m_s: float = 0.1,
        turn_rad_s: float = 0.5,
        pulse_s: float = 0.15,
    ):
        self._clock = clock or MonotonicClock()
        self._given_descriptor = descriptor
        self._descriptor = -1
        self._velocity = np.repeat([speed_m_s, turn_rad_s], 3)
        self._pulse_s = pulse_s
        self._decoder = KeyDecoder()
        self._saved_mode: list | None = None
        self._speed = 1.0
        self._gripper_open = True
        self._first_observation = False
        self._hung_up = False
        self._sequence = 0
        self._release()

    def _release(self) -> None:
        """No key is down any more."""
        self._direction = np.zeros(6)
        self._until_s = np.full(6, -np.inf)

    def describe(self) -> str:
        terminal = os.ttyname(self._descriptor) if self._saved_mode else "not connected"
        return f"Operator: keyboard of this terminal ({terminal}); it must have the focus.\n{KEY_TABLE}"

    def connect(self) -> None:
        """Put the terminal into cbreak mode. Raises DeviceError when there is no terminal."""
        descriptor = terminal(self._given_descriptor)
        if descriptor is None:
            raise DeviceError(
                "The keyboard operator reads keys from a terminal, but standard input is not one. Run it in a "
                "terminal (over SSH: ssh -t HOST ...), or use --operator scripted."
            )
        self._descriptor = descriptor
        self._saved_mode = termios.tcgetattr(descriptor)
        atexit.register(self.disconnect)
        tty.setcbreak(descriptor, termios.TCSANOW)

    def disconnect(self) -> None:
        """Give the terminal back as it was found. Safe to call at any time, more than once."""
        if self._saved_mode is not None:
            with contextlib.suppress(termios.error, OSError):  # the terminal may be gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved_mode)
            self._saved_mode = None
            atexit.unregister(self.disconnect)

    def start_episode(self, attempt: int) -> None:
        """Forget what was pressed before; the gripper is taken from the first observation."""
        del attempt
        self._release()
        self._first_observation = True

    def observe(self, observation: dict[str, np.ndarray], time_s: float) -> None:
        """Only the first observation of an episode is looked at: the toggle key starts from its gripper."""
        if self._first_observation:
            self._gripper_open = bool(observation["observation.state"][9] > 0.5)
            self._first_observation = False

    def read(self) -> Motion:
        """Everything typed since the last call, without waiting. A terminal that is gone means STOP."""
        now = self._clock.now()
        events: list[Event] = []
        gripper: float | None = None
        for key in self._decoder.feed(self._typed(), now):
            if key in MOTION_KEYS:
                axis, sign = MOTION_KEYS[key]
                self._direction[axis] = sign
                self._until_s[axis] = now + self._pulse_s
            elif key in EVENT_KEYS:
                events.append(EVENT_KEYS[key])
            elif key in GRIPPER_KEYS:
                self._gripper_open = not self._gripper_open
                gripper = float(self._gripper_open)
            elif key in SPEED_KEYS:
                self._speed = float(np.clip(self._speed * SPEED_KEYS[key], 0.2, 3.0))
        if self._hung_up:
            events.append(Event.STOP)
        twist = np.where(now < self._until_s, self._direction, 0.0) * self._velocity * self._speed
        self._sequence += 1
        return Motion(twist, gripper, tuple(events), now, self._sequence)

    def _typed(self) -> bytes:
        data = b""
        while not self._hung_up and select.select([self._descriptor], [], [], 0.0)[0]:
            try:
                chunk = os.read(self._descriptor, 4096)
            except OSError:
                chunk = b""
            self._hung_up = not chunk
            data += chunk
        return data
