"""`robolearn teleop`: without a display, with one (Xvfb), and from a terminal."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main


@pytest.fixture
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def picture(xwd: Path) -> np.ndarray:
    """(H, W, 3) BGR: the frame buffer of the X server, in XWD format with 32 bits a pixel."""
    data = xwd.read_bytes()
    header = struct.unpack(">25I", data[:100])
    header_bytes, width, height, line_bytes, colours = header[0], header[4], header[5], header[12], header[19]
    pixels = np.frombuffer(data, np.uint8, line_bytes * height, header_bytes + 12 * colours)
    return pixels.reshape(height, line_bytes // 4, 4)[:, :width, :3]


@pytest.mark.realtime
def test_without_a_display_it_says_so_and_drives_on(no_display, capsys):
    assert main(["teleop", "--operator", "scripted", "--duration-s", "1", "--json"]) == 0
    captured = capsys.readouterr()
    assert "No viewer: there is no display" in captured.err
    summary = json.loads(captured.out)
    assert summary["stopped"] == "duration"
    assert 10 <= summary["steps"] <= 21


@pytest.mark.slow
def test_as_fast_as_possible_it_goes_from_one_start_state_to_the_next(no_display, capsys):
    assert main("teleop --operator scripted --speed max --duration-s 20 --init-state 7 --json".split()) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary["episodes"] == summary["successes"] == 2
    assert (summary["rate_hz"], summary["late_ticks"]) == (pytest.approx(20.0), 0)
    assert "start state 7: success" in captured.err and "start state 8: success" in captured.err


def test_the_viewer_shows_the_scene_where_there_is_a_display(display):
    environment, screen = display
    session = subprocess.Popen(
        [sys.executable, "-m", "robolearn", "teleop", "--operator", "scripted", "--duration-s", "4", "--json"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in session.stderr:
        if "viewer" in line:
            break
    assert "MuJoCo's viewer shows the scene" in line
    time.sleep(2.5)
    shown = picture(screen).astype(int)
    out, err = session.communicate(timeout=60)
    assert session.returncode == 0, err
    assert json.loads(out)["stopped"] == "duration"
    orange = (shown[..., 2] > 150) & (shown[..., 1] < 150) & (shown[..., 0] < 80)  # the bar
    assert shown.std() > 20 and orange.sum() > 20


def test_a_display_that_cannot_be_opened_is_named(capsys, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":986")
    assert main(["teleop", "--operator", "scripted", "--duration-s", "0.2"]) == 0
    assert "No viewer: the display ':986' cannot be opened" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--duration-s", "-1"], "must be positive"),
        (["--duration-s", "nan"], "must be positive"),
        (["--operator", "keyboard"], "standard input is not one"),
        (["--operator", "mouse"], "Known: keyboard, scripted"),
        (["--speed", "max", "--operator", "keyboard"], "needs real time"),
    ],
)
def test_a_mistake_is_answered_in_one_line(no_display, capsys, monkeypatch, options, words):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["teleop", *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
