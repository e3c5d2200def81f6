"""What the operator reads: one line for an episode, live on a terminal, plain elsewhere."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from robolearn.execution.command import Command
from robolearn.teleop.episode import Episode
from robolearn.teleop.status import LiveStatus, PlainStatus, describe, make_status

POSE = Command(np.array([0.5, -0.1, 0.25]), np.eye(3), 0.35)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("episode", "words"),
    [
        (Episode(0, waiting=True), "waiting for the first motion | 0.0 Hz, 0 late | gripper 35 % | TCP +500 -100"),
        (Episode(0, steps=81, duration_s=4.0, late_ticks=2), "4.0 s | 20.0 Hz, 2 late | gripper"),
        (Episode(0, steps=81, duration_s=4.0, paused=True), "paused | "),
        (Episode(0, success=True), "0 late | success | gripper"),
        (Episode(0, success=True, mark=False), "0 late | marked failure | gripper"),
        (Episode(0, success=False, mark=True), "0 late | marked success | gripper"),
        (Episode(0, steps=81), "mm | 81 steps"),
    ],
)  # fmt: skip
def test_an_episode_in_one_line(episode, words):
    assert words in " | ".join(describe(episode, POSE))


def live_line(width: int, heading: str, episode: Episode, monkeypatch) -> str:
    """What a terminal of this width shows, without its control codes."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    status = make_status(stream)
    status.tick(heading, episode, POSE)
    status.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", stream.getvalue()).splitlines()
    [line] = {line for line in shown if line.strip()}
    return line


def test_80_columns_hold_all_that_is_told_of_an_usual_episode(monkeypatch):
    episode = Episode(0, steps=1810, duration_s=90.45, late_ticks=12)
    line = live_line(80, "episode 10/50", episode, monkeypatch)
    assert line == "episode 10/50 | 90.5 s | 20.0 Hz, 12 late | gripper 35 % | TCP +500 -100 +250 mm"
    assert len(line) == 80


@pytest.mark.parametrize("width", [100, 80, 60, 40, 24])
@pytest.mark.parametrize("episode", [Episode(0, waiting=True), Episode(0, steps=9, duration_s=1e4, mark=False)])
def test_the_line_fits_every_terminal_without_a_part_cut_in_two(monkeypatch, width, episode):
    line = live_line(width, "episode 100/100", episode, monkeypatch)
    assert len(line) <= width
    assert line.split(" | ") == ["episode 100/100", *describe(episode, POSE)][: line.count(" | ") + 1]


def test_a_terminal_gets_a_live_line_and_messages_above_it():
    stream = Terminal()
    status = make_status(stream)
    assert isinstance(status, LiveStatus)
    for steps in range(1000):  # redrawn a few times a second, not every tick
        status.tick("episode 1/2", Episode(0, steps=steps), POSE)
    status.say("episode 1/2 [saved]")
    status.close()
    written = stream.getvalue()
    assert "episode 1/2 | 0.0 s | 0.0 Hz, 0 late" in written
    assert "episode 1/2 [saved]" in written
    assert written.count("episode 1/2 | ") < 20


def test_elsewhere_there_are_plain_lines_only():
    stream = io.StringIO()
    status = make_status(stream)
    assert isinstance(status, PlainStatus)
    status.say("episode 1/2 saved")
    status.tick("episode 2/2", Episode(0), POSE)
    status.close()
    assert stream.getvalue() == "episode 1/2 saved\n"
