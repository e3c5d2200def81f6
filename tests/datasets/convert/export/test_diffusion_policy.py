"""diffusion_policy's replay buffer: a plain zarr v2 group whose arrays all end where the last episode ends."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from robolearn.datasets.convert.export import diffusion_policy_zarr
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.read.reader import Dataset

FRONT = "observation.images.front"


@pytest.fixture(scope="module", params=["buffer.zarr", "buffer.zarr.zip"])
def exported(request, rich_dataset_to_read: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("zarr") / request.param
    return export_dataset(rich_dataset_to_read, output, "diffusion_policy_zarr").output


def open_group(path: Path) -> zarr.Group:
    store = zarr.storage.ZipStore(path, mode="r") if path.suffix == ".zip" else path
    return zarr.open_group(store, mode="r", zarr_format=2)


def test_arrays_are_exact(exported, rich_dataset_to_read):
    group, dataset = open_group(exported), Dataset(rich_dataset_to_read)
    keys = {"state", "force", "keypoints", "closed", "count", "action", "next_reward"}
    assert set(group["data"].array_keys()) == keys | {"front", "grey", "depth_front", "timestamp"}
    for key in keys - {"action", "next_reward"}:
        expected = dataset.array(f"observation.{key}")
        assert group["data"][key].dtype == expected.dtype and np.array_equal(group["data"][key][:], expected)
    assert np.array_equal(group["data/action"][:], dataset.array("action"))
    assert np.array_equal(group["data/front"][:], [dataset.image(FRONT, step) for step in range(10)])
    assert np.array_equal(
        group["data/depth_front"][:], [dataset.image("observation.depth.front", k) for k in range(10)]
    )


def test_true_times_and_episode_ends_are_kept(exported, rich_dataset_to_read):
    group = open_group(exported)
    assert np.array_equal(group["data/timestamp"][:], Dataset(rich_dataset_to_read).timestamps)
    ends = group["meta/episode_ends"]
    assert ends.dtype == np.int64 and ends[:].tolist() == [5, 6, 10]
    assert all(group["data"][key].shape[0] == 10 for key in group["data"])


def test_metadata_is_zarr_2_with_blosc(rich_dataset_to_read, tmp_path):
    output = export_dataset(rich_dataset_to_read, tmp_path / "b.zarr", "diffusion_policy_zarr").output
    for key in ("front", "state", "timestamp"):
        found = json.loads((output / "data" / key / ".zarray").read_bytes())
        assert found["zarr_format"] == 2 and found["order"] == "C" and found["filters"] is None
        assert (found["compressor"]["id"], found["compressor"]["cname"]) == ("blosc", "zstd")
    assert json.loads((output / "meta/episode_ends/.zarray").read_bytes())["compressor"] is None


def test_chunks_span_episodes_and_the_last_one_is_filled_up(rich_dataset_to_read, tmp_path, monkeypatch):
    monkeypatch.setattr(diffusion_policy_zarr, "CHUNK_BYTES", 3 * 24 * 32 * 3)
    output = export_dataset(
        rich_dataset_to_read, tmp_path / "b.zarr", "diffusion_policy_zarr", ExportOptions(workers=2)
    ).output
    assert sorted(p.name for p in (output / "data/front").iterdir() if p.name[0] != ".") == [
        f"{k}.0.0.0" for k in range(4)
    ]
    dataset = Dataset(rich_dataset_to_read)
    assert np.array_equal(open_group(output)["data/front"][:], [dataset.image(FRONT, k) for k in range(10)])


def test_the_zip_holds_what_the_folder_holds(rich_dataset_to_read, tmp_path):
    folder = export_dataset(rich_dataset_to_read, tmp_path / "b.zarr", "diffusion_policy_zarr").output
    packed = export_dataset(rich_dataset_to_read, tmp_path / "b.zarr.zip", "diffusion_policy_zarr").output
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with zipfile.ZipFile(packed) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_keys_can_be_chosen(rich_dataset_to_read, tmp_path):
    options = ExportOptions(rename={FRONT: "img", "observation.keypoints": "keypoint"})
    output = export_dataset(rich_dataset_to_read, tmp_path / "b.zarr", "diffusion_policy_zarr", options).output
    keys = set(open_group(output)["data"].array_keys())
    assert {"img", "keypoint"} <= keys and not {"front", "keypoints"} & keys
