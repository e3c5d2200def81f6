"""How replay buffers are stored: folders and zip files, zarr 2 and 3, chunks that are missing, code that is not run."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.diffusion_policy import reader as diffusion_policy_zarr
from robolearn.datasets.convert.diffusion_policy import replay_buffer
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset

sys.path.append(str(Path(__file__).parent))
from replay_buffers import ENDS, make_source, pusht_arrays, umi_arrays, zipped


@pytest.mark.slow
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_is_read_without_unpacking(tmp_path, compression):
    folder = make_source(tmp_path / "pusht.zarr", **pusht_arrays())
    packed = zipped(folder, tmp_path / "pusht.zarr.zip", compression)
    assert detect_format(packed) == "diffusion_policy_zarr"
    before = set(tmp_path.iterdir())
    convert_dataset(packed, tmp_path / "zip.zarr", ConvertOptions(workers=2))
    assert set(tmp_path.iterdir()) - before == {tmp_path / "zip.zarr"}
    convert_dataset(folder, tmp_path / "folder.zarr", ConvertOptions())
    assert Dataset(tmp_path / "zip.zarr").checksum() == Dataset(tmp_path / "folder.zarr").checksum()


def test_an_entry_of_a_zip_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_buffer, "LARGEST_ENTRY", 1000)
    path = tmp_path / "bomb.zarr.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in diffusion_policy_zarr.NEEDED:
            archive.writestr(name, "{}")
        archive.writestr("data/action/0.0", bytes(100_000))
    with pytest.raises(DatasetError, match=r"data/action/0\.0 would have 100000 bytes, more than 1000; store"):
        convert_dataset(path, tmp_path / "out.zarr", ConvertOptions(fps=10))


def test_a_truncated_zip_is_not_recognised_and_one_line(tmp_path):
    packed = zipped(make_source(tmp_path / "a.zarr", **pusht_arrays()), tmp_path / "a.zarr.zip")
    packed.write_bytes(packed.read_bytes()[:-1000])
    with pytest.raises(DatasetError, match="is not in a format that can be read"):
        convert_dataset(packed, tmp_path / "out.zarr", ConvertOptions())
    with pytest.raises(DatasetError, match="cannot be read as a replay buffer") as caught:
        convert_dataset(packed, tmp_path / "out.zarr", ConvertOptions(), "diffusion_policy_zarr")
    assert "\n" not in str(caught.value)


def test_arrays_of_objects_are_never_decoded(tmp_path):
    """They may be pickles, which run code when they are read."""
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2), np.float32))
    folder = source / "data" / "notes"
    folder.mkdir()
    described = {"zarr_format": 2, "shape": [9], "chunks": [9], "dtype": "|O", "compressor": None, "fill_value": None,
                 "filters": [{"id": "pickle", "protocol": 5}], "order": "C"}  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(described))
    (folder / "0").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert "action" in Dataset(tmp_path / "out.zarr").features
    assert any("data/notes" in note for note in report.notes)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("codec", ["Jpegxl", "Jpeg2k"])
def test_jpeg_xl_and_jpeg_2000_are_decoded(tmp_path, codec):
    module = pytest.importorskip("imagecodecs.numcodecs", reason="imagecodecs is not installed")
    arrays = umi_arrays()
    source = make_source(tmp_path / "umi.zarr", **arrays)
    encoder = getattr(module, codec)(
        level=None if codec == "Jpeg2k" else 99, **({"reversible": True} if codec == "Jpeg2k" else {})
    )
    folder = source / "data/camera0_rgb"
    described = json.loads((folder / ".zarray").read_text()) | {"chunks": [1, 32, 32, 3]}
    (folder / ".zarray").write_text(json.dumps(described | {"compressor": encoder.get_config()}))
    for step, image in enumerate(arrays["camera0_rgb"]):
        (folder / f"{step}.0.0.0").write_bytes(encoder.encode(image))
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert all((dataset.image("observation.images.camera0", k) == arrays["camera0_rgb"][k]).all() for k in range(9))


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_numbers_stored_as_pickles_are_refused(tmp_path, place):
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2), np.float32))
    array = source / "data/action/.zarray"
    pickle = {"id": "pickle", "protocol": 5}
    described = json.loads(array.read_text()) | {place: [pickle] if place == "filters" else pickle}
    array.write_text(json.dumps(described))
    with pytest.raises(DatasetError, match="data/action is stored as pickles|holds no data"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))


@pytest.mark.parametrize("shards", [None, (6, 2)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_zarr_3_folder_is_a_replay_buffer_too(tmp_path, shards, packed):
    action = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    source = tmp_path / "a.zarr"
    group = zarr.create_group(source, zarr_format=3)
    group.create_array("data/action", data=action, chunks=(3, 2), shards=shards)
    group.create_array("meta/episode_ends", data=np.array(ENDS, np.int64))
    source = zipped(source, tmp_path / "a.zip") if packed else source
    assert detect_format(source) == "diffusion_policy_zarr"
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    dataset = Dataset(tmp_path / "out.zarr")
    assert (dataset.array("action") == action).all()
    assert dataset.attributes["metadata"]["provenance"]["format_version"] == "zarr 3"


def test_a_lost_shard_is_not_read_as_zeros(tmp_path):
    source = tmp_path / "a.zarr"
    group = zarr.create_group(source, zarr_format=3)
    group.create_array("data/action", data=np.ones((9, 2), np.float32), chunks=(1, 2), shards=(3, 2))
    group.create_array("meta/episode_ends", data=np.array([3, 9], np.int64))
    (source / "data/action/c/2/0").unlink()
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.skipped == (f"{source}: episode 1: chunk data/action/c/2/0 is missing: possibly an incomplete copy.",)


@pytest.fixture(params=["folder", "zip"])
def without(request, tmp_path):
    """Three episodes of three steps, one chunk each, of which the named files are lost."""

    def make(*lost):
        rng = np.random.default_rng(0)
        folder = make_source(
            tmp_path / "a.zarr", [3, 6, 9], action=rng.uniform(1, 2, (9, 2)), state=rng.uniform(1, 2, (9, 4))
        )
        for name in lost:
            (folder / name).unlink()
        return folder if request.param == "folder" else zipped(folder, tmp_path / "a.zip")

    return make


def test_an_episode_with_a_missing_chunk_is_left_out_and_never_read_as_zeros(without, tmp_path):
    source = without("data/action/1.0")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.notes[0] == "data/action: chunks are missing, episodes that need them are left out"
    (left_out,) = report.skipped
    assert left_out == f"{source}: episode 1: chunk data/action/1.0 is missing: possibly an incomplete copy."
    dataset = Dataset(tmp_path / "out.zarr")
    assert [record["source_episode"] for record in dataset.episodes] == [0, 2]
    assert dataset.array("action").min() >= 1


def test_missing_chunks_hold_zeros_when_that_is_said(without, tmp_path):
    source = without("data/action/1.0", *(f"data/state/{k}.0" for k in range(3)))
    options = ConvertOptions(fps=10, missing_as_zeros=True)
    report = convert_dataset(source, tmp_path / "out.zarr", options)
    assert (report.num_episodes, report.skipped) == (3, ())
    assert "data/action: chunks are read as zeros" in report.notes
    dataset = Dataset(tmp_path / "out.zarr")
    assert not dataset.array("action")[3:6].any()
    assert not dataset.array("observation.state").any()


def test_every_episode_that_touches_a_missing_chunk_is_left_out(tmp_path):
    source = make_source(tmp_path / "a.zarr", [1, 3, 4, 9], action=np.ones((9, 2)))  # chunks: 0-2, 3-5, 6-8
    (source / "data/action/1.0").unlink()
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert [line.split(": ")[1] for line in report.skipped] == ["episode 2", "episode 3"]


def test_an_array_without_any_chunk_is_not_taken_for_zeros(without, tmp_path):
    source = without(*(f"data/state/{k}.0" for k in range(3)))
    message = r"no chunk of data/state is there: possibly an incomplete copy; copy it again, or say that it holds zeros"
    with pytest.raises(DatasetError, match=message):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert not list(tmp_path.glob("out*"))


def test_missing_ends_of_episodes_are_named(without, tmp_path):
    source = without("meta/episode_ends/0")
    with pytest.raises(DatasetError, match=r"meta/episode_ends/0 is missing, which says where episodes end: possibly"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_in_groups_of_their_own_are_read_and_others_named(tmp_path, zarr_format, packed):
    state = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    source = tmp_path / "a.zarr"
    group = zarr.create_group(source, zarr_format=zarr_format)
    group.create_array("data/actions", data=-state, chunks=(3, 2))
    group.create_array("data/obs/state", data=state, chunks=(3, 2))
    group.create_array("data/obs/images/top", data=np.full((9, 16, 20, 3), 7, np.uint8), chunks=(3, 16, 20, 3))
    group.create_array("meta/episode_ends", data=np.array(ENDS, np.int64))
    group.create_array("meta/speed", data=np.array([1.0, 2.0]))
    source = zipped(source, tmp_path / "a.zip") if packed else source
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    dataset = Dataset(tmp_path / "out.zarr")
    assert set(dataset.features) == {"action", "observation.state", "observation.images.top"}
    assert (dataset.array("observation.state") == state).all()
    assert report.notes[0] == "meta/speed is not carried over: only the ends of episodes are read there"


def test_an_array_that_cannot_be_opened_costs_only_itself(tmp_path):
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2)), state=np.ones((9, 2)))
    (source / "data/state/.zarray").write_text("{")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert list(Dataset(tmp_path / "out.zarr").features) == ["action"]
    assert report.notes[0].startswith("data/state is not carried over: it cannot be opened (")
