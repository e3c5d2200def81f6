"""Whatever a server answers, the thread that asks lives, the loop raises nothing, and the next chunk is taken."""

import threading
import time
from collections import deque

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_world import CAPABILITIES, SPEC, ScriptedRobot, straight_line
from websockets.sync.server import serve as websocket_serve

from robolearn.control.loop import EpisodeLoop, LoopOptions
from robolearn.control.requester import ChunkRequester
from robolearn.control.safety import SafetyLimits
from robolearn.core.clock import VirtualClock
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.serving import wire
from robolearn.serving.client import PolicyClient

WINDOW = {"observation.state": np.zeros((2, 10), np.float32)}
CHUNK = straight_line()(0.0)
TIMING = {"infer_ms": 1.0}

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)
    | st.binary(max_size=20) | st.builds(msgpack.Timestamp, st.integers(0, 2**33), st.integers(0, 999_999_999))
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8))
)  # fmt: skip
described = st.fixed_dictionaries({
    b"__ndarray__": st.just(True),
    b"data": st.binary(max_size=64),
    b"dtype": st.sampled_from(["<f4", "<f8", "|b1", "<M8[s]", "<U1", "|S4", "<i8", "|V4", "|O"]),
    b"shape": st.lists(st.integers(-1, 9), max_size=3),
})  # fmt: skip
arrays = st.sampled_from(
    [CHUNK, CHUNK * np.nan, CHUNK[:3], CHUNK[0], np.float32(3), np.ones((500, 10)), CHUNK > 0, CHUNK * 1e38, -CHUNK]
)
values = st.recursive(
    scalars | described | arrays.map(lambda array: msgpack.unpackb(wire.pack(array), strict_map_key=False)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(["actions", "policy_timing", "server_timing", wire.SEQUENCE, wire.ERROR, wire.SUPERSEDED])
almost = st.dictionaries(names, values, max_size=6).map(
    lambda found: {
        "actions": msgpack.unpackb(wire.pack(CHUNK)),
        "policy_timing": TIMING,
        "server_timing": TIMING,
        **found,
    }
)
messages = (values | almost | st.dictionaries(names, values)).map(msgpack.packb) | st.binary(max_size=40)


GOOD = wire.pack({"actions": CHUNK, "policy_timing": TIMING, "server_timing": TIMING})


class Canned:
    """A websocket server whose answers are the messages in `replies`, and good chunks when there are none."""

    def __init__(self):
        self.replies = deque()
        self.server = websocket_serve(self._serve, "127.0.0.1", 0, compression=None)
        self.url = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _serve(self, connection):
        connection.send(wire.pack({"spec": SPEC.to_dict()}))
        for _ in connection:
            connection.send(self.replies.popleft() if self.replies else GOOD)


@pytest.fixture(scope="module")
def canned():
    found = Canned()
    yield found
    found.server.shutdown()


@pytest.fixture(scope="module")
def requester(real_time, canned):
    with ChunkRequester(PolicyClient(canned.url, timeout_s=0.05), SPEC, VirtualClock()) as found:
        yield found


def exchange(requester) -> str:
    """Send one request and wait for what becomes of it."""
    before = requester.counts.answered, requester.counts.failed
    requester.submit(ChunkRequest(WINDOW))
    deadline = time.monotonic() + 10
    while (requester.counts.answered, requester.counts.failed) == before:
        assert requester._thread.is_alive(), "the requester's thread died"
        assert time.monotonic() < deadline, "nothing became of the request"
        time.sleep(0.0002)
    return "answered" if requester.counts.answered > before[0] else "failed"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=messages)
def test_no_answer_ends_the_thread_and_what_is_refused_is_named(canned, requester, message):
    requester.begin()
    canned.replies.append(message)
    if exchange(requester) == "answered":
        chunk = requester.poll()
        assert chunk.actions.shape == (8, 10)
        assert np.isfinite(chunk.actions).all()
    else:
        assert requester.last_error
        assert requester.last_error.isprintable()
        assert len(requester.last_error) <= 300
    canned.replies.clear()
    assert exchange(requester) == "answered"
    assert requester.poll() is not None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(messages, min_size=1, max_size=3))
def test_the_loop_raises_nothing_and_moves_the_arm_by_finite_commands_only(canned, requester, answers):
    clock = VirtualClock()
    robot = ScriptedRobot(clock)
    canned.replies.clear()
    canned.replies.extend(answers)

    def in_step(_now_s):  # virtual time waits for the real thread
        while requester.in_flight or requester._waiting is not None:
            time.sleep(0.0002)

    robot.on_read = in_step
    limits = SafetyLimits.from_capabilities(CAPABILITIES)
    EpisodeLoop(robot, requester, SPEC, LoopOptions(), limits, clock).run(0.25)
    assert all(np.isfinite(command.to_action()).all() for _, command in robot.commands)
