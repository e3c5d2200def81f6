import json
import zlib
import re

import numpy as np
import pytest
import zarr

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.datasets.reader import Dataset


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
    from robolearn.datasets.codecs import PngCodec

    sizes = {"shape": (2, 24, 32, 3), "chunks": (1, 24, 32, 3), "dtype": "u1"}
    array = zarr.create_array(tmp_path / "a.zarr", **sizes, zarr_format=2, compressors=PngCodec())
    array[:] = np.stack([world.image(0), world.image(1)])
    assert (zarr.open_array(tmp_path / "a.zarr", mode="r")[1] == world.image(1)).all()


def test_arrays_cannot_be_changed_by_accident(make_dataset):
    with pytest.raises(ValueError, match="read-only"):
        Dataset(make_dataset(2)).array("action")[0] = 1


def test_a_reader_keeps_its_view_while_episodes_are_added(make_dataset, world):
    from robolearn.datasets.writer import DatasetWriter

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


def read_everything(path):
    dataset = Dataset(path)
    assert dataset.episodes
    for name, feature in dataset.features.items():
        if feature.kind == "image":
            for step in range(dataset.num_steps):
                dataset.image(name, step)
        else:
            dataset.array(name)
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


@pytest.mark.parametrize(
    ("file", "byte"),  # a byte of step 4: rows of action take 8 bytes, of sim/state 16
    [("data/action/0.0", 4 * 8), ("sim/state/0.0", 4 * 16), ("data/observation.images.front/4.0.0.0", 300)],
)
def test_a_flipped_bit_is_found_by_the_checksum_of_its_episode(make_dataset, file, byte):
    path = make_dataset(3, 5, sim=True)
    data = bytearray((path / file).read_bytes())
    data[byte] ^= 1
    (path / file).write_bytes(data)
    dataset = Dataset(path)
    dataset.verify_episode(0)
    with pytest.raises(DatasetError, match=rf"{file.rpartition('/')[0]}: episode 1 \(steps 3 to 7\)"):
        dataset.verify_episode(1)


def test_an_image_of_another_size_is_refused(make_dataset, world):
    from robolearn.datasets.codecs import JpegCodec

    path = make_dataset(3)
    (path / "data/observation.images.front/1.0.0.0").write_bytes(JpegCodec().encode(world.image(0, 12, 64)))
    with pytest.raises(DatasetError, match=r"1\.0\.0\.0 holds an image of shape \(12, 64, 3\), expected \(24, 32, 3\)"):
        Dataset(path).image("observation.images.front", 1)
