"""What the operator reads: one line for an episode, live on a terminal, plain elsewhere."""

from __future__ import annotations

import io

import numpy as np
import pytest

from robolearn.hardware.arms.protocol import Command
from robolearn.teleop.session import Episode
from robolearn.teleop.status import LiveStatus, PlainStatus, describe, make_status

POSE = Command(np.array([0.5, -0.1, 0.25]), np.eye(3), 0.35)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("episode", "words"),
    [
        (Episode(0, waiting=True), "waiting for the first motion | 0.0 Hz, 0 late | gripper 35 % | TCP +0.50 -0.10"),
        (Episode(0, steps=81, duration_s=4.0, late_ticks=2), "4.0 s, 81 steps | 20.0 Hz, 2 late | gripper"),
        (Episode(0, steps=81, duration_s=4.0, paused=True), "paused | "),
        (Episode(0, success=True), "0 late | success | gripper"),
        (Episode(0, success=True, mark=False), "0 late | marked failure | gripper"),
        (Episode(0, success=False, mark=True), "0 late | marked success | gripper"),
    ],
)  # fmt: skip
def test_an_episode_in_one_line(episode, words):
    assert words in describe(episode, POSE)


def test_a_terminal_gets_a_live_line_and_messages_above_it():
    stream = Terminal()
    status = make_status(stream)
    assert isinstance(status, LiveStatus)
    for steps in range(1000):  # redrawn a few times a second, not every tick
        status.tick("episode 1/2", Episode(0, steps=steps), POSE)
    status.say("episode 1/2 [saved]")
    status.close()
    written = stream.getvalue()
    assert "episode 1/2 | 0.0 s, 0 steps" in written
    assert "episode 1/2 [saved]" in written
    assert written.count("steps |") < 20


def test_elsewhere_there_are_plain_lines_only():
    stream = io.StringIO()
    status = make_status(stream)
    assert isinstance(status, PlainStatus)
    status.say("episode 1/2 saved")
    status.tick("episode 2/2", Episode(0), POSE)
    status.close()
    assert stream.getvalue() == "episode 1/2 saved\n"
