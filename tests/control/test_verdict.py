import os
import pty
import threading

import pytest

from robolearn.control.verdict import OperatorJudge, somebody_is_there
from robolearn.hardware.input.keyboard import Keyboard


@pytest.fixture
def terminal():
    typing, reading = pty.openpty()
    yield typing, reading
    for descriptor in (typing, reading):
        os.close(descriptor)


@pytest.mark.parametrize(("typed", "verdict"), [(b"s", True), (b"f", False), (b"q", None), (b"xyi s", True)])
def test_the_operator_answers_with_one_key(terminal, typed, verdict):
    typing, reading = terminal
    said = []

    def answer(words):
        said.append(words)
        os.write(typing, typed)

    assert OperatorJudge(answer, Keyboard(descriptor=reading))(7) is verdict
    assert said == ["start state 7: did it succeed?  s success, f failure, q leave it unjudged"]


def test_keys_typed_while_the_arm_moved_are_no_answer(terminal):
    typing, reading = terminal
    os.write(typing, b"s\n")
    assert OperatorJudge(lambda words: os.write(typing, b"f"), Keyboard(descriptor=reading))(0) is False


def test_a_terminal_that_is_gone_leaves_the_episode_unjudged():
    typing, reading = pty.openpty()
    closing = threading.Timer(0.05, os.close, (typing,))
    assert OperatorJudge(lambda words: closing.start(), Keyboard(descriptor=reading))(0) is None
    os.close(reading)


def test_nobody_is_at_a_pipe_or_at_a_terminal_of_another_program(terminal):
    out, into = os.pipe()
    assert not somebody_is_there(out)
    assert not somebody_is_there(terminal[1])  # not the terminal that this test runs in
    os.close(out), os.close(into)
