"""The terminal keyboard: key decoding, pulses, and a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import ConfigError, DeviceError
from robolearn.hardware.input.keyboard import EVENT_KEYS, GRIPPER_KEYS, KEY_TABLE, MOTION_KEYS, SPEED_KEYS, Keyboard
from robolearn.hardware.input.keys import ESCAPE_TIMEOUT_S, KeyDecoder
from robolearn.hardware.input.protocol import Event
from robolearn.hardware.input.registry import make_input_device


@pytest.fixture
def terminal():
    """Both ends of a pseudo-terminal: what a person types into, and what a program reads from."""
    typing, reading = pty.openpty()
    yield typing, reading
    for descriptor in (typing, reading):
        try:
            os.close(descriptor)
        except OSError:
            pass


@pytest.fixture
def clock():
    return VirtualClock(10.0)


@pytest.fixture
def keyboard(terminal, clock):
    device = Keyboard(clock, descriptor=terminal[1], speed_m_s=0.1, turn_rad_s=0.5, pulse_s=0.15)
    device.connect()
    device.start_episode(0)
    device.observe({"observation.state": np.array([0] * 9 + [1.0])}, 0.0)
    yield device
    device.disconnect()


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"i", ["i"]),
        (b"Q", ["q"]),
        (b" \r\n\x7f", ["space", "enter", "enter", "backspace"]),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1bOC", ["right"]),  # application cursor mode
        (b"\x1b[1;5C", []),  # Ctrl and right is another key
        (b"\x1b[3~i", ["i"]),  # delete, then i
        (b"\x1bx", ["esc", "x"]),
        ("é".encode(), []),
        (b"\x01", []),
    ],
)
def test_decoder_names_keys(data, keys):
    assert KeyDecoder().feed(data, 0.0) == keys


def test_decoder_follows_the_table_in_its_docstring():
    decoder = KeyDecoder()
    assert decoder.feed(b"\x1b", 0.00) == []
    assert decoder.feed(b"[C", 0.03) == ["right"]
    assert decoder.feed(b"\x1b", 0.10) == []
    assert decoder.feed(b"", 0.20 + 1e-9) == ["esc"]
    assert decoder.feed(b"\x1bx", 0.30) == ["esc", "x"]
    assert decoder.feed(b"\x1b[3", 0.40) == []
    assert decoder.feed(b"", 0.50 + 1e-9) == []
    assert decoder.feed(b"i", 0.51) == ["i"]


def test_two_presses_of_escape_are_two_escapes():
    decoder = KeyDecoder()
    assert decoder.feed(b"\x1b\x1b", 0.0) == ["esc"]
    assert decoder.feed(b"", ESCAPE_TIMEOUT_S) == ["esc"]


@given(st.lists(st.sampled_from([b"\x1b[A", b"\x1b[D", b"\x1bOC", b"i", b"n", b" "]), max_size=12), st.data())
def test_decoder_does_not_care_how_the_bytes_are_split(presses, data):
    stream = b"".join(presses)
    whole = KeyDecoder().feed(stream, 0.0)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    decoder, pieces = KeyDecoder(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        pieces += decoder.feed(stream[start:stop], 0.0)
    assert pieces == whole
    assert len(whole) == len(presses)


@given(st.binary(max_size=40))
def test_no_bytes_break_the_decoder(data):
    assert all(isinstance(key, str) for key in KeyDecoder().feed(data, 0.0))


def test_no_key_has_two_meanings_and_all_are_in_the_table():
    groups = [set(MOTION_KEYS), set(EVENT_KEYS), set(GRIPPER_KEYS), set(SPEED_KEYS)]
    assert len(set().union(*groups)) == sum(map(len, groups))
    shown = KEY_TABLE.lower().replace("/", " ").split()
    hidden = {"backspace", "=", "_"}  # aliases
    assert set().union(*groups) - hidden <= set(shown)


def test_a_tap_is_a_pulse(keyboard, terminal, clock):
    os.write(terminal[0], b"i")
    assert keyboard.read().twist == pytest.approx([0.1, 0, 0, 0, 0, 0])
    clock.advance(0.10)
    assert keyboard.read().twist == pytest.approx([0.1, 0, 0, 0, 0, 0])
    clock.advance(0.06)
    assert not keyboard.read().twist.any()


def test_auto_repeat_keeps_the_motion_going(keyboard, terminal, clock):
    for _ in range(30):
        os.write(terminal[0], b"l")
        assert keyboard.read().twist[1] == pytest.approx(-0.1)
        clock.advance(0.035)


def test_keys_of_different_axes_add_up_and_opposite_keys_replace(keyboard, terminal):
    os.write(terminal[0], b"iuv")
    assert keyboard.read().twist == pytest.approx([0.1, 0, 0.1, 0, 0, 0.5])
    os.write(terminal[0], b"k")
    assert keyboard.read().twist == pytest.approx([-0.1, 0, 0.1, 0, 0, 0.5])


def test_speed_keys_scale_and_are_bounded(keyboard, terminal):
    os.write(terminal[0], b"+i")
    assert keyboard.read().twist[0] == pytest.approx(0.125)
    os.write(terminal[0], b"-" * 40 + b"i")
    assert keyboard.read().twist[0] == pytest.approx(0.02)


def test_gripper_key_toggles_from_what_was_measured(keyboard, terminal):
    os.write(terminal[0], b"c")
    assert keyboard.read().gripper == 0.0
    assert keyboard.read().gripper is None
    os.write(terminal[0], b"\n")
    assert keyboard.read().gripper == 1.0
    keyboard.start_episode(1)
    keyboard.observe({"observation.state": np.array([0] * 9 + [0.2])}, 0.0)
    os.write(terminal[0], b"c")
    assert keyboard.read().gripper == 1.0


def test_event_keys_come_in_the_order_pressed(keyboard, terminal):
    os.write(terminal[0], b"s n\x1b[D")
    assert keyboard.read().events == (Event.SUCCESS, Event.CLUTCH, Event.SAVE, Event.DISCARD)


def test_escape_stops_after_its_timeout(keyboard, terminal, clock):
    os.write(terminal[0], b"\x1b")
    assert keyboard.read().events == ()
    clock.advance(ESCAPE_TIMEOUT_S + 1e-6)
    assert keyboard.read().events == (Event.STOP,)


def test_a_new_episode_starts_at_rest(keyboard, terminal):
    os.write(terminal[0], b"i")
    keyboard.read()
    keyboard.start_episode(1)
    assert not keyboard.read().twist.any()


def test_a_terminal_that_is_gone_means_stop(keyboard, terminal):
    os.close(terminal[0])
    assert keyboard.read().events == (Event.STOP,)
    assert keyboard.read().events == (Event.STOP,)


def test_the_terminal_is_given_back_as_it_was(terminal, clock):
    before = termios.tcgetattr(terminal[1])
    device = Keyboard(clock, descriptor=terminal[1])
    device.connect()
    local_modes = termios.tcgetattr(terminal[1])[3]
    assert not local_modes & (termios.ICANON | termios.ECHO)
    assert local_modes & termios.ISIG  # Ctrl-C stays a signal
    device.disconnect()
    device.disconnect()
    assert termios.tcgetattr(terminal[1]) == before


def test_the_terminal_is_given_back_when_the_program_fails(terminal):
    before = termios.tcgetattr(terminal[1])
    script = (
        "from robolearn.hardware.input.keyboard import Keyboard\nkeyboard = Keyboard()\nkeyboard.connect()\n"
        "print('ready', flush=True)\nraise ValueError"
    )
    failed = subprocess.run(
        [sys.executable, "-c", script], stdin=terminal[1], capture_output=True, text=True, timeout=60
    )
    assert failed.stdout == "ready\n"
    assert failed.returncode == 1
    assert termios.tcgetattr(terminal[1]) == before


def test_without_a_terminal_there_is_one_clear_line(clock):
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(DeviceError, match=r"standard input is not one.*--operator scripted") as found:
            Keyboard(clock, descriptor=read_end).connect()
        assert "\n" not in str(found.value)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_the_description_names_the_back_end(keyboard, terminal):
    text = keyboard.describe()
    assert os.ttyname(terminal[1]) in text
    assert KEY_TABLE in text


def test_an_unknown_device_gets_the_closest_match(clock):
    with pytest.raises(ConfigError, match="Did you mean 'keyboard'"):
        make_input_device("keybord", clock)
