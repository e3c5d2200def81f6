import asyncio
import contextlib
import dataclasses
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tiny_policy_server import HORIZON, SPEC, TinyPolicy
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from robolearn.core.errors import ServerError
from robolearn.core.feature import Feature, features
from robolearn.execution.policy_spec import PolicySpec
from robolearn.serving.client import PolicyClient
from robolearn.serving.server import PolicyServer, ServerOptions, largest_message
from robolearn.serving.wire import pack, unpack

STATE = np.zeros((2, 10), np.float32)  # a window


def exchange(connection, message):
    connection.send(message if isinstance(message, bytes | str) else pack(message))
    reply = connection.recv(timeout=5)
    return reply if isinstance(reply, str) else unpack(reply)


def test_an_openpi_client_gets_openpi_messages(serve):
    """The exchange of openpi's WebsocketClientPolicy: metadata first, then one map for each observation."""
    with connect(serve(TinyPolicy()), compression=None) as connection:
        metadata = unpack(connection.recv(timeout=5))
        assert PolicySpec.from_dict(metadata["spec"]) == SPEC
        first = exchange(connection, {"observation.state": STATE, "prompt": "go"})
        second = exchange(connection, {"observation.state": STATE})
    assert set(first) == {"actions", "policy_timing", "server_timing"}
    assert set(first["server_timing"]) == {"infer_ms"}
    assert set(second["server_timing"]) == {"infer_ms", "prev_total_ms"}
    assert second["server_timing"]["prev_total_ms"] >= first["policy_timing"]["infer_ms"]


def test_chunking_clients_can_slice_every_array_of_an_answer(serve):
    """openpi's ActionChunkBroker takes index `step` of every array: nothing but the actions may be one."""
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        answer = exchange(connection, {"observation.state": STATE})

    def arrays(value):
        return (
            [value]
            if isinstance(value, np.ndarray)
            else [a for v in value.values() for a in arrays(v)]
            if isinstance(value, dict)
            else []
        )

    assert [a.shape[0] for a in arrays(answer)] == [HORIZON]


def test_an_openpi_client_gets_errors_as_text_and_close_1011(serve):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        reply = exchange(connection, {"observation/state": STATE})
        assert "feature 'observation.state' is missing" in reply
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=5)
    assert closed.value.rcvd.code == 1011


@pytest.mark.parametrize("message", [b"\xc1", "hello", pack([1, 2])], ids=["no msgpack", "text", "no map"])
def test_what_is_no_request_gets_text_and_close_1011(serve, message):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        assert isinstance(exchange(connection, message), str)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=5)


def test_with_our_protocol_an_error_keeps_the_connection(serve):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        bad = exchange(connection, {"__op__": "infer", "__seq__": 1, "observation.state": STATE * np.nan})
        assert "non-finite" in bad["__error__"]
        assert bad["__seq__"] == 1
        assert "Unknown operation 'dance'" in exchange(connection, {"__op__": "dance"})["__error__"]
        good = exchange(connection, {"__op__": "infer", "__seq__": 2, "__t_obs__": 4.5, "observation.state": STATE})
        assert (good["__seq__"], good["__t_obs__"]) == (2, 4.5)
        assert good["actions"].shape == (HORIZON, 10)


@pytest.mark.parametrize(
    ("operation", "key", "value", "expected"),
    [
        ("reset", "seed", "soon", "is 'soon', expected a whole number from 0 to 9223372036854775807."),
        ("reset", "seed", -1, "is -1, expected a whole number from 0"),
        ("reset", "seed", 1.5, "is 1.5, expected a whole number from 0"),
        ("reset", "seed", "9" * 5000, "expected a whole number from 0"),
        ("infer", "deadline_ms", "soon", "is 'soon', expected a number from 0 to 3600000."),
        ("infer", "deadline_ms", np.nan, "is nan, expected a number from 0 to 3600000."),
        ("infer", "deadline_ms", np.inf, "is inf, expected a number"),
        ("infer", "deadline_ms", -1e300, "is -1e+300, expected a number"),
        ("infer", "deadline_ms", {"a": [[]] * 1000}, "expected a number"),
        ("ping", "__seq__", ["x"] * 1000, "expected a number"),
        ("ping", "__t_obs__", np.inf, "is inf, expected a number"),
        ("ping", "__t_obs__", True, "is True, expected a number"),
    ],
)
def test_numbers_beyond_their_bounds_are_named(serve, operation, key, value, expected):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        error = exchange(connection, {"__op__": operation, key: value, "observation.state": STATE})["__error__"]
        assert error.startswith(f"The request's {key} is ")
        assert expected in error
        assert len(error) < 200
        assert exchange(connection, {"__op__": "ping"}) == {"__op__": "ping"}


@pytest.mark.parametrize(
    ("request_map", "expected"),
    [
        ({"__op__": {"a": {}}}, "Unknown operation {'a': {}}; known: infer, ping, reset."),
        ({"__op__": ["infer"] * 5000}, "Unknown operation \\['infer', .*\\.\\.\\.\\]; known"),
        ({"__op__": np.zeros(3)}, "Unknown operation array"),
        ({"__op__": None}, "Unknown operation None; known"),
        ({"__op__": "infer", **{f"f{i}": 0 for i in range(256)}}, "has 257 entries, at most 256 are allowed"),
        ({"__op__": "infer", b"x": 0}, "keys are texts, found one of bytes"),
    ],
    ids=range(6),
)
def test_a_request_of_another_form_is_answered_by_what_is_wrong(serve, request_map, expected):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        error = exchange(connection, request_map)["__error__"]
        assert re.search(expected, error)
        assert len(error) < 200


def test_web_pages_are_refused(serve):
    with pytest.raises(InvalidStatus, match="403"):
        connect(serve(TinyPolicy()), origin="http://example.org")


def test_a_failing_policy_is_reported_in_one_line(serve):
    with PolicyClient(serve(TinyPolicy("raise"))) as client:
        with pytest.raises(ServerError, match="ValueError: weights and activations disagree$"):
            client.infer({"observation.state": STATE})
        assert client.ping() < 5


def test_sessions_do_not_share_histories(serve):
    policy = TinyPolicy()
    url = serve(policy)
    with PolicyClient(url) as one, PolicyClient(url) as other:
        one.infer({"observation.state": STATE[0] + 1}, t_obs_s=7.0)
        other.infer({"observation.state": STATE[0] + 2}, t_obs_s=7.0)
        one.infer({"observation.state": STATE[0] + 3}, t_obs_s=7.05)
        assert one.metadata["session"] != other.metadata["session"]
    assert [w["observation.state"][:, 0].tolist() for w in policy.seen] == [[1, 1], [2, 2], [1, 3]]


def test_reset_and_a_new_connection_start_a_new_history(serve):
    policy = TinyPolicy()
    url = serve(policy)
    with PolicyClient(url) as client:
        client.infer({"observation.state": STATE[0] + 1}, t_obs_s=1.0)
        client.reset()
        client.infer({"observation.state": STATE[0] + 2}, t_obs_s=9.0)
        client.close()
        client.infer({"observation.state": STATE[0] + 3}, t_obs_s=20.0)
    assert [w["observation.state"][:, 0].tolist() for w in policy.seen] == [[1, 1], [2, 2], [3, 3]]


def test_an_openpi_client_of_a_policy_with_a_window_is_told_what_to_send(serve):
    """openpi's clients send single observations, every few steps, and do not say when an episode begins."""
    policy = TinyPolicy()
    url = serve(policy)
    with connect(url) as connection:
        connection.recv()
        reply = exchange(connection, {"observation.state": STATE[0]})
        assert "looks at 2 observations, 0.05 s apart, and a single one came without its time" in reply
    with connect(url) as connection:
        connection.recv()
        for time_s, value in ((3.0, 1), (3.05, 2)):
            assert "actions" in exchange(connection, {"observation.state": STATE[0] + value, "__t_obs__": time_s})
        assert exchange(connection, {"__op__": "reset"}) == {"__op__": "reset"}
        assert "actions" in exchange(connection, {"observation.state": STATE[0] + 3, "__t_obs__": 3.45})
        reply = exchange(connection, {"observation.state": STATE[0] + 4, "__t_obs__": 3.85})
        assert "no observation was sent that was taken 0.05 s before the newest" in reply
    assert [w["observation.state"][:, 0].tolist() for w in policy.seen] == [[1, 1], [1, 2], [3, 3]]


@pytest.mark.realtime
def test_a_superseded_observation_still_belongs_to_the_window(serve):
    policy = TinyPolicy(delay_s=0.2)
    with connect(serve(policy)) as connection:
        connection.recv()
        for number in range(3):
            time_s = number * 0.05
            message = {"__op__": "infer", "observation.state": STATE[0] + number, "__t_obs__": time_s}
            connection.send(pack(message))
            time.sleep(0.03)
        for _ in range(3):
            connection.recv(timeout=5)
    assert [w["observation.state"][:, 0].tolist() for w in policy.seen] == [[0, 0], [1, 2]]


@pytest.mark.realtime
def test_only_the_newest_waiting_request_is_computed(serve):
    policy = TinyPolicy(delay_s=0.2)
    with connect(serve(policy)) as connection:
        connection.recv()
        for number in range(4):
            connection.send(pack({"__op__": "infer", "__seq__": number, "observation.state": STATE + number}))
            time.sleep(0.03)
        answers = {a["__seq__"]: a for a in (unpack(connection.recv(timeout=5)) for _ in range(4))}
    assert [w["observation.state"][1, 0] for w in policy.seen] == [0, 3]
    assert all(answers[n]["__superseded__"] for n in (1, 2))
    assert "actions" in answers[0]
    assert "actions" in answers[3]


@pytest.mark.realtime
def test_a_request_past_its_deadline_is_refused(serve):
    policy = TinyPolicy(delay_s=0.2)
    url = serve(policy)
    with PolicyClient(url) as client, connect(url) as busy:
        client.connect()
        busy.recv()
        busy.send(pack({"observation.state": STATE}))
        time.sleep(0.05)
        with pytest.raises(ServerError, match="more than its deadline of 20 ms"):
            client.infer({"observation.state": STATE}, deadline_ms=20.0)
        busy.recv(timeout=5)


@pytest.mark.realtime
def test_a_running_inference_does_not_hold_up_anything_else(serve):
    url = serve(TinyPolicy(delay_s=0.5))
    with connect(url) as busy, PolicyClient(url) as client:
        busy.recv()
        client.connect()
        busy.send(pack({"observation.state": STATE}))
        time.sleep(0.05)
        assert client.ping() < 0.3
        assert "actions" in unpack(busy.recv(timeout=5))


def test_health_is_answered_on_the_same_port(serve):
    url = serve(TinyPolicy(), token="secret").replace("ws://", "http://")
    with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
        assert (response.status, response.read()) == (200, b"OK\n")


def test_a_token_is_required_where_one_is_set(serve):
    url = serve(TinyPolicy(), token="secret")
    with PolicyClient(url, token="secret") as client:
        assert client.infer({"observation.state": STATE})["actions"].shape == (HORIZON, 10)
    for wrong in (None, "Secret", "secret2"):
        with pytest.raises(ServerError, match=r"HTTP 401.*ROBOLEARN_TOKEN"):
            PolicyClient(url, token=wrong).connect()
    with pytest.raises(InvalidStatus):
        connect(url, additional_headers={"Authorization": "Bearer secret"})


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "robot.local"])
def test_an_open_address_needs_a_token(host):
    with pytest.raises(ServerError, match=f"{host} can be reached from other machines; set a token in ROBOLEARN_TOKEN"):
        ServerOptions(host=host)
    assert ServerOptions(host=host, token="secret").token == "secret"


def test_a_message_above_the_limit_closes_the_connection_with_both_sizes(serve):
    with connect(serve(TinyPolicy(), max_message_bytes=1000)) as connection:
        connection.recv()
        message = pack({"observation.state": STATE, "image": np.zeros(2000, np.uint8)})
        connection.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=5)
    assert closed.value.rcvd.code == 1009
    assert closed.value.rcvd.reason == f"frame with {len(message)} bytes exceeds limit of 1000 bytes"


def test_a_client_that_sends_far_too_much_still_reads_why(serve):
    with connect(serve(TinyPolicy())) as connection:
        connection.recv()
        with contextlib.suppress(ConnectionClosed):
            connection.send(bytes(100 * 2**20))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=5)
    assert closed.value.rcvd.code == 1009
    assert "exceeds limit of 4194" in closed.value.rcvd.reason


def test_messages_may_be_twice_what_the_policy_looks_at():
    image = Feature("observation.images.front", (480, 640, 3), "uint8", kind="image")
    spec = dataclasses.replace(SPEC, observation_features=features([image]))
    assert largest_message(spec) == 4 * 2**20 + 2 * 2 * 480 * 640 * 3


def test_a_client_too_many_is_told_so_and_health_checks_are_still_answered(serve):
    url = serve(TinyPolicy(), max_clients=1)
    with PolicyClient(url) as client:
        client.connect()
        with pytest.raises(InvalidStatus, match="503") as refused:
            connect(url)
        assert refused.value.response.body.startswith(b"The server has 1 clients, as many as it takes")
        with pytest.raises(
            ServerError, match=r"refused the connection \(HTTP 503\). The server has 1 clients, as many as"
        ):
            PolicyClient(url).connect()
        with urllib.request.urlopen(f"{url.replace('ws://', 'http://')}/healthz", timeout=5) as response:
            assert response.status == 200
    with connect(url) as connection:
        assert connection.recv(timeout=5)


@pytest.mark.parametrize("most", [0, 513])
def test_a_number_of_clients_beyond_reason_is_refused(most):
    with pytest.raises(ServerError, match=f"--max-clients must be 1 to 512, found {most}"):
        ServerOptions(max_clients=most)


def test_an_idle_session_is_closed(serve):
    with connect(serve(TinyPolicy(), idle_timeout_s=0.1)) as connection:
        connection.recv()
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=5)
    assert closed.value.rcvd.reason == "The session was idle for too long."


def test_a_taken_port_is_one_line_that_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"Port {port} on 127.0.0.1 is taken .*--port {port + 1}, or --port 0"):
            asyncio.run(PolicyServer(TinyPolicy(), ServerOptions(port=port)).start())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_process_announces_its_port_and_ends_cleanly(number):
    script = Path(__file__).with_name("tiny_policy_server.py")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on ws://127.0.0.1:")
    client = PolicyClient(line.split()[-1])
    assert client.infer({"observation.state": STATE})["actions"].shape == (HORIZON, 10)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    with pytest.raises(ServerError, match="was lost"):
        client.infer({"observation.state": STATE})
