import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tiny_policy_server import SPEC, TinyPolicy
from websockets.sync.server import serve as websocket_serve

from robolearn.core.errors import ServerError
from robolearn.serving.client import PolicyClient
from robolearn.serving.wire import pack

STATE = np.zeros(10, np.float32)


@contextlib.contextmanager
def foreign_server(handler):
    """A websocket server that is not ours; gives its address."""
    server = websocket_serve(handler, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_importing_the_client_brings_three_packages_only():
    code = (
        "import sys, json; import robolearn.serving.client; "
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name for name in json.loads(found) if not name.startswith(("_", "sitecustomize", "mpl_"))}
    assert {"numpy", "msgpack", "websockets", "robolearn"} <= loaded
    assert not loaded & {"torch", "mujoco", "gymnasium", "zarr", "cv2", "tyro", "yaml"}


def test_the_metadata_holds_the_policy_spec(serve):
    with PolicyClient(serve(TinyPolicy())) as client:
        assert client.metadata["spec"] == SPEC.to_dict()
        assert client.metadata["protocol"] == "robolearn/1"


def test_no_server_is_one_line_that_says_what_to_start():
    url = f"ws://127.0.0.1:{free_port()}"
    with pytest.raises(
        ServerError, match=f"No policy server answers at {url} .*robolearn serve --policy DIR"
    ) as caught:
        PolicyClient(url).connect()
    assert "\n" not in str(caught.value)


def test_connecting_keeps_trying_with_growing_pauses():
    pauses = []
    with pytest.raises(ServerError):
        PolicyClient(f"ws://127.0.0.1:{free_port()}").connect(wait_s=1.0, sleep=pauses.append)
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]


def test_an_address_of_another_form_is_refused():
    with pytest.raises(ServerError, match="'localhost:8000' is not of the form ws://HOST:PORT"):
        PolicyClient("localhost:8000")


def test_a_slow_answer_is_an_error_and_does_not_become_the_next_one(serve):
    policy = TinyPolicy(delay_s=0.3)
    with PolicyClient(serve(policy), timeout_s=0.1) as client:
        with pytest.raises(ServerError, match="no answer within 0.1 s"):
            client.infer({"observation.state": STATE + 1})
        policy.delay_s = 0.0
        time.sleep(0.3)
        answer = client.infer({"observation.state": STATE + 2})
    assert answer["actions"][0, 1] == 2


def test_the_call_after_a_lost_connection_connects_again(serve):
    with PolicyClient(serve(TinyPolicy())) as client:
        client.connect()
        client._connection.close()
        with pytest.raises(ServerError, match="was lost"):
            client.infer({"observation.state": STATE})
        assert not client.connected
        assert "actions" in client.infer({"observation.state": STATE})


def test_closing_from_another_thread_in_mid_request_is_a_lost_connection(serve, monkeypatch):
    client = PolicyClient(serve(TinyPolicy()))
    client.connect()

    def pack_while_another_thread_closes(message):
        client.close()
        return pack(message)

    monkeypatch.setattr("robolearn.serving.wire.pack", pack_while_another_thread_closes)
    with pytest.raises(ServerError, match="was lost"):
        client._request("ping")


def test_a_websocket_that_is_no_policy_server_is_said_to_be_none():
    with (
        foreign_server(lambda connection: connection.send("welcome")) as url,
        pytest.raises(ServerError, match="sent no policy metadata; it is not a policy server"),
    ):
        PolicyClient(url).connect()


def test_tracebacks_of_foreign_servers_are_cut_to_their_last_line():
    def handler(connection):
        connection.send(pack({}))
        connection.recv()
        connection.send('Traceback (most recent call last):\n  File "x"\nKeyError: observation/image\n')

    with (
        foreign_server(handler) as url,
        PolicyClient(url) as client,
        pytest.raises(ServerError, match="reported: KeyError: observation/image$"),
    ):
        client.infer({"observation.state": STATE})
