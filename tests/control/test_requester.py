import threading
import time

import numpy as np
import pytest
from scripted_world import SPEC

from robolearn.control.requester import ChunkRequester
from robolearn.core.errors import ServerError
from robolearn.execution.chunk_request import ChunkRequest

WINDOW = {"observation.state": np.zeros((2, 10), np.float32)}
ANSWER = {"actions": np.ones((8, 10)), "policy_timing": {"infer_ms": 1.0}, "server_timing": {"infer_ms": 2.0}}


class GatedClient:
    """Answers a request when `gate` is released; `plan` says what each call does."""

    def __init__(self, plan=()):
        self.connected = False
        self.gate = threading.Semaphore(0)
        self.plan = list(plan)
        self.seen: list[float] = []
        self.given: list[tuple] = []
        self.connects = 0
        self.metadata = {"spec": SPEC.to_dict()}

    def connect(self, wait_s=0.0):
        self.connects += 1
        if self.plan and self.plan[0] == "refuse":
            self.plan.pop(0)
            raise ServerError("No policy server answers.")
        self.connected = True

    def infer(self, observation, *, t_obs_s=None, executed=None, goal=None):
        self.seen.append(t_obs_s)
        self.given.append((executed, goal))
        self.gate.acquire()
        what = self.plan.pop(0) if self.plan else "answer"
        if what == "lose":
            self.connected = False
            raise ServerError("The connection was lost.")
        if what == "error":
            raise ServerError("The policy server reported: no.")
        if what == "bug":
            raise IndexError("pop from an empty deque")
        return ANSWER if what == "answer" else {}

    def close(self):
        self.connected = False
        self.gate.release(100)


def asked(t_obs_s):
    return ChunkRequest(WINDOW, t_obs_s=t_obs_s)


def wait_until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def test_an_answer_carries_the_time_of_its_observation():
    client = GatedClient()
    with ChunkRequester(client, SPEC) as requester:
        assert requester.poll() is None
        requester.submit(asked(1.5))
        client.gate.release()
        wait_until(lambda: requester.counts.answered)
        chunk = requester.poll()
        assert (chunk.t_obs_s, chunk.infer_ms, chunk.server_ms) == (1.5, 1.0, 2.0)
        assert chunk.actions.shape == (8, 10)
        assert chunk.received_s >= chunk.sent_s
        assert requester.poll() is None


def test_of_several_waiting_requests_the_newest_is_sent():
    client = GatedClient()
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        wait_until(lambda: requester.in_flight)
        for t_obs in (2.0, 3.0, 4.0):
            requester.submit(asked(t_obs))
        client.gate.release(2)
        wait_until(lambda: requester.counts.answered == 2)
        assert client.seen == [1.0, 4.0]
        assert requester.counts.superseded == 2


@pytest.mark.realtime
def test_submitting_never_waits_for_the_server():
    client = GatedClient()
    with ChunkRequester(client, SPEC) as requester:
        start = time.perf_counter()
        for t_obs in range(100):
            requester.submit(asked(t_obs))
            requester.poll()
        assert time.perf_counter() - start < 0.5


def test_answers_of_the_episode_before_are_void():
    client = GatedClient()
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        wait_until(lambda: requester.in_flight)
        requester.begin()
        client.gate.release()
        wait_until(lambda: not requester.in_flight)
        requester.submit(asked(2.0))
        client.gate.release()
        wait_until(lambda: requester.counts.answered)
        assert requester.poll().t_obs_s == 2.0
        assert requester.counts.answered == 1


def test_after_a_lost_connection_it_connects_again_and_sends_the_newest():
    client = GatedClient(["lose", "refuse"])
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        wait_until(lambda: requester.in_flight)
        client.gate.release()
        wait_until(lambda: requester.counts.failed)
        requester.submit(asked(2.0))
        requester.submit(asked(3.0))
        client.gate.release()
        wait_until(lambda: requester.counts.answered)
        assert client.seen == [1.0, 3.0]
        assert (requester.counts.lost, requester.counts.reconnects) == (1, 1)
        assert client.connects == 3


@pytest.mark.slow
def test_a_server_is_gone_once_it_cannot_be_connected_to_again():
    client = GatedClient(["lose", *["refuse"] * 3])
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        wait_until(lambda: requester.in_flight)
        client.gate.release()
        wait_until(lambda: requester.counts.lost)
        assert not requester.connected
        assert not requester.gone
        wait_until(lambda: requester.gone)
        assert requester.last_error == "No policy server answers."
        wait_until(lambda: requester.connected)
        assert not requester.gone


def test_a_server_that_comes_back_with_another_policy_is_not_asked():
    client = GatedClient(["lose"])
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        wait_until(lambda: requester.in_flight)
        client.metadata = {"spec": {**SPEC.to_dict(), "action_horizon": 16}}
        client.gate.release()
        requester.submit(asked(2.0))
        wait_until(lambda: client.connects >= 3)
        assert "another policy; its features or horizons differ" in requester.last_error
        assert client.seen == [1.0]
        client.metadata = {"spec": SPEC.to_dict()}
        wait_until(lambda: requester.counts.answered)
        assert client.seen == [1.0, 2.0]


def test_a_connection_that_closes_while_nothing_is_asked_is_opened_anew():
    client = GatedClient()
    with ChunkRequester(client, SPEC) as requester:
        wait_until(lambda: client.connected)
        client.connected = False
        assert requester.wait_until_connected(5.0, time.sleep)
        wait_until(lambda: requester.counts.reconnects)
        assert (requester.counts.lost, client.connects, client.seen) == (1, 2, [])


@pytest.mark.parametrize(
    ("what", "text"), [("error", "reported: no"), ("nonsense", "answer lacks 'actions'"), ("bug", "IndexError: pop")]
)
def test_a_refused_request_is_counted_and_the_next_one_goes_on(what, text):
    client = GatedClient([what])
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        client.gate.release()
        wait_until(lambda: requester.counts.failed)
        assert text in requester.last_error
        requester.submit(asked(2.0))
        client.gate.release()
        wait_until(lambda: requester.counts.answered)
        assert client.connects == 1


def test_closing_ends_the_thread_while_it_waits_for_an_answer():
    client = GatedClient()
    before = threading.active_count()
    with ChunkRequester(client, SPEC) as requester:
        requester.submit(asked(1.0))
        wait_until(lambda: requester.in_flight)
    assert threading.active_count() == before


def test_executed_actions_and_the_goal_go_with_the_request():
    client, executed, goal = GatedClient(), np.ones((1, 10)), {"observation.state": np.zeros((1, 10))}
    with ChunkRequester(client, SPEC) as requester:
        for request in (ChunkRequest(WINDOW, executed, goal, 1.0), asked(2.0)):
            requester.begin()
            requester.submit(request)
            client.gate.release()
            wait_until(lambda: requester.counts.answered)
    assert client.given == [(executed, goal), (None, None)]
