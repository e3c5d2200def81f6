"""LeRobot datasets of which `info.json` says something else than what is there, or of which something is not there."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import DatasetError

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
from pyarrow import parquet  # noqa: E402

sys.path.append(str(Path(__file__).parent))
from odd_sources import CAM, LENGTHS, convert, numbers_of, write_v2, write_v3  # noqa: E402

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"  # noqa: E501


def test_version_3s_word_for_a_chunk_is_understood_in_version_2(tmp_path):
    source = write_v2(tmp_path / "v2", data_path="data/chunk-{chunk_index:03d}/episode_{episode_index:06d}.parquet")
    assert convert(source, tmp_path)[0].num_episodes == 3


def test_a_placeholder_that_nobody_knows_is_named(tmp_path):
    source = write_v2(tmp_path / "v2", data_path="data/{part}/episode_{episode_index:06d}.parquet")
    with pytest.raises(
        DatasetError, match=r"info\.json: data_path '.*' has the placeholder \{part\}; known are .*chunk"
    ):
        convert(source, tmp_path)


@pytest.mark.parametrize(("write", "tasks"), [(write_v2, ["task 0", "task 1", "task 2"]), (write_v3, ["a", "b", "c"])])
def test_without_a_task_index_the_list_of_episodes_names_the_task(tmp_path, write, tasks):
    _, dataset = convert(write(tmp_path / "source"), tmp_path)
    assert [episode["task"] for episode in dataset.episodes] == tasks


def test_a_missing_column_is_not_said_to_be_listed_where_it_is_not(tmp_path):
    source = write_v2(tmp_path / "v2")
    file = source / "data/chunk-000/episode_000001.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(["timestamp"]), file)
    info = json.loads((source / "meta/info.json").read_text())
    del info["features"]["timestamp"]
    (source / "meta/info.json").write_text(json.dumps(info))
    report, _ = convert(source, tmp_path)
    assert "episode_000001.parquet lacks the column 'timestamp', which every LeRobot dataset has." in report.skipped[0]


def test_numbers_keep_the_type_of_the_files_where_the_declared_one_is_narrower(tmp_path):
    source = write_v2(tmp_path / "v2", lambda e: {"action": pyarrow.float64()})
    report, dataset = convert(source, tmp_path)
    assert dataset.array("action")[3].tolist() == [3.1, -2.9]
    assert report.notes == ("action: info.json says float32, the parquet files hold float64: carried over as float64",)


def test_an_episode_without_steps_is_left_out_by_name(tmp_path):
    source = write_v2(tmp_path / "v2")
    file = source / "data/chunk-000/episode_000001.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 0), file)
    report, dataset = convert(source, tmp_path)
    assert [episode["source_episode"] for episode in dataset.episodes] == [0, 2]
    assert report.skipped == (f"{source}: episode 1: it has no steps.",)


@pytest.mark.parametrize("index", [1000 + np.arange(19), np.concatenate([np.arange(n) for n in LENGTHS])])
def test_an_index_that_does_not_count_through_the_dataset_is_not_relied_on_and_it_is_said(tmp_path, index):
    source = write_v3(tmp_path / "v3")
    file = source / "data/file-000.parquet"
    table = parquet.read_table(file)
    parquet.write_table(table.set_column(table.column_names.index("index"), "index", pyarrow.array(index)), file)
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(19))
    assert report.notes == ("no column index counts through the dataset: rows are compared by episode_index",)


@pytest.mark.parametrize("starts", [(13, 7, 0), (0, 6, 12)])
def test_episodes_may_be_in_any_order_in_a_video(tmp_path, starts):
    stops = [start + length for start, length in zip(starts, LENGTHS, strict=True)]
    _, dataset = convert(write_v3(tmp_path / "v3", starts=starts, stops=stops), tmp_path)
    assert numbers_of(dataset) == [k for s, n in zip(starts, LENGTHS, strict=True) for k in range(s, s + n)]


def test_episodes_of_which_nobody_says_where_their_videos_are_are_named(tmp_path):
    source = write_v3(tmp_path / "v3")
    (source / "meta/episodes/file-000.parquet").unlink()
    with pytest.raises(DatasetError, match=r"meta/episodes does not say where the videos of 3 episodes are"):
        convert(source, tmp_path)


@pytest.mark.parametrize("what", ["video", "parquet"])
def test_a_pointer_counts_as_a_file_that_is_not_there_and_is_said_to_be_one(tmp_path, what):
    source = write_v2(tmp_path / "v2")
    name = {"video": f"videos/{CAM}/episode_000001.mp4", "parquet": "data/chunk-000/episode_000001.parquet"}[what]
    (source / name).write_bytes(POINTER)
    report, dataset = convert(source, tmp_path)
    assert [episode["source_episode"] for episode in dataset.episodes] == [0, 2]
    told = [note for note in report.notes if "Git LFS" in note]
    assert told == [
        f"{source / name} is a Git LFS pointer, whose content was not downloaded: run `git lfs pull` in the "
        "repository, then convert again"
    ]
    assert "copy it again" not in " ".join((*report.notes, *report.skipped))


def test_nothing_but_pointers_is_said_in_one_line(tmp_path):
    source = write_v2(tmp_path / "v2")
    for file in [*source.rglob("*.parquet"), *source.rglob("*.mp4")]:
        file.write_bytes(POINTER)
    with pytest.raises(DatasetError, match=r"^6 files of .*v2, data/chunk-000/episode_000000\.parquet for one, are Git "
                                           r"LFS pointers, .* run `git lfs pull`"):  # fmt: skip
        convert(source, tmp_path)
