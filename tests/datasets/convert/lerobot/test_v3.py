import json
import shutil

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.lerobot import v3 as lerobot_v3
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

LENGTHS = (3, 5, 4)


@pytest.fixture
def source(tmp_path):
    """Three episodes in two files that split the second one, with a task each."""
    root = tmp_path / "lerobot"
    (root / "meta").mkdir(parents=True)
    (root / "data" / "chunk-000").mkdir(parents=True)
    vector = {"dtype": "float32", "shape": [2], "names": {"motors": ["pan", "lift"]}}
    scalar = {"dtype": "bool", "shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0", "robot_type": "so100", "fps": 30, "total_episodes": 3, "total_frames": sum(LENGTHS),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "features": {
            "observation.state": vector, "action": vector, "next.success": scalar,
            "observation.images.top": {"dtype": "video", "shape": [48, 64, 3], "names": None},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "episode_index": {"dtype": "int64", "shape": [1], "names": None},
        },
    }  # fmt: skip
    (root / "meta" / "info.json").write_text(json.dumps(info))
    (root / "meta" / "stats.json").write_text('{"action": {"max": [11.0, NaN]}}')
    tasks = pyarrow.table({"task_index": [0, 1], "task": ["stack the cups", "open the drawer"]})
    parquet.write_table(tasks, root / "meta" / "tasks.parquet")
    episodes = pyarrow.table({"episode_index": [0, 1, 2], "length": LENGTHS})
    (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    parquet.write_table(episodes, root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    episode = np.repeat(np.arange(3), LENGTHS)
    frame = np.concatenate([np.arange(n) for n in LENGTHS])
    count = np.arange(sum(LENGTHS), dtype=np.float32)
    pairs = np.stack([count, -count], 1).tolist()
    table = pyarrow.table(
        {
            "observation.state": pyarrow.array(pairs, pyarrow.list_(pyarrow.float32(), 2)),
            "action": pyarrow.array(pairs, pyarrow.list_(pyarrow.float32())),
            "next.success": frame == 3,
            "timestamp": pyarrow.array(frame / 30, pyarrow.float32()),
            "episode_index": episode,
            "index": np.arange(sum(LENGTHS)),
            "task_index": episode % 2,
        }
    )
    for number, part in enumerate((table.slice(0, 6), table.slice(6))):
        parquet.write_table(part, root / "data" / "chunk-000" / f"file-{number:03d}.parquet")
    return root


def test_values_times_and_tasks_are_carried_over(source, tmp_path):
    assert detect_format(source) == "lerobot_v3"
    seen = []
    options = ConvertOptions(progress=lambda done, total: seen.append((done, total)))
    report = convert_dataset(source, tmp_path / "out.zarr", options)
    dataset = Dataset(tmp_path / "out.zarr")
    assert (report.num_episodes, report.num_steps, report.output) == (3, 12, tmp_path / "out.zarr")
    assert report.notes == ("observation.images.top (video) is not carried over: its files are not there",)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert dataset.episode_ends.tolist() == [3, 8, 12]
    assert dataset.fps == 30
    assert dataset.array("action").tolist() == [[k, -k] for k in range(12)]
    assert dataset.array("observation.state").tolist() == [[k, -k] for k in range(12)]
    assert dataset.features["action"].names == ("pan", "lift")
    assert dataset.timestamps[3:8] == pytest.approx(np.arange(5) / 30, abs=1e-7)
    assert [e["task"] for e in dataset.episodes] == ["stack the cups", "open the drawer", "stack the cups"]
    assert [e["success"] for e in dataset.episodes] == [False, True, True]
    assert dataset.attributes["metadata"]["robot"] == "so100"
    assert dataset.attributes["metadata"]["lerobot_stats"] == {"action": {"max": [11.0, None]}}
    assert len(dataset.attributes["metadata"]["provenance"]["sha256"]) == 64


def test_small_batches_give_the_same_dataset(source, tmp_path, monkeypatch):
    convert_dataset(source, tmp_path / "a.zarr", ConvertOptions())
    monkeypatch.setattr(lerobot_v3, "BATCH_ROWS", 2)
    convert_dataset(source, tmp_path / "b.zarr", ConvertOptions())
    assert Dataset(tmp_path / "a.zarr").checksum() == Dataset(tmp_path / "b.zarr").checksum()


def test_options_choose_names_task_and_episodes(source, tmp_path):
    options = ConvertOptions(rename={"observation.state": "observation.joint_position"}, task="tidy up", max_episodes=1)
    convert_dataset(source, tmp_path / "out.zarr", options)
    dataset = Dataset(tmp_path / "out.zarr")
    assert "observation.joint_position" in dataset.features
    assert (dataset.num_episodes, dataset.episodes[0]["task"]) == (1, "tidy up")


def test_an_incomplete_download_is_carried_over_as_far_as_it_goes(source, tmp_path):
    (source / "data" / "chunk-000" / "file-001.parquet").unlink()
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 1, "the second file holds the rest of the second episode, too"
    assert report.notes[-3:] == (
        "meta/info.json lists 3 episodes, the parquet files hold 2",
        "of 1 episodes not all rows are there, they are left out: 1",
        "1 of the episodes that the source lists are not carried over: 2",
    )


def truncate(file):
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: truncate(root / "meta/tasks.parquet"), r"tasks\.parquet is missing or damaged"),
        (lambda root: shutil.rmtree(root / "data"), "holds no parquet file"),
        (lambda root: (root / "meta/info.json").write_text('{"codebase_version": "v3.0"}'), "missing or damaged"),
        (lambda root: (root / "meta/info.json").write_text("{"), "not in a format that can be read"),
    ],
)
def test_damaged_sources_are_named_and_leave_nothing_behind(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(DatasetError, match=message):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert [p.name for p in tmp_path.iterdir()] == ["lerobot"]


def test_a_damaged_file_takes_its_episodes_with_it(source, tmp_path):
    truncate(source / "data/chunk-000/file-001.parquet")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert "file-001.parquet cannot be read, its episodes are left out" in report.notes
    assert report.num_episodes == 1, "the second one is whole in neither file"


def test_a_file_with_a_garbled_name_of_a_column_takes_its_episodes_with_it(source, tmp_path):
    file = source / "data/chunk-000/file-001.parquet"
    file.write_bytes(file.read_bytes().replace(b"next.success", b"next.\xf4ucces\xff"))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert "file-001.parquet cannot be read, its episodes are left out" in report.notes
    assert report.num_episodes == 1


def test_times_that_stand_still_are_located(source, tmp_path):
    file = source / "data" / "chunk-000" / "file-001.parquet"
    table = parquet.read_table(file)
    column = table.column_names.index("timestamp")
    parquet.write_table(table.set_column(column, "timestamp", pyarrow.array(np.zeros(len(table), np.float32))), file)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 1
    assert len(report.skipped) == 2
    assert "lerobot: episode 1, " in report.skipped[0]
    assert "tep 3" in report.skipped[0]


def test_unknown_keys_formats_and_taken_outputs_are_refused(source, tmp_path, make_dataset):
    with pytest.raises(ConfigError, match=r"'observation\.stat'.*Did you mean 'observation\.state'"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(rename={"observation.stat": "x"}))
    with pytest.raises(ConfigError, match="Did you mean 'lerobot_v3'"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(), "lerobot_3")
    with pytest.raises(DatasetError, match="exists already"):
        convert_dataset(source, make_dataset(1), ConvertOptions())
    with pytest.raises(DatasetError, match="does not exist"):
        convert_dataset(tmp_path / "nothing", tmp_path / "out.zarr", ConvertOptions())


def test_real_human_pusht(shared_data, tmp_path):
    source = shared_data / "pusht_lerobot_v3"
    described = lerobot_v3.describe(source)
    assert (described.num_episodes, described.num_steps, described.fps) == (206, 25650, 10)
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(max_episodes=20))
    dataset = Dataset(tmp_path / "out.zarr")
    table = parquet.read_table(source / "data/chunk-000/file-000.parquet").slice(0, dataset.num_steps)
    assert set(table["episode_index"].to_pylist()) == set(range(20))
    assert (dataset.array("action") == np.array(table["action"].to_pylist(), np.float32)).all()
    assert (dataset.array("observation.state") == np.array(table["observation.state"].to_pylist(), np.float32)).all()
    assert dataset.episodes[0]["task"] == "Push the T-shaped block onto the T-shaped target."
