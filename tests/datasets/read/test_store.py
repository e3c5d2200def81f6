"""Datasets by URL: fsspec's memory file system, and a real HTTP server on this machine."""

import functools
import http.server
import pickle
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import FsspecStore, LocalStore, as_url, open_store
from robolearn.datasets.tools.drop import drop
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.write.edits import set_mask

CAMERA = "observation.images.front"


@pytest.fixture
def in_memory(make_dataset):
    """A dataset of 12 and 5 steps with a mask, and its copy in fsspec's memory file system."""
    path = make_dataset(12, 5, sim=True)
    set_mask(path, "train", [0])
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/lab/small.zarr", recursive=True)
    yield path, "memory://lab/small.zarr"
    memory.rm("/lab", recursive=True)


class CountingHandler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path):
    """A server of everything below tmp_path; gives (URL, list of requested paths)."""
    handler = functools.partial(CountingHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", server.requests
    server.shutdown()
    thread.join()
    server.server_close()


def assert_equal(found: Dataset, expected: Dataset) -> None:
    assert found.checksum() == expected.checksum()
    assert found.episodes == expected.episodes
    assert (found.timestamps == expected.timestamps).all()
    for name in ("action", "observation.state"):
        assert (found.array(name) == expected.array(name)).all()
        assert (found.statistics(name).mean == expected.statistics(name).mean).all()
    for step in range(expected.num_steps):
        assert (found.image(CAMERA, step) == expected.image(CAMERA, step)).all()
    assert (found.sim_states(1) == expected.sim_states(1)).all()
    assert {name: mask.tolist() for name, mask in found.masks.items()} == {"train": [True, False]}
    for episode in range(2):
        found.verify_episode(episode)
        assert list(found.read_episode(episode).frames[CAMERA]) == list(expected.read_episode(episode).frames[CAMERA])


def test_a_dataset_in_memory_reads_like_the_one_on_disk(in_memory):
    path, url = in_memory
    dataset = Dataset(url)
    assert (dataset.name, dataset.is_local) == (url, False)
    assert_equal(dataset, Dataset(path))


@pytest.mark.slow
def test_a_dataset_behind_http_reads_like_the_one_on_disk(make_dataset, served):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    path = make_dataset(12, 5, sim=True)
    set_mask(path, "train", [0])
    url, _ = served
    assert_equal(Dataset(f"{url}/{path.name}"), Dataset(path))
    assert_equal(Dataset(Path(f"{url}/{path.name}")), Dataset(path))


def test_opening_takes_two_requests_and_a_window_of_images_one_each(make_dataset, served):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    name = make_dataset(12, 5).name
    url, requests = served
    dataset = Dataset(f"{url}/{name}")
    assert requests == [f"/{name}/.zmetadata", f"/{name}/meta/episode_ends/0"]
    dataset.encoded(CAMERA, 0)
    requests.clear()
    dataset.encoded_many(CAMERA, [9, 10, 11])
    assert sorted(requests) == [f"/{name}/data/{CAMERA}/{step}.0.0.0" for step in (10, 11, 9)]


def test_names_that_mean_something_in_a_url_are_read(tmp_path, served):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    for name in ("50% of a?#b", "a[0]*", "ünicode +&"):
        (tmp_path / name).write_bytes(name.encode())
        assert open_store(served[0]).read(name) == name.encode()
        assert open_store(served[0]).read_many([name, name]) == [name.encode()] * 2


def test_many_files_come_in_the_order_of_the_question(in_memory):
    _, url = in_memory
    dataset = Dataset(url)
    steps = [11, 2, 10, 2, 0]
    assert dataset.encoded_many(CAMERA, steps) == [dataset.encoded(CAMERA, step) for step in steps]


def test_what_cannot_be_reached_is_told_in_one_line(make_dataset, served):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    url, _ = served
    path = make_dataset(3)
    (path / "data/action/0.0").unlink()
    for open_it, message in [
        (lambda: Dataset(f"{url}/nothing.zarr"), "There is no dataset at http"),
        (lambda: Dataset("http://127.0.0.1:9/a.zarr"), r"http://127.0.0.1:9/a.zarr/.zmetadata cannot be read: .*9"),
        (lambda: Dataset("memory://nothing.zarr"), "There is no dataset at memory://nothing.zarr"),
        (lambda: Dataset("ftp://127.0.0.1:9/a.zarr"), "ftp://127.0.0.1:9/a.zarr cannot be read: .*Connection refused"),
        (lambda: Dataset("github://a.zarr"), "github://a.zarr cannot be read"),
        (lambda: Dataset("nosuch://a/b.zarr"), "nosuch://a/b.zarr cannot be opened: Protocol not known: nosuch"),
        (lambda: Dataset(f"{url}/{path.name}").array("action"), "data/action/0.0 is missing"),
    ]:
        with pytest.raises(DatasetError, match=message) as caught:
            open_it()
        assert "\n" not in str(caught.value)


def test_a_protocol_without_its_package_says_which_one(monkeypatch):
    from fsspec.registry import known_implementations

    monkeypatch.setitem(known_implementations, "farcloud", {"class": "no_such_package.FS", "err": "Install farcloudfs"})
    with pytest.raises(MissingDependencyError, match="farcloud://b/a.zarr needs another package: Install farcloudfs"):
        Dataset("farcloud://b/a.zarr")
    monkeypatch.setitem(known_implementations, "s3", {"class": "no_such_package.FS", "err": "Install s3fs"})
    with pytest.raises(
        MissingDependencyError, match=r"needs the package s3fs: pip install s3fs -c constraints(-newest)?\.txt$"
    ):
        Dataset("s3://b/a.zarr")


def test_a_password_in_a_url_is_used_but_never_told(served, monkeypatch):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    url = served[0].replace("http://", "http://anna:s3cret@") + "/nothing.zarr"
    asked = []

    def refuse(handler: CountingHandler) -> None:
        asked.append(handler.headers["Authorization"])
        handler.send_error(404)

    monkeypatch.setattr(CountingHandler, "do_GET", refuse)
    with pytest.raises(DatasetError, match="There is no dataset at http://127.0.0.1") as caught:
        Dataset(url)
    assert asked[-1] == "Basic YW5uYTpzM2NyZXQ="  # base64 of anna:s3cret
    assert "s3cret" not in str(caught.value)
    store = pickle.loads(pickle.dumps(open_store(url)))
    assert store.name == f"{served[0]}/nothing.zarr"
    assert store.find("x") is None and asked[-1] == "Basic YW5uYTpzM2NyZXQ="


def test_damage_far_away_is_named(in_memory):
    _, url = in_memory
    memory = fsspec.filesystem("memory")
    data = bytearray(memory.cat_file("/lab/small.zarr/data/action/0.0"))
    data[13 * 8] ^= 1  # step 13 is in episode 1
    memory.pipe_file("/lab/small.zarr/data/action/0.0", bytes(data))
    with pytest.raises(DatasetError, match=r"memory://lab/small.zarr/data/action: episode 1 \(steps 12 to 16\)"):
        Dataset(url).array("action")


def test_a_dataset_by_url_can_be_pickled_and_has_no_path(in_memory):
    path, url = in_memory
    dataset = pickle.loads(pickle.dumps(Dataset(url)))
    assert (dataset.array("action") == Dataset(path).array("action")).all()
    with pytest.raises(DatasetError, match="is not a folder of this machine; copy it"):
        dataset.path  # noqa: B018
    with pytest.raises(DatasetError, match="can be read but not edited"):
        set_mask(url, "train", [0])


def test_nothing_is_made_at_a_url(make_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, there = make_dataset(2, 2), Path("s3://bucket/new")
    for make in (
        lambda: drop(Dataset(path), there, selection=Selection("0")),
        lambda: convert_dataset(tmp_path / "buffer.zarr", there),
        lambda: convert_dataset(there, tmp_path / "new.zarr"),
        lambda: export_dataset(path, there, "diffusion_policy_zarr"),
    ):
        with pytest.raises(DatasetError, match="s3://bucket/new is a URL; (.*; )?choose a folder of this machine"):
            make()
    assert list(tmp_path.iterdir()) == [path]


def test_which_locations_are_urls():
    for location, url in [
        ("s3://bucket/a.zarr", "s3://bucket/a.zarr"),
        (Path("s3://bucket/a.zarr"), "s3://bucket/a.zarr"),
        (Path("http://host:80/a.zarr"), "http://host:80/a.zarr"),
        ("HTTPS://host/A.zarr", "https://host/A.zarr"),
        ("a.zarr", None),
        ("/data/a.zarr", None),
        ("data:old/a.zarr", None),
        ("C:/data/a.zarr", None),
    ]:
        assert as_url(location) == url
    local = open_store("file:///data/some%20where/a.zarr")
    assert isinstance(local, LocalStore)
    assert local.path == Path("/data/some where/a.zarr")
    assert isinstance(open_store(Path("memory://a")), FsspecStore)


def test_a_part_of_a_local_file_is_read_and_its_size_checked(tmp_path):
    (tmp_path / "chunk").write_bytes(bytes(range(10)))
    out = np.zeros(3, np.uint8)
    store = LocalStore(tmp_path)
    store.fill([("chunk", 4, out.data)], 10)
    assert out.tolist() == [4, 5, 6]
    with pytest.raises(DatasetError, match="chunk has 10 bytes, expected 12"):
        store.fill([("chunk", 0, out.data)], 12)
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        store.read(".")
    assert store.find("nothing") is None
    assert store.list("nothing") == []
    assert store.list("") == ["chunk"]
