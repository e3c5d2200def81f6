"""LeRobot v2.1: files, tables and statistics as the format's own reader expects them."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.convert.lerobot import v2 as importer
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

pq = pytest.importorskip("pyarrow.parquet")
av = pytest.importorskip("av")
exporter = pytest.importorskip("robolearn.datasets.convert.export.lerobot.v2")

FRONT, GREY, DEPTH = "observation.images.front", "observation.images.grey", "observation.depth.front"
LENGTHS = (5, 1, 4)


@pytest.fixture(scope="module")
def exported(rich_dataset_to_read: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ExportOptions(video="h264")
    return export_dataset(rich_dataset_to_read, tmp_path_factory.mktemp("v2") / "out", "lerobot_v2", options).output


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().split("\n") if line]


def test_every_episode_has_a_table_and_a_video_where_the_templates_say(exported):
    info = json.loads((exported / "meta" / "info.json").read_text())
    for episode, length in enumerate(LENGTHS):
        fields = {"episode_chunk": 0, "episode_index": episode}
        table = pq.read_table(exported / info["data_path"].format(**fields)).to_pydict()
        assert table["episode_index"] == [episode] * length and table["frame_index"] == list(range(length))
        assert table["index"] == list(range(sum(LENGTHS[:episode]), sum(LENGTHS[: episode + 1])))
        with av.open(str(exported / info["video_path"].format(video_key=FRONT, **fields))) as container:
            times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        assert times == [Fraction(k, 10) for k in range(length)]
    assert len(list(exported.rglob("*.parquet"))) == len(list(exported.rglob("*.mp4"))) == 3


def test_info_counts_what_is_there(exported):
    info = json.loads((exported / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["chunks_size"]) == ("v2.1", 10, 1000)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 10, 2)
    assert (info["total_videos"], info["total_chunks"], info["splits"]) == (3, 1, {"train": "0:3"})
    columns = set(pq.read_schema(next(exported.rglob("*.parquet"))).names)
    assert set(info["features"]) == columns | {FRONT}


def test_episodes_and_tasks_are_lines_of_json(exported):
    assert lines(exported / "meta" / "tasks.jsonl") == [
        {"task_index": 0, "task": "task 0"},
        {"task_index": 1, "task": "task 1"},
    ]
    assert lines(exported / "meta" / "episodes.jsonl") == [
        {"episode_index": k, "tasks": [f"task {k % 2}"], "length": length} for k, length in enumerate(LENGTHS)
    ]


def test_statistics_are_those_of_each_episode(exported, rich_dataset_to_read):
    found, dataset = lines(exported / "meta" / "episodes_stats.jsonl"), Dataset(rich_dataset_to_read)
    info = json.loads((exported / "meta" / "info.json").read_text())
    for episode, entry in enumerate(found):
        assert entry["episode_index"] == episode and set(entry["stats"]) == set(info["features"])
        rows = dataset.array("observation.force")[dataset.episode_slice(episode)]
        stats = entry["stats"]["observation.force"]
        assert set(stats) == {"min", "max", "mean", "std", "count"} and stats["count"] == [LENGTHS[episode]]
        assert np.allclose(stats["mean"], rows.mean(axis=0)) and np.allclose(stats["std"], rows.std(axis=0))
        assert np.array_equal(stats["max"], rows.max(axis=0)) and np.array_equal(stats["min"], rows.min(axis=0))


def test_statistics_of_what_is_called_an_image_have_three_channels(exported):
    stats = lines(exported / "meta" / "episodes_stats.jsonl")[0]["stats"]
    assert np.shape(stats[GREY]["mean"]) == np.shape(stats[FRONT]["mean"]) == (3, 1, 1)
    assert len(set(np.ravel(stats[GREY]["mean"]))) == 1
    assert np.shape(stats[DEPTH]["mean"]) == (1, 1, 1)


def test_numbers_that_are_called_an_image_are_refused_by_name(tmp_path):
    described = features([Feature("action", (1,), kind="action"), Feature("observation.image_score", (2,))])
    with DatasetWriter.create(tmp_path / "a.zarr", described, fps=10, durable=False) as writer:
        values = {name: np.zeros((1, *f.shape), f.dtype) for name, f in described.items()}
        writer.write_episode(EpisodeData(np.zeros(1), values))
    with pytest.raises(FeatureError, match=r"takes 'observation.image_score' for a picture .* --rename"):
        export_dataset(tmp_path / "a.zarr", tmp_path / "out", "lerobot_v2")
    rename = {"observation.image_score": "observation.score"}
    export_dataset(tmp_path / "a.zarr", tmp_path / "out", "lerobot_v2", ExportOptions(rename=rename))


def test_a_chunk_holds_so_many_episodes_and_the_next_one_the_rest(rich_dataset_to_read, tmp_path, monkeypatch):
    assert exporter.CHUNK_EPISODES == 1000
    monkeypatch.setattr(exporter, "CHUNK_EPISODES", 2)
    output = export_dataset(rich_dataset_to_read, tmp_path / "out", "lerobot_v2", ExportOptions(video="h264")).output
    for folder, suffix in (("data", ".parquet"), ("videos", ".mp4")):
        found = sorted(str(path.relative_to(output / folder)) for path in (output / folder).rglob(f"*{suffix}"))
        assert [(name.split("/")[0], name[-6 - len(suffix) : -len(suffix)]) for name in found] == [
            ("chunk-000", "000000"),
            ("chunk-000", "000001"),
            ("chunk-001", "000002"),
        ]
    assert json.loads((output / "meta" / "info.json").read_text())["total_chunks"] == 2


def test_an_episode_that_is_too_long_for_float32_times_is_said(tmp_path):
    described = features([Feature("action", (1,), kind="action")])
    with DatasetWriter.create(tmp_path / "a.zarr", described, fps=1, durable=False) as writer:
        for length in (3, 1001):
            rows = {"action": np.zeros((length, 1), np.float32)}
            writer.write_episode(EpisodeData(np.arange(length, dtype=float), rows))
    notes = export_dataset(tmp_path / "a.zarr", tmp_path / "out", "lerobot_v2").notes
    assert any("1 episodes are longer than 1000 s (the first is 1)" in note for note in notes)


def test_our_importer_knows_it_for_what_it_is(exported, tmp_path):
    assert importer.detect(exported)
    report = convert_dataset(exported, tmp_path / "back.zarr", ConvertOptions())
    assert report.source_format == "lerobot_v2" and report.num_steps == 10
    assert Dataset(tmp_path / "back.zarr").attributes["metadata"]["provenance"]["format_version"] == "v2.1"
