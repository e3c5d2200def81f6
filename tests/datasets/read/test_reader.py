import json
import multiprocessing
import pickle
import re
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import ArrayInfo
from robolearn.datasets.read.frames import Frames
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import LocalStore
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "data/observation.images.front"


def test_plain_zarr_reads_identical_values(make_dataset):
    path = make_dataset(3, 5, sim=True)
    dataset = Dataset(path)
    for consolidated in (True, False):
        group = zarr.open_group(path, mode="r", use_consolidated=consolidated)
        assert (group["data/observation.state"][:] == dataset.array("observation.state")).all()
        assert (group["data/timestamp"][:] == dataset.timestamps).all()
        assert (group["meta/episode_ends"][:] == dataset.episode_ends).all()
        assert (group["sim/state"][3:8] == dataset.sim_states(1)).all()
        for step in range(8):
            image = group["data/observation.images.front"][step]
            assert (image == dataset.image("observation.images.front", step)).all()
        assert [json.loads(text) for text in group["meta/episodes"][:]] == dataset.episodes
        assert group.attrs["fps"] == 10


def test_it_opens_as_a_diffusion_policy_replay_buffer(make_dataset):
    """The conditions that diffusion policy's ReplayBuffer puts on a store, and its way of copying one to memory."""
    root = zarr.open_group(make_dataset(3, 5), mode="r")
    assert "data" in root
    assert "meta" in root
    ends = root["meta"]["episode_ends"]
    assert all(value.shape[0] == ends[-1] for _, value in root["data"].arrays())
    meta = {key: np.array(value) if len(value.shape) == 0 else value[:] for key, value in root["meta"].arrays()}
    assert set(meta) == {"episode_ends", "episodes"}
    assert meta["episode_ends"].tolist() == [3, 8]
    assert list(root["meta"].group_keys()) == []


def test_imagecodecs_reads_the_same_pixels(make_dataset):
    imagecodecs = pytest.importorskip("imagecodecs.numcodecs", reason="imagecodecs is not installed")
    dataset = Dataset(make_dataset(3))
    data = dataset.image_file("observation.images.front", 2).read_bytes()
    theirs = imagecodecs.Jpeg(level=95, subsampling="444").decode(data)
    assert np.abs(theirs.astype(int) - dataset.image("observation.images.front", 2)).max() <= 2


def test_zarr_can_write_with_our_codecs(tmp_path, world):
    from robolearn.datasets.format.codecs import PngCodec

    sizes = {"shape": (2, 24, 32, 3), "chunks": (1, 24, 32, 3), "dtype": "u1"}
    array = zarr.create_array(tmp_path / "a.zarr", **sizes, zarr_format=2, compressors=PngCodec())
    array[:] = np.stack([world.image(0), world.image(1)])
    assert (zarr.open_array(tmp_path / "a.zarr", mode="r")[1] == world.image(1)).all()


def test_arrays_cannot_be_changed_by_accident(make_dataset):
    with pytest.raises(ValueError, match="read-only"):
        Dataset(make_dataset(2)).array("action")[0] = 1


def test_a_reader_keeps_its_view_while_episodes_are_added(make_dataset, world):
    path = make_dataset(3)
    early = Dataset(path)
    with DatasetWriter.append_to(path) as writer:
        world.record(writer, 4, first=3)
    assert len(early.array("action")) == early.num_steps == 3
    assert Dataset(path).num_steps == 7


def test_wrong_questions_are_explained(make_dataset):
    dataset = Dataset(make_dataset(3))
    for ask, error, message in [
        (lambda: dataset.array("actions"), FeatureError, "Did you mean 'action'"),
        (lambda: dataset.array("observation.images.front"), FeatureError, r"read them one by one with image\(\)"),
        (lambda: dataset.image("action", 0), FeatureError, "is not an image"),
        (lambda: dataset.image("observation.images.front", 3), DatasetError, "no image 3; it has 3"),
        (lambda: dataset.episode_slice(1), DatasetError, "no episode 1; it has 1"),
    ]:
        with pytest.raises(error, match=message):
            ask()
    assert dataset.sim_states(0) is None
    assert dataset.sim_model(0) is None
    assert dataset.sim_env is None


def test_paths_that_are_no_dataset_are_explained(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        Dataset(tmp_path / "nothing.zarr")
    with pytest.raises(DatasetError, match=r"is not a dataset.*dataset convert"):
        Dataset(tmp_path)
    zarr.create_group(tmp_path / "other.zarr", zarr_format=2)
    (tmp_path / "other.zarr" / ".zmetadata").write_text('{"metadata": {".zattrs": {}}}')
    with pytest.raises(DatasetError, match="zarr group of another kind"):
        Dataset(tmp_path / "other.zarr")


def flip(file, byte):
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)


def read_everything(path):
    dataset = Dataset(path)
    assert dataset.episodes
    for name, feature in dataset.features.items():
        if feature.kind == "image":
            for step in range(dataset.num_steps):
                dataset.image(name, step)
        else:
            dataset.array(name)
    for episode in range(dataset.num_episodes):
        dataset.sim_states(episode)
    assert len(dataset.timestamps) == dataset.num_steps


@pytest.mark.parametrize(
    "file",
    [
        "data/action/0.0",
        "data/timestamp/0",
        "data/observation.images.front/4.0.0.0",
        "meta/episode_ends/0",
        "meta/episodes/0",
        ".zmetadata",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_damaged_files_are_named(make_dataset, file, damage):
    path = make_dataset(3, 5)
    victim = path / file
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(data[: len(data) * 2 // 3] if damage == "truncated" else b"")
    with pytest.raises(DatasetError) as caught:
        read_everything(path)
    assert file.lstrip(".") in str(caught.value)
    assert "\n" not in str(caught.value)


def edit_metadata(path, edit):
    document = json.loads((path / ".zmetadata").read_text())
    edit(document["metadata"])
    del document["crc32"]
    body = json.dumps(document).encode()
    (path / ".zmetadata").write_bytes(body[:-1] + b', "crc32": %d}' % zlib.crc32(body))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["data/action/.zarray"].update(shape=[7, 2]), "data/action has 7 rows, expected 8"),
        (lambda m: m["meta/episodes/.zarray"].update(shape=[3]), "meta/episodes has 3 rows, expected 2"),
        (lambda m: m["data/action/.zarray"].update(chunks=[4, 1]), "not in this layout"),
        (lambda m: m["data/action/.zarray"].pop("dtype"), "incomplete"),
        (lambda m: m["data/action/.zarray"].update(dtype="<f8"), "rows (2,) of <f8, expected (2,) of <f4"),
        (lambda m: m["data/action/.zarray"].update(dtype="nonsense"), "damaged"),
        (lambda m: m["data/action/.zarray"].update(shape=[8, 3], chunks=[4, 3]), "rows (3,) of <f4, expected (2,)"),
        (lambda m: m.pop("data/action/.zarray"), "does not describe data/action"),
        (lambda m: m.update({"data/../../x/.zarray": m["data/action/.zarray"]}), "lies outside the dataset"),
        (lambda m: m[".zattrs"].update(robolearn_format=99), "format version 99, expected 1; update robolearn"),
        (lambda m: m[".zattrs"].pop("features"), "damaged"),
        (lambda m: m["data/observation.images.front/.zarray"]["compressor"].update(id="vp9"), "compressor 'vp9'"),
    ],
)
def test_inconsistent_metadata_is_refused(make_dataset, edit, message):
    path = make_dataset(3, 5)
    edit_metadata(path, edit)
    with pytest.raises(DatasetError, match=re.escape(message)):
        Dataset(path)


def test_episode_ends_that_contradict_the_arrays_are_refused(make_dataset):
    path = make_dataset(3, 5)
    chunk = path / "meta/episode_ends/0"
    ends = np.frombuffer(chunk.read_bytes(), "<i8").copy()
    ends[:2] = [3, 9]
    chunk.write_bytes(ends.tobytes())
    with pytest.raises(DatasetError, match=r"episode_ends does not rise to the number of steps, 8"):
        Dataset(path)


def test_episode_ends_that_contradict_the_records_are_refused(make_dataset):
    path = make_dataset(3, 5)
    chunk = path / "meta/episode_ends/0"
    ends = np.frombuffer(chunk.read_bytes(), "<i8").copy()
    ends[:2] = [4, 8]
    chunk.write_bytes(ends.tobytes())
    with pytest.raises(DatasetError, match="meta/episode_ends does not have the checksum of what was written"):
        Dataset(path)


@pytest.mark.parametrize(
    ("file", "byte"),  # a byte of step 4: rows of action take 8 bytes, of sim/state 16
    [("data/action/0.0", 4 * 8), ("sim/state/0.0", 4 * 16), ("data/observation.images.front/4.0.0.0", 300)],
)
def test_a_flipped_bit_is_found_by_the_checksum_of_its_episode(make_dataset, file, byte):
    path = make_dataset(3, 5, sim=True)
    flip(path / file, byte)
    dataset = Dataset(path)
    dataset.verify_episode(0)
    with pytest.raises(DatasetError, match=rf"{file.rpartition('/')[0]}.*episode 1 ") as caught:
        dataset.verify_episode(1)
    with pytest.raises(DatasetError) as reading:
        read_everything(path)
    assert str(reading.value) == str(caught.value)


def test_an_image_with_the_right_checksum_and_another_size_is_refused(make_dataset, world):
    """As a writer without checks would have left it: then the decoder is what stands guard."""
    path = make_dataset(3)
    other = JpegCodec().encode(world.image(0, 12, 64))
    (path / CAMERA / "1.0.0.0").write_bytes(other)
    dataset = Dataset(path)
    frames = Frames(
        LocalStore(path),
        CAMERA,
        ArrayInfo.frames((24, 32, 3), "uint8", {}).with_length(3),
        JpegCodec(),
        dataset.episode_ends,
        np.full(3, zlib.crc32(other), np.uint32),
    )
    with pytest.raises(DatasetError, match=r"1\.0\.0\.0: .* one of shape \(12, 64, 3\), expected \(24, 32, 3\)"):
        frames.image(1)


def test_a_broken_episode_in_quarantine_does_not_keep_the_others_from_being_read(make_dataset):
    path = make_dataset(3, 5, 2)
    flip(path / "data/action/0.0", 4 * 8)
    with pytest.raises(DatasetError, match=r"data/action: episode 1 \(steps 3 to 7\)"):
        Dataset(path).array("action")
    set_mask(path, "quarantine", [1])
    dataset = Dataset(path)
    assert dataset.array("action")[[0, 2, 8, 9], 0].tolist() == [0.5, 2.5, 8.5, 9.5]
    assert dataset.intact_episodes.tolist() == [0, 2]
    with pytest.raises(DatasetError, match="episode 1"):
        dataset.verify_episode(1)


def test_a_damaged_record_is_named(make_dataset):
    path = make_dataset(3, 5)
    file = path / "meta/episodes/0"
    file.write_bytes(file.read_bytes().replace(b'"num_steps": 5', b'"num_steps": 4'))
    with pytest.raises(DatasetError, match=r"meta/episodes/0: the record of episode 1"):
        Dataset(path).episodes  # noqa: B018


def test_a_count_of_records_that_is_a_lie_allocates_nothing(make_dataset):
    path = make_dataset(3)
    file = path / "meta/episodes/0"
    file.write_bytes(b"\xff\xff\xff\xff" + file.read_bytes()[4:])
    assert len(Dataset(path).episodes) == 1  # the count is not believed
    file.write_bytes(b"\x01\x00\x00\x00" + b"\xff\xff\xff\xff" + file.read_bytes()[8:])
    with pytest.raises(DatasetError, match="does not hold 1 episode records"):
        Dataset(path).episodes  # noqa: B018


def test_parts_are_read_without_the_rest(make_dataset):
    """Chunk 0 of action holds all steps here, so the image files stand for what is not read."""
    path = make_dataset(3, 5, 2, sim=True)
    whole = Dataset(path)
    expected = [whole.image_file("observation.images.front", step).read_bytes() for step in range(3, 8)]
    for step in (0, 1, 2, 8, 9):
        whole.image_file("observation.images.front", step).unlink()
    episode = Dataset(path).read_episode(1)
    assert list(episode.frames["observation.images.front"]) == expected
    assert episode.frames["observation.images.front"][1:3] == expected[1:3]
    assert episode.values["action"][:, 0].tolist() == [3.5, 4.5, 5.5, 6.5, 7.5]
    assert (episode.sim_states == whole.sim_states(1)).all()
    assert episode.record["task"] == "count"
    assert not set(episode.record) & set(layout.RESERVED)
    assert Dataset(path).rows("action", 2, 9)[:, 0].tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]
    assert Dataset(path).rows("timestamp", 3, 3).shape == (0,)
    with pytest.raises(DatasetError, match="no rows 9 to 11; it has 10"):
        Dataset(path).rows("action", 9, 11)


def test_rows_across_chunks_are_those_of_the_whole_array(tmp_path):
    """Rows of 3 float64 are 24 bytes: 2048 of them a chunk."""
    path = tmp_path / "long.zarr"
    values = np.arange(3 * 5000, dtype=np.float64).reshape(5000, 3)
    with DatasetWriter.create(path, features([Feature("x", (3,), "float64")]), 10, durable=False) as writer:
        for part in (slice(0, 2000), slice(2000, 2100), slice(2100, 5000)):
            writer.write_episode(EpisodeData(np.arange(part.stop - part.start) / 10, {"x": values[part]}))
    dataset = Dataset(path)
    for start, stop in [(0, 5000), (1999, 2101), (2047, 2049), (4095, 4097), (4999, 5000)]:
        assert (dataset.rows("x", start, stop) == values[start:stop]).all()
    assert (dataset.array("x") == values).all()
    assert (dataset.rows("x", 2000, 2100) == values[2000:2100]).all()


def test_an_image_is_given_as_it_is_stored(make_dataset):
    dataset = Dataset(make_dataset(12))
    name = "observation.images.front"
    stored = [dataset.image_file(name, step).read_bytes() for step in (11, 2, 2)]
    assert [dataset.encoded(name, step) for step in (11, 2, 2)] == stored
    assert dataset.encoded_many(name, np.array([11, 2, 2])) == stored
    assert (dataset.codec(name).decode(stored[0]) == dataset.image(name, 11)).all()


def test_a_pickled_dataset_opens_at_the_same_state_without_what_it_had_read(make_dataset, world):
    path = make_dataset(3)
    dataset = Dataset(path)
    dataset.array("action")
    data = pickle.dumps(dataset)
    with DatasetWriter.append_to(path) as writer:
        world.record(writer, 4, first=3)
    again = pickle.loads(data)
    assert again.num_steps == 3
    assert (again.array("action") == dataset.array("action")).all()
    assert (again.image("observation.images.front", 2) == dataset.image("observation.images.front", 2)).all()
    assert len(pickle.dumps(dataset)) < 100_000


def test_threads_and_forked_processes_read_the_same(make_dataset):
    dataset = Dataset(make_dataset(12))
    expected = [zlib.crc32(dataset.image_file("observation.images.front", step).read_bytes()) for step in range(12)]

    def check(step):
        return zlib.crc32(dataset.encoded("observation.images.front", step))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(check, range(12))) == expected
    with multiprocessing.get_context("fork").Pool(2) as processes:
        found = processes.starmap(dataset.encoded, [("observation.images.front", step) for step in range(12)])
    assert [zlib.crc32(data) for data in found] == expected


def test_statistics_come_from_what_was_kept_while_recording(make_dataset):
    """Element 0 of action counts 0.5, 1.5, ... 9.5 over episodes of 3, 5 and 2 steps; element 1 is always 1."""
    path = make_dataset(3, 5, 2)
    shutil.rmtree(path / "data/action")
    found = Dataset(path).statistics("action")
    assert (found.count, found.min.tolist(), found.max.tolist()) == (10, [0.5, 1], [9.5, 1])
    assert np.allclose(found.mean, [5, 1])
    assert np.allclose(found.std, [np.sqrt(99 / 12), 0])  # of n consecutive integers: sqrt((n^2 - 1) / 12)
    assert found.quantiles is None
    some = Dataset(path).statistics("action", [2, 0])
    assert np.allclose([some.mean[0], some.min[0], some.max[0]], [(0.5 + 1.5 + 2.5 + 8.5 + 9.5) / 5, 0.5, 9.5])
    assert some.count == 5


def test_quantiles_over_episodes_are_exact_and_read_the_data(make_dataset):
    path = make_dataset(3, 5, 2)
    set_mask(path, "quarantine", [1])
    dataset = Dataset(path)
    everything = dataset.statistics("action", range(3), quantiles=True)
    assert np.allclose(everything.quantiles[:, 0], 0.5 + 9 * np.array([0.01, 0.1, 0.5, 0.9, 0.99]))
    intact = dataset.statistics("action", quantiles=True)
    assert intact.count == 5
    assert intact.quantiles[2].tolist() == [2.5, 1]


def test_statistics_of_images_come_from_their_histograms(make_dataset):
    """The blue of step k is 40 k mod 256; JPEG may move it a little."""
    found = Dataset(make_dataset(1)).statistics("observation.images.front")
    assert found.mean.shape == (3,)
    assert found.mean[2] < 8
    with pytest.raises(DatasetError, match="no statistics of no episodes"):
        Dataset(make_dataset(name="empty.zarr")).statistics("action")
    with pytest.raises(DatasetError, match="no episode 7; it has 1"):
        Dataset(make_dataset(1, name="one.zarr")).statistics("action", [7])


def test_a_dataset_without_episodes_has_empty_arrays(make_dataset):
    dataset = Dataset(make_dataset())
    assert dataset.array("action").shape == (0, 2)
    assert dataset.timestamps.shape == (0,)
    assert dataset.episodes == []
    assert dataset.intact_episodes.size == 0
    assert dataset.rows("action", 0, 0).shape == (0, 2)
