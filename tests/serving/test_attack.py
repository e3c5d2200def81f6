"""Hostile messages and streams: every one is answered, or the connection is closed with a reason (the large form, with
times and memory: `benchmarks/serve_attack.py`)."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from serving_attack import policy_server
from serving_attack.attacker import Attacker, worst_cases
from serving_attack.fuzz import Case, Fuzzer
from test_client import foreign_server

from robolearn.serving.client import PolicyClient


def assert_serves(url: str) -> None:
    observed = policy_server.observation(np.random.default_rng(3))
    with PolicyClient(url) as client:
        actions = client.infer(observed)["actions"]
    wanted = policy_server.expected_actions(observed[policy_server.STATE][-1], observed[policy_server.PICTURES[0]][-1])
    np.testing.assert_array_equal(actions, wanted)


@pytest.mark.slow
def test_every_worst_case_gets_its_answer(serve, caplog):
    url = serve(policy_server.NumpyPolicy())
    attacker = Attacker(url)
    for case in worst_cases(url):
        if len(case.data) < 2_000_000:
            attacker.run(case)
    attacker.close()
    assert (attacker.failures, caplog.messages) == ([], [])
    assert_serves(url)


def test_requests_that_are_almost_right_get_an_answer_or_a_reason(serve, caplog):
    url = serve(policy_server.NumpyPolicy())
    attacker, fuzzer = Attacker(url), Fuzzer(url.removeprefix("ws://"))
    for seed in range(100_000, 100_200):
        attacker.run(fuzzer.case(seed))
    attacker.close()
    assert (attacker.failures, caplog.messages) == ([], [])
    assert_serves(url)


@pytest.mark.parametrize(
    ("handler", "found"),
    [
        (lambda connection: [connection.send(b"\x80"), connection.recv(), connection.close(1011, "")], "no reason"),
        (lambda connection: [connection.send(b"\x80"), connection.recv(), connection.send(b"\x80")], "an odd answer"),
        (lambda connection: [connection.send(b"\x80"), connection.recv(), connection.send(b"\xc1")], "cannot be read"),
        (lambda connection: [connection.send(b"\x80"), connection.recv(), connection.send("a\nb")], "not one line"),
        (
            lambda connection: [connection.send(b"\x80"), connection.recv(), connection.socket.shutdown(2)],
            "without a close",
        ),
    ],
    ids=["no reason", "odd", "unreadable", "lines", "cut"],
)
def test_a_server_that_does_neither_would_be_noticed(handler, found):
    with foreign_server(handler) as url:
        attacker = Attacker(url)
        attacker.run(Case("a request", "message", b"\x80"))
        attacker.close()
    assert found in attacker.failures[0]
