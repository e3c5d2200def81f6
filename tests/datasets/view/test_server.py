"""The server behind `robolearn dataset view`: what it gives, what it refuses, and that edits are journaled."""

import http.client
import json
import threading

import cv2
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.codecs import PngCodec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.view import series
from robolearn.datasets.view.data import coloured
from robolearn.datasets.view.server import MAX_BODY, ViewServer
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter


class Client:
    def __init__(self, server: ViewServer):
        self.server = server

    def request(self, path, method="GET", body=None, token=True, **headers):
        """Status, headers and body; `path` is below the token unless it starts with a slash."""
        connection = http.client.HTTPConnection(*self.server.server_address, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        address = path if path.startswith("/") else f"/{self.server.token}/{path}"
        if method == "POST":
            headers = {"Content-Type": "application/json", **headers}
            if token:
                headers["X-Token"] = self.server.token
        try:
            connection.request(method, address, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self, path, **options):
        status, headers, body = self.request(path, **options)
        assert headers["Content-Type"].startswith("application/json"), body
        return status, json.loads(body)

    def post(self, path, body, **options):
        return self.json(path, method="POST", body=json.dumps(body), **options)


@pytest.fixture
def serve():
    """Starts servers; ends them after the test."""
    servers = []

    def start(path):
        servers.append(ViewServer(path))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return Client(servers[-1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def path(make_dataset):
    return make_dataset(5, 3)


@pytest.fixture
def client(serve, path):
    return serve(path)


def unpack(body):
    length = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + length])
    start = 4 + length
    times = np.frombuffer(body, "<f8", header["rows"], start)
    values = np.frombuffer(body, "<f4", offset=start + times.nbytes)
    return header, times, values.reshape(-1, header["rows"], len(header["elements"]))


def test_the_overview_tells_what_is_there(client):
    _, summary = client.json("api/dataset")
    assert (summary["num_episodes"], summary["num_steps"], summary["fps"]) == (2, 8, 10)
    assert summary["editable"] and summary["problem"] is None
    assert [f["name"] for f in summary["features"] if f["encoded"]] == ["observation.images.front"]
    _, columns = client.json("api/episodes")
    assert columns["steps"] == [5, 3]
    assert [columns["tasks"][k] for k in columns["task"]] == ["count", "count"]
    _, episode = client.json("api/episode/1")
    assert (episode["start"], episode["steps"], episode["labels"]["task"]) == (5, 3, "count")


def test_curves_are_the_recorded_values_of_the_episode(client):
    _, _, body = client.request("api/episode/1/series?name=observation.state&elements=1,0&points=100")
    header, times, values = unpack(body)
    assert (header["rows"], header["thinned"]) == (3, False)
    np.testing.assert_allclose(times, [0, 0.1, 0.2])
    np.testing.assert_array_equal(values[0], [[-5, 5], [-6, 6], [-7, 7]])


def test_a_part_of_a_curve_runs_on_to_the_border(client):
    _, _, body = client.request("api/episode/0/series?name=action&elements=0&start=0.15&stop=0.25")
    np.testing.assert_allclose(unpack(body)[1], [0.1, 0.2, 0.3])


def test_thinning_keeps_every_peak():
    times = np.arange(10_000) / 1000
    values = np.zeros((10_000, 1), np.float32)
    values[[1234, 7777], 0] = 5, -7
    kept, lows, highs = series.thinned(times, values, 100)
    assert len(kept) == 100
    assert [k for k in range(100) if highs[k, 0] == 5] == [12] and [k for k in range(100) if lows[k, 0] == -7] == [77]
    assert np.count_nonzero(highs) == np.count_nonzero(lows) == 1


def test_late_steps_and_repeats_are_marked_where_they_are():
    times = np.array([0, 0.1, 0.2, 0.6, 0.7])
    assert series.gap_marks(times, 10) == [[0.2, 0.6]]
    assert series.repeat_marks(times, np.array([0, 1, 1, 1, 2])) == [[0.2, 0.7]]
    facts = series.regularity(times, 10)
    assert facts["rate_hz"] == pytest.approx(4 / 0.7) and facts["max_gap_ms"] == pytest.approx(400)
    assert sum(facts["histogram"]["counts"]) == 4 and facts["histogram"]["counts"][-1] == 1


def test_frames_are_the_stored_bytes_and_may_be_cached(client, path):
    status, headers, body = client.request("frame/grid/observation.images.front/6")
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    assert "immutable" in headers["Cache-Control"]
    assert body == Dataset(path).encoded("observation.images.front", 6)


def test_depth_is_coloured_near_to_far_and_black_where_unknown():
    depth = np.array([[0, 1000, 2000]], np.uint16)
    colours = cv2.imdecode(np.frombuffer(coloured(depth, 1000, 2000), np.uint8), cv2.IMREAD_COLOR)
    assert colours[0, 0].tolist() == [0, 0, 0]
    blue, _, red = colours[0, 1]
    assert red > blue  # near
    blue, _, red = colours[0, 2]
    assert blue > red


def test_depth_frames_come_as_png(tmp_path, serve):
    depth = Feature("observation.depth.front", (4, 6), "uint16", "depth")
    with DatasetWriter.create(tmp_path / "depth.zarr", features([depth]), fps=10) as writer:
        writer.start_episode()
        for k in range(2):
            writer.append(k / 10, {depth.name: np.arange(24, dtype=np.uint16).reshape(4, 6) + 500})
        writer.commit({})
    client = serve(tmp_path / "depth.zarr")
    low, high = client.json("api/episode/0")[1]["cameras"][0]["range"]
    status, headers, body = client.request(f"frame/grid/{depth.name}/1?low={low}&high={high}")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert PngCodec().decode(body).shape == (4, 6, 3)


def test_nothing_is_told_without_the_token(client):
    for wrong in ("/", "/x/api/dataset", f"/{client.server.token[:-1]}/", "/api/dataset"):
        status, answer = client.json(wrong)
        assert status == 403 and "token" in answer["error"]
        assert client.server.token not in answer["error"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "169.254.0.1"])
def test_other_host_names_are_refused(client, host):
    assert client.json("api/dataset", Host=host)[0] == 403


def test_an_ssh_tunnel_may_change_the_port(client):
    assert client.json("api/dataset", Host="localhost:9999")[0] == 200


def test_only_loopback_is_listened_on(client):
    assert client.server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "name", ["../server.py", "..%2fserver.py", "%2e%2e/data.py", "%2fetc%2fpasswd", "", "nothing.js", "..%5cdata.py"]
)
def test_no_file_but_those_of_the_page_is_served(client, name):
    status, answer = client.json(f"page/{name}")
    assert status == 404 and answer["error"]


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "action", "nothing"])
def test_only_cameras_have_frames(client, name):
    status, answer = client.json(f"frame/grid/{name}/0")
    assert status == 404 and "Unknown camera" in answer["error"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("api/episode/2", 404),
        ("api/episode/-1", 400),
        ("api/episode/99999999999999999999", 400),
        ("api/episode/one", 400),
        ("api/nothing", 404),
        ("frame/grid/observation.images.front/8", 404),
        ("frame/grid/observation.images.front/0?low=nan&high=1", 400),
        ("api/episode/0/series?name=observation.images.front", 404),
        ("api/episode/0/series?name=action&elements=2", 404),
        ("api/episode/0/series?name=action&elements=x", 400),
        ("api/episode/0/series?name=action&source=elsewhere", 400),
        ("api/episode/0/series?name=action&start=soon", 400),
    ],
)
def test_bad_requests_are_answered_with_one_line_of_json(client, address, status):
    found, answer = client.json(address)
    assert found == status and answer["error"] and "\n" not in answer["error"]


def test_unknown_methods_are_refused_as_json(client):
    assert client.json("api/dataset", method="DELETE")[0] == 501


def test_a_damaged_frame_is_named(client, path):
    file = Dataset(path).image_file("observation.images.front", 2)
    file.write_bytes(file.read_bytes()[:-9])
    status, answer = client.json("frame/grid/observation.images.front/2")
    assert status == 404 and file.name in answer["error"]
    assert client.request("frame/grid/observation.images.front/3")[0] == 200


def test_labels_are_journaled_and_the_recording_stays_as_it_was(client, path):
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    status, episode = client.post("api/episode/1/labels", {"success": True, "notes": "grasped at the rim"})
    assert status == 200 and episode["labels"] == {"task": "count", "success": True, "notes": "grasped at the rim"}
    assert episode["history"][0]["labels"] == {"success": True, "notes": "grasped at the rim"}
    assert episode["recorded_labels"]["success"] is None
    assert client.json("api/episodes")[1]["success"] == [None, True]
    assert len((path / "meta/edits.jsonl").read_text().splitlines()) == 1
    assert {file: file.read_bytes() for file in before} == before
    assert Dataset(path).episodes[1]["notes"] == "grasped at the rim"


def test_masks_are_changed_episode_by_episode(client, path):
    assert client.post("api/mask", {"name": "good", "add": [0, 1]})[1]["masks"] == {"good": [[0, 2]]}
    assert client.post("api/mask", {"name": "good", "remove": [0]})[1]["masks"] == {"good": [[1, 2]]}
    assert Dataset(path).mask("good").tolist() == [False, True]
    history = client.json("api/episode/0")[1]["history"]
    assert [(edit["mask"], edit["added"]) for edit in history] == [("good", False), ("good", True)]


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("api/episode/0/labels", {"success": "yes"}),
        ("api/episode/0/labels", {"num_steps": 3}),
        ("api/episode/0/labels", {}),
        ("api/episode/7/labels", {"success": True}),
        ("api/mask", {"name": "good", "add": [7]}),
        ("api/mask", {"name": "good", "add": ["0"]}),
        ("api/mask", {"name": "../good", "add": [0]}),
        ("api/mask", {"name": "quarantine", "add": [0]}),
        ("api/mask", {"add": [0]}),
        ("api/mask", [0]),
    ],
)
def test_bad_edits_change_nothing(client, address, body):
    status, answer = client.post(address, body)
    assert 400 <= status < 500 and "\n" not in answer["error"]
    assert client.json("api/dataset")[1]["masks"] == {} and client.json("api/episodes")[1]["success"] == [None, None]


def test_an_edit_needs_the_token_in_a_header_and_json(client):
    assert client.post("api/mask", {"name": "good", "add": [0]}, token=False)[0] == 403
    assert client.post("api/mask", {"name": "good", "add": [0]}, Content_Type="text/plain")[0] == 415
    assert client.json("api/mask", method="POST", body="{")[0] == 400
    assert client.json("api/mask", method="POST", body="", Content_Length=str(MAX_BODY + 1))[0] == 413
    assert client.json("api/dataset")[1]["masks"] == {}


def test_a_damaged_journal_of_edits_is_told_and_left_alone(client, path):
    client.post("api/episode/0/labels", {"success": True})
    journal = path / "meta/edits.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"true", b"fals"))
    _, summary = client.json("api/dataset")
    assert "edits.jsonl" in summary["problem"] and not summary["editable"]
    assert client.post("api/episode/0/labels", {"success": False})[0] == 409


def test_episodes_committed_meanwhile_show_on_reload(client, path, world):
    with DatasetWriter.append_to(path) as writer:
        world.record(writer, 2, first=8)
    assert client.json("api/dataset")[1]["num_episodes"] == 3
    assert client.json("api/episode/2")[1]["steps"] == 2


def test_a_mask_keeps_the_episodes_that_were_recorded_since_the_page_was_loaded(client, path, world):
    with DatasetWriter.append_to(path) as writer:
        world.record(writer, 2, first=8)
    set_mask(path, "good", [1, 2])
    assert client.post("api/mask", {"name": "good", "add": [0]})[1]["masks"] == {"good": [[0, 3]]}
    assert Dataset(path).mask("good").tolist() == [True, True, True]


def test_an_address_without_a_slash_is_refused(client):
    connection = http.client.HTTPConnection(*client.server.server_address, timeout=20)
    connection.request("GET", "elsewhere")
    assert connection.getresponse().status == 403
    connection.close()


def test_a_dataset_behind_a_url_is_shown_but_not_edited(serve, path):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.put(str(path), "/viewed.zarr", recursive=True)
    try:
        client = serve("memory://viewed.zarr")
        assert client.json("api/dataset")[1]["editable"] is False
        expected = Dataset(path).encoded("observation.images.front", 3)
        assert client.request("frame/grid/observation.images.front/3")[2] == expected
        assert client.post("api/episode/0/labels", {"success": True})[0] == 409
    finally:
        files.rm("/viewed.zarr", recursive=True)


def test_an_empty_dataset_is_served(serve, make_dataset):
    client = serve(make_dataset())
    assert client.json("api/dataset")[1]["num_episodes"] == 0
    assert client.json("api/episodes")[1]["steps"] == []
    assert client.json("api/episode/0")[0] == 404


def test_what_cannot_be_served_is_told_before_it_starts(tmp_path, path, client):
    with pytest.raises(DatasetError, match="does not exist"):
        ViewServer(tmp_path / "nothing.zarr")
    with pytest.raises(ConfigError, match="leave --port out"):
        ViewServer(path, client.server.server_address[1])
