"""LeRobot v3.0: files, tables and statistics as the format's own reader expects them."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.export.lerobot.stats import Aggregate, ImageStats, of_rows, sampled_steps
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.format.codecs import PngCodec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter

pq = pytest.importorskip("pyarrow.parquet")
av = pytest.importorskip("av")
video = pytest.importorskip("robolearn.datasets.convert.export.lerobot.video")
tables = pytest.importorskip("robolearn.datasets.convert.export.lerobot.tables")

FRONT, GREY, DEPTH = "observation.images.front", "observation.images.grey", "observation.depth.front"
LENGTHS = (5, 1, 4)


@pytest.fixture(scope="module")
def exported(rich_dataset_to_read: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_dataset(rich_dataset_to_read, tmp_path_factory.mktemp("lerobot") / "out", "lerobot_v3").output


def read(path: Path) -> dict[str, list]:
    """All rows of a folder of parquet files."""
    found = [pq.read_table(file).to_pydict() for file in sorted(path.rglob("*.parquet"))]
    return {key: [value for table in found for value in table[key]] for key in found[0]}


def decoded(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.pts * frame.time_base for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


def test_low_dimensional_columns_are_exact(exported, rich_dataset_to_read):
    rows, dataset = read(exported / "data"), Dataset(rich_dataset_to_read)
    for name, feature in dataset.features.items():
        if feature.kind not in ("image", "depth"):
            found = np.array(rows[name], feature.dtype).reshape(-1, *feature.shape)
            assert np.array_equal(found, dataset.array(name)), name


def test_true_times_have_a_column_beside_the_nominal_ones(exported, rich_dataset_to_read):
    rows = read(exported / "data")
    assert np.array_equal(np.array(rows["robolearn.timestamp"]), Dataset(rich_dataset_to_read).timestamps)
    nominal = np.concatenate([np.arange(length) for length in LENGTHS]) / 10
    assert np.array_equal(np.array(rows["timestamp"], np.float32), nominal.astype(np.float32))


def test_counters_follow_the_format(exported):
    rows = read(exported / "data")
    assert rows["index"] == list(range(10))
    assert rows["episode_index"] == [0] * 5 + [1] + [2] * 4
    assert rows["frame_index"] == [*range(5), 0, *range(4)]
    assert rows["task_index"] == [0] * 5 + [1] + [0] * 4


def test_column_types_are_those_that_lerobot_declares(exported):
    schema = pq.read_schema(next((exported / "data").rglob("*.parquet")))
    assert str(schema.field("observation.state").type) == "fixed_size_list<element: float>[3]"
    assert str(schema.field("next.reward").type) == "float"
    assert str(schema.field("observation.closed").type) == "bool"
    assert str(schema.field(DEPTH).type) == "struct<bytes: binary, path: string>"
    hub = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert set(hub) == set(schema.names)
    assert hub[DEPTH] == {"_type": "Image"}
    assert hub["observation.keypoints"] == {"shape": [4, 2], "dtype": "float32", "_type": "Array2D"}


def test_tasks_are_the_index_of_a_pandas_frame(exported):
    table = pq.read_table(exported / "meta" / "tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "__index_level_0__": ["task 0", "task 1"]}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


def test_info_describes_every_column(exported):
    info = json.loads((exported / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 10, "arm")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 10, 2)
    assert info["splits"] == {"train": "0:3"}
    columns = set(pq.read_schema(next((exported / "data").rglob("*.parquet"))).names)
    videos = {name for name, entry in info["features"].items() if entry["dtype"] == "video"}
    assert videos == {FRONT} and set(info["features"]) == columns | videos
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"]}
    assert info["features"][DEPTH]["shape"] == [6, 8, 1]
    for template, key in (("data_path", ""), ("video_path", FRONT)):
        assert (exported / info[template].format(video_key=key, chunk_index=0, file_index=0)).is_file()


def test_episodes_say_where_everything_is(exported):
    rows = read(exported / "meta" / "episodes")
    assert rows["length"] == list(LENGTHS)
    assert rows["dataset_from_index"] == [0, 5, 6] and rows["dataset_to_index"] == [5, 6, 10]
    assert rows["tasks"] == [["task 0"], ["task 1"], ["task 0"]]
    assert rows[f"videos/{FRONT}/from_timestamp"] == [0.0, 0.5, 0.6]
    assert rows[f"videos/{FRONT}/to_timestamp"] == [0.5, 0.6, 1.0]
    for key in ("data", f"videos/{FRONT}", "meta/episodes"):
        assert rows[f"{key}/chunk_index"] == rows[f"{key}/file_index"] == [0, 0, 0]


@pytest.mark.parametrize(("codec", "floor_db"), [("av1", 28), ("h264", 32)])
def test_video_frames_are_where_their_times_say(rich_dataset_to_read, tmp_path, codec, floor_db):
    output = export_dataset(rich_dataset_to_read, tmp_path / "out", "lerobot_v3", ExportOptions(video=codec)).output
    times, frames = decoded(next((output / "videos" / FRONT).rglob("*.mp4")))
    assert times == [Fraction(k, 10) for k in range(10)]
    dataset = Dataset(rich_dataset_to_read)
    for step, frame in enumerate(frames):
        error = frame.astype(float) - dataset.image(FRONT, step)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > floor_db, step


def test_every_other_frame_is_a_key_frame(exported):
    with av.open(str(next((exported / "videos").rglob("*.mp4")))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.dts is not None]
    assert [packet.is_keyframe for packet in packets] == [
        True,
        False,
        True,
        False,
        True,
        True,
        True,
        False,
        True,
        False,
    ]


def test_images_that_no_video_holds_keep_their_bytes(exported, rich_dataset_to_read):
    rows, dataset = read(exported / "data"), Dataset(rich_dataset_to_read)
    for name in (GREY, DEPTH):
        assert [cell["bytes"] for cell in rows[name]] == [dataset.encoded(name, step) for step in range(10)]
    assert PngCodec().decode(rows[DEPTH][3]["bytes"]).dtype == np.uint16


def test_without_video_every_image_keeps_its_bytes(rich_dataset_to_read, tmp_path):
    report = export_dataset(rich_dataset_to_read, tmp_path / "out", "lerobot_v3", ExportOptions(video="none"))
    rows, dataset = read(report.output / "data"), Dataset(rich_dataset_to_read)
    assert [cell["bytes"] for cell in rows[FRONT]] == [dataset.encoded(FRONT, step) for step in range(10)]
    assert not (report.output / "videos").exists()
    assert json.loads((report.output / "meta" / "info.json").read_text())["video_path"] is None
    assert not any("lossy" in note for note in report.notes)


def test_notes_say_what_is_lost(rich_dataset_to_read, tmp_path):
    notes = export_dataset(rich_dataset_to_read, tmp_path / "out", "lerobot_v3").notes
    for part in ("simulator states", "av1 video, which is lossy", f"{DEPTH} is stored as single images"):
        assert any(part in note for note in notes), part


def test_statistics_of_rows_follow_their_definition():
    rows = np.random.default_rng(0).normal(size=(50, 4, 2)).astype(np.float32)
    found, flat = of_rows(rows), rows.reshape(-1, 2).astype(np.float64)
    assert found["count"].tolist() == [50]
    assert np.allclose(found["mean"], flat.mean(axis=0)) and np.allclose(found["std"], flat.std(axis=0))
    assert np.array_equal(found["min"], flat.min(axis=0)) and np.array_equal(found["max"], flat.max(axis=0))
    assert np.allclose(found["q10"], np.quantile(flat, 0.1, axis=0))
    assert of_rows(np.array([True, False, True, True]))["mean"].tolist() == [0.75]


def test_statistics_of_episodes_add_up_to_those_of_the_whole():
    rng = np.random.default_rng(1)
    episodes = [rng.normal(size=(length, 3)) + offset for offset, length in enumerate((7, 1, 30))]
    whole = Aggregate()
    for rows in episodes:
        whole.add(of_rows(rows))
    found, expected = whole.result(), np.concatenate(episodes)
    assert found["count"].tolist() == [38]
    assert np.allclose(found["mean"], expected.mean(axis=0)) and np.allclose(found["std"], expected.std(axis=0))
    assert np.array_equal(found["min"], expected.min(axis=0)) and np.array_equal(found["max"], expected.max(axis=0))
    medians = [np.median(rows, axis=0) * len(rows) for rows in episodes]
    assert np.allclose(found["q50"], np.sum(medians, axis=0) / 38)


def test_statistics_of_images_are_those_of_their_pixels():
    images = np.random.default_rng(2).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    stats = ImageStats(3, 256)
    for image in images:
        stats.add(image)
    found, pixels = stats.result(), images.reshape(-1, 3) / 255
    assert found["mean"].shape == (3, 1, 1) and found["count"].tolist() == [3]
    assert np.allclose(found["mean"].ravel(), pixels.mean(axis=0))
    assert np.allclose(found["std"].ravel(), pixels.std(axis=0))
    assert np.array_equal(found["q90"].ravel(), np.quantile(pixels, 0.9, axis=0, method="inverted_cdf"))


def test_depth_statistics_are_in_its_unit(exported, rich_dataset_to_read):
    rows, dataset = read(exported / "meta" / "episodes"), Dataset(rich_dataset_to_read)
    first = np.stack([dataset.image(DEPTH, step) for step in range(5)])
    assert rows[f"stats/{DEPTH}/max"][0] == [[[float(first.max())]]]


@pytest.mark.parametrize(("length", "count"), [(1, 1), (60, 60), (100, 100), (1000, 177), (20_000, 1681)])
def test_long_episodes_are_sampled(length, count):
    steps = sampled_steps(length)
    assert len(steps) == count and steps[0] == 0 and steps[-1] == length - 1


def test_statistics_cover_every_column_in_both_places(exported):
    info = json.loads((exported / "meta" / "info.json").read_text())
    whole = json.loads((exported / "meta" / "stats.json").read_text())
    rows = read(exported / "meta" / "episodes")
    names = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
    assert set(whole) == set(info["features"])
    for key in whole:
        assert set(whole[key]) == names and all(f"stats/{key}/{name}" in rows for name in names)
    assert np.shape(whole[FRONT]["mean"]) == (3, 1, 1) and max(np.ravel(whole[FRONT]["max"])) <= 1.0


def test_files_end_where_the_next_episode_would_not_fit(rich_dataset_to_read, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FILE_BYTES", 1)
    monkeypatch.setattr(video, "FILE_BYTES", 1)
    output = export_dataset(rich_dataset_to_read, tmp_path / "out", "lerobot_v3").output
    rows = read(output / "meta" / "episodes")
    for key in ("data", f"videos/{FRONT}", "meta/episodes"):
        assert rows[f"{key}/file_index"] == [0, 1, 2], key
    assert rows[f"videos/{FRONT}/from_timestamp"] == [0.0, 0.0, 0.0]
    for episode, length in enumerate(LENGTHS):
        name = f"chunk-000/file-{episode:03d}"
        assert pq.read_metadata(output / "data" / f"{name}.parquet").num_rows == length
        assert len(decoded(output / "videos" / FRONT / f"{name}.mp4")[1]) == length
    assert tables.place(1000) == (1, 0) and tables.file_name(2003, ".mp4") == "chunk-002/file-003.mp4"


def test_a_video_file_stays_short_enough_for_float32_times(tmp_path):
    part = tmp_path / "part.mp4"
    part.write_bytes(b"x")
    places = video.plan([video.VideoPart(part, 400)] * 6 + [video.VideoPart(part, 3000)] * 2, fps=1.0)
    assert [(place.file, place.first) for place in places] == [
        (0, 0), (0, 400), (1, 0), (1, 400), (2, 0), (2, 400), (3, 0), (4, 0),
    ]  # fmt: skip
    # two neighbouring times in a file differ from their float32 by less than LeRobot's tolerance
    times = np.arange(0, video.FILE_SECONDS, 1 / 30)
    assert np.abs(times - times.astype(np.float32)).max() < 1e-4 / 2


def test_a_video_part_with_missing_frames_is_named(tmp_path):
    frames = [np.zeros((16, 16, 3), np.uint8)] * 3
    video.encode(tmp_path / "part.mp4", frames, 10.0, "h264", None)
    with pytest.raises(DatasetError, match=r"part\.mp4 holds 3 frames, expected 4"):
        video.join([video.VideoPart(tmp_path / "part.mp4", 4)], tmp_path / "joined.mp4", 10.0)


@pytest.mark.parametrize("fps", [30.0, 29.97, 12.5, 1000 / 33])
def test_rates_that_are_no_whole_number_keep_frames_on_their_times(tmp_path, fps):
    frames = [np.full((16, 16, 3), 20 * k, np.uint8) for k in range(6)]
    for episode in range(2):
        video.encode(tmp_path / f"{episode}.mp4", frames, fps, "h264", 10)
    video.join([video.VideoPart(tmp_path / f"{k}.mp4", 6) for k in range(2)], tmp_path / "both.mp4", fps)
    times, pictures = decoded(tmp_path / "both.mp4")
    assert np.allclose([float(time) for time in times], np.arange(12) / fps, atol=5e-5)
    assert [round(float(picture.mean()) / 20) for picture in pictures] == [*range(6), *range(6)]


def test_arrays_of_too_many_axes_are_refused(tmp_path):
    many = features([Feature("action", (1, 1, 2, 1, 1, 1), kind="action")])
    with DatasetWriter.create(tmp_path / "many.zarr", many, fps=10) as writer:
        writer.start_episode()
        writer.append(0.0, {"action": np.zeros((1, 1, 2, 1, 1, 1), np.float32)})
        writer.commit({})
    with pytest.raises(FeatureError, match="up to 5 axes; 'action' has more"):
        export_dataset(tmp_path / "many.zarr", tmp_path / "out", "lerobot_v3")


def test_missing_task_texts_become_empty_ones_with_a_note(tmp_path):
    with DatasetWriter.create(
        tmp_path / "a.zarr", features([Feature("action", (2,), kind="action")]), fps=10
    ) as writer:
        writer.start_episode()
        writer.append(0.0, {"action": np.zeros(2, np.float32)})
        writer.commit({})
    report = export_dataset(tmp_path / "a.zarr", tmp_path / "out", "lerobot_v3")
    assert any("1 episodes have no task text" in note for note in report.notes)
    assert read(report.output / "meta" / "episodes")["tasks"] == [[""]]


def test_episodes_left_out_leave_no_gap(rich_dataset, tmp_path):
    set_mask(rich_dataset, "quarantine", [0])
    output = export_dataset(rich_dataset, tmp_path / "out", "lerobot_v3").output
    rows = read(output / "data")
    assert rows["episode_index"] == [0, 1, 1, 1, 1] and rows["index"] == list(range(5))
    assert rows["robolearn.timestamp"] == Dataset(rich_dataset).timestamps[5:].tolist()
    assert len(decoded(next((output / "videos").rglob("*.mp4")))[1]) == 5
