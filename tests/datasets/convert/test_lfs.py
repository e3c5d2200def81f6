"""Git LFS pointers in a source of any format: said to be what they are, and what to do about them."""

import sys
from pathlib import Path

import pytest

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.lfs import LARGEST, is_pointer, is_there, pointers, without_copying
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.read.reader import Dataset

for needed in ("pyarrow", "av", "h5py"):
    pytest.importorskip(needed)
sys.path.append(str(Path(__file__).parents[1]))
from toy_sources import FPS, WRITERS  # noqa: E402

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 12345\n"
TOLD = (
    r"is a Git LFS pointer, whose content was not downloaded: run `git lfs pull` in the repository, then convert again"
)


def convert(source, tmp_path):
    fps = None if "lerobot" in source.name or source.name == "robomimic_hdf5" else FPS
    return convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=fps))


@pytest.mark.parametrize(
    ("name", "file", "read"),
    [
        ("lerobot_v2", "data/episode_000001.parquet", 2),
        ("lerobot_v2", "videos/observation.images.left/episode_000000.mp4", 2),
        ("lerobot_v2", "meta/info.json", 0),
        ("lerobot_v2", "meta/episodes.jsonl", 0),
        ("lerobot_v3", "data/file-000.parquet", 0),
        ("lerobot_v3", "meta/episodes/file-000.parquet", 0),
        ("lerobot_v3", "videos/observation.images.left/file-000.mp4", 3),
        ("diffusion_policy_zarr", "data/action/0.0", 2),
        ("diffusion_policy_zarr", "meta/episode_ends/0", 0),
        ("rlds", "toy-train.tfrecord-00000-of-00001", 0),
        ("rlds", "features.json", 0),
        ("robomimic_hdf5", "", 0),
        ("aloha_hdf5", "episode_1.hdf5", 2),
    ],
)
def test_a_pointer_is_named_with_what_to_do(tmp_path, name, file, read):
    source = tmp_path / name
    WRITERS[name](source)
    (source / file).write_bytes(POINTER)
    if read:
        report = convert(source, tmp_path)
        assert Dataset(tmp_path / "out.zarr").num_episodes == read
        said = " ".join((*report.notes, *report.skipped))
    else:
        with pytest.raises(DatasetError) as caught:
            convert(source, tmp_path)
        said = str(caught.value)
        assert not (tmp_path / "out.zarr").exists()
    assert f"{source / file} {TOLD}" in said
    assert "copy it again" not in said
    assert "\n" not in said


def test_what_is_wrong_for_another_reason_is_still_said(tmp_path):
    source = tmp_path / "rlds"
    WRITERS["rlds"](source)
    (source / "LICENSE").write_bytes(POINTER)
    (source / "features.json").write_text("{")
    with pytest.raises(DatasetError, match=rf"LICENSE {TOLD}\. \(.*rlds is not in a format that can be read"):
        convert(source, tmp_path)


@pytest.mark.parametrize("what", ["it", "the file", "the whole dataset"])
def test_nobody_is_told_to_copy_what_has_to_be_fetched(what):
    assert without_copying(f"demo_3 is damaged; copy {what} again.") == "demo_3 is damaged."


def test_pointers_are_told_from_other_small_files(tmp_path):
    (tmp_path / "a.bin").write_bytes(POINTER)
    (tmp_path / "b.bin").write_bytes(POINTER + b"x" * LARGEST)
    (tmp_path / "c.bin").write_bytes(b"version 2\n")
    (tmp_path / "empty.bin").touch()
    assert [file.name for file in pointers(tmp_path)] == ["a.bin"]
    assert not is_pointer(tmp_path / "nothing") and not is_there(tmp_path / "nothing")
    assert is_there(tmp_path / "c.bin") and not is_there(tmp_path / "a.bin")
