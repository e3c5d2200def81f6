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
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve as websocket_serve

from robolearn.core.errors import ServerError
from robolearn.serving.client import MAX_ANSWER_BYTES, PolicyClient
from robolearn.serving.wire import pack

STATE = np.zeros((2, 10), np.float32)  # a window


class Cable:
    """Between a client and a server; once `cut`, what is sent on the connections of then arrives nowhere.

    Nobody is told: the sockets stay open, as where a machine lost its power or a router its table. `full` also stops
    taking bytes off the wire.
    """

    def __init__(self, url):
        self._port = int(url.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self._events = []
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self):
        return len(self._events)

    def cut(self, full=False):
        for event in self._events:
            event["full" if full else "cut"].set()

    def close(self):
        for end in self._sockets:
            end.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                self._events.append({"cut": threading.Event(), "full": threading.Event()})
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink, self._events[-1]), daemon=True).start()

    @staticmethod
    def _carry(source, sink, event):
        with contextlib.suppress(OSError):
            while not event["full"].is_set() and (data := source.recv(65536)):
                if not event["cut"].is_set():
                    sink.sendall(data)


@pytest.fixture
def cable(serve):
    found = Cable(serve(TinyPolicy()))
    yield found
    found.close()


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


@pytest.mark.realtime
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


@pytest.mark.realtime
def test_a_connection_whose_packets_vanish_is_given_up_after_one_time_out_and_opened_anew(cable):
    with PolicyClient(cable.url, timeout_s=0.2) as client:
        assert "actions" in client.infer({"observation.state": STATE})
        cable.cut()
        with pytest.raises(ServerError, match=r"no answer within 0.2 s; the connection was given up"):
            client.infer({"observation.state": STATE})
        assert not client.connected
        assert "actions" in client.infer({"observation.state": STATE})
    assert cable.connections == 2


@pytest.mark.realtime
def test_a_connection_that_takes_no_more_bytes_is_given_up_after_one_time_out(cable):
    """More than the buffers of the kernel hold: it is the sending that would wait."""
    with PolicyClient(cable.url, timeout_s=0.2) as client:
        client.connect()
        cable.cut(full=True)
        with pytest.raises(ServerError, match="no answer within 0.2 s"):
            client.infer({"observation.images.front": np.zeros((20, 1024, 1024), np.uint8)})
        assert not client.connected
        assert client.ping() > 0


def test_a_server_that_accepts_and_never_answers_is_no_server():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerError, match=f"No policy server answers at {url} .*timed out"):
            PolicyClient(url, timeout_s=0.1).connect()


def test_a_server_that_greets_with_nothing_is_no_policy_server():
    with (
        foreign_server(lambda connection: connection.recv()) as url,
        pytest.raises(ServerError, match="sent no policy metadata"),
    ):
        PolicyClient(url, timeout_s=0.1).connect()


def test_a_flood_of_other_messages_is_no_answer():
    def handler(connection):
        connection.send(pack({}))
        connection.recv()
        with contextlib.suppress(ConnectionClosed):
            while True:
                connection.send(pack({"__seq__": -1}))

    with (
        foreign_server(handler) as url,
        PolicyClient(url, timeout_s=0.1) as client,
        pytest.raises(ServerError, match="no answer within 0.1 s"),
    ):
        client.ping()


def test_an_answer_larger_than_any_chunk_is_not_taken():
    def handler(connection):
        connection.send(pack({}))
        connection.recv()
        connection.send(bytes(MAX_ANSWER_BYTES + 1))

    with (
        foreign_server(handler) as url,
        PolicyClient(url) as client,
        pytest.raises(
            ServerError, match=r"An answer of ws://.* is no chunk: .*1048577 bytes exceeds limit of 1048576 bytes"
        ),
    ):
        client.ping()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (pack([1, 2]), "answered with list, expected a map"),
        (pack({"__seq__": "one"}), "'__seq__' is str, not a number"),
        (pack({"__seq__": np.ones(3)}), "'__seq__' is ndarray, not a number"),
        (pack({"__error__": "\x1b[2Jno\nyes" + "!" * 1000}), "reported: yes!!!"),
        (b"\xc1", "not valid msgpack"),
    ],
)
def test_what_is_no_answer_is_refused_in_one_printable_line(reply, words):
    def handler(connection):
        connection.send(pack({}))
        connection.recv()
        connection.send(reply)

    with foreign_server(handler) as url, PolicyClient(url) as client:
        with pytest.raises(ServerError) as caught:
            client.ping()
        assert words in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


def test_a_server_that_leaves_while_nothing_is_asked_is_noticed():
    with foreign_server(lambda connection: connection.send(pack({}))) as url, PolicyClient(url) as client:
        client.connect()
        first = client._connection
        first.wait_closed(5)
        assert not client.connected
        client.connect()
        assert client._connection is not first


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
