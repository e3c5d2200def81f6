"""LeRobot datasets with images: which frame belongs to which step, in both versions, and damaged or missing files.

Frame k of the synthetic videos is a grey of 4 k + 10, so a frame says its own number after any codec.
"""

import json
import shutil

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.lerobot import v2 as lerobot_v2
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.convert.video import Video
from robolearn.datasets.read.reader import Dataset

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
from pyarrow import parquet  # noqa: E402

FPS, LENGTHS = 20, (6, 9, 7)
TOP = "observation.images.top"
COUNTERS = {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in
            (("timestamp", "float32"), ("episode_index", "int64"), ("task_index", "int64"))}  # fmt: skip


def write_video(path, numbers, codec="libx264", fps=FPS, gop=2, pix_fmt="yuv420p", first_pts=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={"crf": "20", "g": str(gop)})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for k, number in enumerate(numbers):
            image = np.full((48, 64, 3), 4 * number + 10, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = first_pts + k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def numbers_of(dataset, feature=TOP):
    """The number that each stored frame says it has."""
    return [round((dataset.image(feature, k).mean() - 10) / 4) for k in range(dataset.num_steps)]


def info(version, **features):
    described = {
        "action": {"dtype": "float32", "shape": [2], "names": [["pan", "lift"]]},
        TOP: {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"],
              "info": {"video.pix_fmt": "yuv420p"}},
        **COUNTERS, **features,
    }  # fmt: skip
    return {
        "codebase_version": version, "robot_type": "so100", "fps": FPS, "chunks_size": 1000,
        "total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS), "features": described,
    }  # fmt: skip


def table_of(episode, length, **columns):
    count = np.arange(length, dtype=np.float32)
    pairs = np.stack([count + 100 * episode, -count], 1).tolist()
    return pyarrow.table(
        {
            "action": pyarrow.array(pairs, pyarrow.list_(pyarrow.float32())),
            "timestamp": pyarrow.array(count / FPS, pyarrow.float32()),
            "episode_index": np.full(length, episode),
            "index": sum(LENGTHS[:episode]) + np.arange(length),
            "task_index": np.zeros(length, np.int64),
            **columns,
        }
    )  # fmt: skip


@pytest.fixture
def version2(tmp_path):
    """Three episodes, one video each; the frames of episode e begin at number 10 e."""
    root = tmp_path / "v2"
    (root / "meta").mkdir(parents=True)
    document = info("v2.1") | {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta/info.json").write_text(json.dumps(document))
    lines = [json.dumps({"episode_index": e, "length": n, "tasks": ["tidy up"]}) for e, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "tidy up"}))
    (root / "data/chunk-000").mkdir(parents=True)
    for e, length in enumerate(LENGTHS):
        parquet.write_table(table_of(e, length), root / f"data/chunk-000/episode_{e:06d}.parquet")
        write_video(root / f"videos/chunk-000/{TOP}/episode_{e:06d}.mp4", range(10 * e, 10 * e + length))
    return root


@pytest.fixture
def version3(tmp_path):
    """Three episodes in one parquet file and two videos; frames are numbered through."""
    root = tmp_path / "v3"
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    document = info("v3.0") | {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    (root / "meta/info.json").write_text(json.dumps(document))
    parquet.write_table(pyarrow.table({"task_index": [0], "task": ["tidy up"]}), root / "meta/tasks.parquet")
    (root / "data/chunk-000").mkdir(parents=True)
    rows = pyarrow.concat_tables([table_of(e, n) for e, n in enumerate(LENGTHS)])
    parquet.write_table(rows, root / "data/chunk-000/file-000.parquet", row_group_size=4)
    starts = [0.0, LENGTHS[0] / FPS, 0.0]
    episodes = {
        "episode_index": [0, 1, 2], "length": LENGTHS,
        f"videos/{TOP}/chunk_index": [0, 0, 0], f"videos/{TOP}/file_index": [0, 0, 1],
        f"videos/{TOP}/from_timestamp": starts,
        f"videos/{TOP}/to_timestamp": [s + n / FPS for s, n in zip(starts, LENGTHS, strict=True)],
    }  # fmt: skip
    parquet.write_table(pyarrow.table(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    write_video(root / f"videos/{TOP}/chunk-000/file-000.mp4", range(15), gop=12)
    write_video(root / f"videos/{TOP}/chunk-000/file-001.mp4", range(15, 22))
    return root


def test_each_step_of_version_2_gets_its_frame(version2, tmp_path):
    assert detect_format(version2) == "lerobot_v2"
    report = convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert (report.num_episodes, report.notes, report.skipped) == (3, (), ())
    assert numbers_of(dataset) == [*range(6), *range(10, 19), *range(20, 27)]
    assert dataset.array("action")[6:15].tolist() == [[100 + k, -k] for k in range(9)]
    assert dataset.features["action"].names == ("pan", "lift")
    assert dataset.timestamps[6:15].tolist() == np.arange(9, dtype=np.float32).__truediv__(FPS).astype(float).tolist()
    assert [e["task"] for e in dataset.episodes] == ["tidy up"] * 3


@pytest.mark.slow
def test_each_step_of_version_3_gets_its_frame_from_files_of_many_episodes(version3, tmp_path):
    assert detect_format(version3) == "lerobot_v3"
    convert_dataset(version3, tmp_path / "out.zarr", ConvertOptions(workers=2))
    dataset = Dataset(tmp_path / "out.zarr")
    assert numbers_of(dataset) == list(range(22))
    assert dataset.episode_ends.tolist() == [6, 15, 22]


def test_av1_is_decoded(version2, tmp_path):
    file = version2 / f"videos/chunk-000/{TOP}/episode_000001.mp4"
    try:
        write_video(file, range(10, 19), codec="libsvtav1")
    except Exception as error:
        pytest.skip(f"this build of FFmpeg cannot write AV1: {error}")
    convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())
    assert numbers_of(Dataset(tmp_path / "out.zarr"))[6:15] == list(range(10, 19))


def test_video_becomes_jpeg_of_the_same_colour_resolution(version2, tmp_path):
    convert_dataset(version2, tmp_path / "auto.zarr", ConvertOptions())
    convert_dataset(version2, tmp_path / "full.zarr", ConvertOptions(jpeg_subsampling="444", jpeg_quality=95))
    configs = [Dataset(tmp_path / f"{name}.zarr").codec(TOP).get_config() for name in ("auto", "full")]
    assert [(c["subsampling"], c["level"]) for c in configs] == [("420", 90), ("444", 95)]


def test_a_video_with_a_dropped_frame_is_matched_by_time(version2, tmp_path):
    """The video lacks frame 4; a step there has no frame within half a frame's time: the episode is left out."""
    file = version2 / f"videos/chunk-000/{TOP}/episode_000001.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in (0, 1, 2, 3, 5, 6, 7, 8):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * (10 + k) + 10, np.uint8), format="rgb24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    report = convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 2
    assert "episode 1:" in report.skipped[0]
    assert "no frame for step 4 at 0.200 s" in report.skipped[0]


def test_a_longer_video_gives_the_frames_of_the_steps(version2, tmp_path):
    write_video(version2 / f"videos/chunk-000/{TOP}/episode_000000.mp4", range(9))
    convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions(max_episodes=1))
    assert numbers_of(Dataset(tmp_path / "out.zarr")) == list(range(6))


def test_times_of_a_real_clock_are_matched_by_number(version2, tmp_path):
    """People store measured times that are not k / fps, while the video counts frames."""
    times = np.cumsum(np.full(6, 0.061, np.float32))
    file = version2 / "data/chunk-000/episode_000000.parquet"
    table = table_of(0, 6)
    place = table.column_names.index("timestamp")
    parquet.write_table(table.set_column(place, "timestamp", pyarrow.array(times)), file)
    report = convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions(max_episodes=1))
    dataset = Dataset(tmp_path / "out.zarr")
    assert numbers_of(dataset) == list(range(6))
    assert dataset.timestamps.tolist() == (times.astype(float) - float(times[0])).tolist()
    assert report.notes == (
        "timestamp does not begin at 0: times are counted from the first step of the episode (episode 0)",
        "by their times steps are 0.061 s apart, by the rate of the source (20 Hz) 0.05 s (episode 0)",
    )


def truncate(file):
    file.write_bytes(file.read_bytes()[:-200])


@pytest.mark.parametrize("damage", [truncate, lambda file: file.write_bytes(b"not a video")])
def test_an_episode_with_a_damaged_video_is_left_out_and_named(version2, tmp_path, damage):
    damage(version2 / f"videos/chunk-000/{TOP}/episode_000001.mp4")
    report = convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 2
    assert "episode 1:" in report.skipped[0]
    assert "episode_000001.mp4" in report.skipped[0]
    assert "\n" not in report.skipped[0]
    assert [e["source_episode"] for e in Dataset(tmp_path / "out.zarr").episodes] == [0, 2]


def test_flipped_bytes_in_a_video_never_get_through_unnoticed_as_a_crash(version2, tmp_path):
    """Whatever the decoder makes of them: a whole episode, or one that is named; no traceback."""
    file = version2 / f"videos/chunk-000/{TOP}/episode_000001.mp4"
    content = file.read_bytes()
    rng = np.random.default_rng(1)
    for attempt in range(6):
        damaged = bytearray(content)
        for place in rng.integers(40, len(content), 20):
            damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        report = convert_dataset(version2, tmp_path / f"{attempt}.zarr", ConvertOptions())
        assert report.num_episodes + len(report.skipped) == 3


def test_an_incomplete_download_of_version_2_goes_as_far_as_it_goes(version2, tmp_path):
    (version2 / "data/chunk-000/episode_000000.parquet").unlink()
    (version2 / f"videos/chunk-000/{TOP}/episode_000002.mp4").unlink()
    report = convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 1
    assert report.notes == (
        "1 of the 3 episodes listed have no parquet file and are left out: 0",
        f"1 episodes have no video of {TOP} and are left out: 2",
    )


def test_an_incomplete_download_of_version_3_goes_as_far_as_it_goes(version3, tmp_path):
    (version3 / f"videos/{TOP}/chunk-000/file-001.mp4").unlink()
    report = convert_dataset(version3, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 2
    assert report.notes == ("of 1 episodes the video files are not there, they are left out: 2",)


@pytest.mark.parametrize("version", ["version2", "version3"])
def test_a_camera_of_which_nothing_is_there_is_left_out(version, request, tmp_path):
    source = request.getfixturevalue(version)
    shutil.rmtree(source / "videos")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 3
    assert report.notes == (f"{TOP} (video) is not carried over: its files are not there",)
    assert list(Dataset(tmp_path / "out.zarr").features) == ["action"]


def test_nothing_left_to_read_is_an_error(version2, tmp_path):
    shutil.rmtree(version2 / "data")
    with pytest.raises(DatasetError, match=r"v2 holds no whole episode: 3 of the 3 episodes listed have no parquet"):
        convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())


def encoded(image, kind):
    import cv2

    return cv2.imencode(kind, image)[1].tobytes()


def test_images_in_parquet_keep_their_bytes_where_the_codec_allows(version3, tmp_path):
    rng = np.random.default_rng(0)
    depth = rng.integers(0, 5000, (22, 24, 32)).astype(np.uint16)
    jpegs = [encoded(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8), ".jpg") for _ in range(22)]
    pngs = [encoded(image, ".png") for image in depth]
    document = json.loads((version3 / "meta/info.json").read_text())
    document["features"] |= {
        "observation.images.wrist": {"dtype": "image", "shape": [3, 24, 32], "names": ["channels", "height", "width"]},
        "observation.images.range": {"dtype": "image", "shape": [24, 32, 1], "names": ["height", "width", "channels"],
                                     "info": {"is_depth_map": True}},
    }  # fmt: skip
    (version3 / "meta/info.json").write_text(json.dumps(document))
    file = version3 / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file)
    cells = {"observation.images.wrist": jpegs, "observation.images.range": pngs}
    for key, frames in cells.items():
        column = pyarrow.array([{"bytes": data, "path": None} for data in frames])
        table = table.append_column(key, column)
    parquet.write_table(table, file)
    convert_dataset(version3, tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.features["observation.images.wrist"].shape == (24, 32, 3)
    assert [dataset.encoded("observation.images.wrist", k) for k in range(22)] == jpegs
    assert dataset.features["observation.depth.range"].kind == "depth"
    assert all((dataset.image("observation.depth.range", k) == depth[k]).all() for k in range(22))


def test_depth_video_keeps_its_millimetres(version2, tmp_path):
    depth = (np.arange(48 * 64).reshape(48, 64) % 4000).astype(np.uint16)
    key = "observation.images.range"
    document = json.loads((version2 / "meta/info.json").read_text())
    document["features"][key] = {"dtype": "video", "shape": [48, 64, 1], "names": ["height", "width", "channels"],
                                 "info": {"video.is_depth_map": True, "video.pix_fmt": "gray12le"}}  # fmt: skip
    (version2 / "meta/info.json").write_text(json.dumps(document))
    file = version2 / f"videos/chunk-000/{key}/episode_000000.mp4"
    file.parent.mkdir()
    try:
        with av.open(str(file), "w") as container:
            lossless = {"x265-params": "lossless=1:log-level=none"}
            stream = container.add_stream("libx265", rate=FPS, options=lossless)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "gray12le"
            for k in range(LENGTHS[0]):
                frame = av.VideoFrame.from_ndarray(depth + k, format="gray12le")
                frame.pts = k
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this build of FFmpeg cannot write 12 bit grey: {error}")
    convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.num_episodes == 1
    assert all((dataset.image("observation.depth.range", k) == depth + k).all() for k in range(LENGTHS[0]))


def test_tasks_that_change_within_an_episode_are_kept(version2, tmp_path):
    lines = [json.dumps({"task_index": k, "task": text}) for k, text in enumerate(("grasp", "place"))]
    (version2 / "meta/tasks.jsonl").write_text("\n".join(lines))
    table = table_of(0, 6)
    place = table.column_names.index("task_index")
    table = table.set_column(place, "task_index", pyarrow.array([0, 0, 0, 1, 1, 1]))
    parquet.write_table(table, version2 / "data/chunk-000/episode_000000.parquet")
    convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions(max_episodes=1))
    episode = Dataset(tmp_path / "out.zarr").episodes[0]
    assert (episode["task"], episode["tasks"]) == ("grasp", [[0, "grasp"], [3, "place"]])


@pytest.mark.parametrize("path", ["../../secret/{episode_index}.parquet", "/etc/passwd", "data/{nothing}.parquet"])
def test_a_path_that_leads_out_of_the_dataset_is_refused(version2, tmp_path, path):
    document = json.loads((version2 / "meta/info.json").read_text())
    (version2 / "meta/info.json").write_text(json.dumps(document | {"data_path": path}))
    with pytest.raises(DatasetError, match="data_path"):
        convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions())


def test_a_version_is_not_read_as_another(version2, tmp_path):
    with pytest.raises(DatasetError, match="is in lerobot_v2, not in lerobot_v3: leave out --from"):
        convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions(), "lerobot_v3")


def test_a_rate_that_is_stored_cannot_be_given(version2, tmp_path):
    with pytest.raises(ConfigError, match="stores its rate, 20 Hz: leave out --fps"):
        convert_dataset(version2, tmp_path / "out.zarr", ConvertOptions(fps=10))


def test_frames_are_chosen_by_the_nearest_time(tmp_path):
    write_video(tmp_path / "a.mp4", range(5))
    video = Video(tmp_path / "a.mp4")
    times = np.array([0.0, 0.06, 0.09, 0.2])
    assert video.frames_of(times, 0.0, None, FPS).tolist() == [0, 1, 2, 4]
    assert video.frames_of(times[:3] + 7.0, 0.05, None, FPS).tolist() == [1, 2, 3], "from where they count is no matter"
    with pytest.raises(DatasetError, match=r"no frame for step 1 at 0\.240 s \(its 5 frames are from 0\.000 to 0\.200"):
        video.frames_of(np.array([0.0, 0.24]), 0.0, None, FPS)
    repeats = [(count, round((image.mean() - 10) / 4)) for count, image in video.decode(np.array([1, 1, 3]))]
    assert repeats == [(2, 1), (1, 3)]


@pytest.mark.slow
def test_the_real_incomplete_download(shared_data, tmp_path):
    source = shared_data / "g1_lerobot_v21"
    described = lerobot_v2.describe(source)
    assert (described.num_episodes, described.num_steps, described.fps) == (10, 2725, 30)
    assert described.tasks == ("Pick up the yellow bottle on the table.",)
    report = convert_dataset(source, tmp_path / "g1.zarr", ConvertOptions(max_episodes=2, workers=None))
    dataset = Dataset(tmp_path / "g1.zarr")
    assert "90 of the 100 episodes listed have no parquet file" in report.notes[0]
    assert [e["source_episode"] for e in dataset.episodes] == [10, 28]
    rows = parquet.read_table(source / "data/chunk-000/episode_000028.parquet")
    steps = dataset.episode_slice(1)
    assert dataset.array("action")[steps].tolist() == np.array(rows["action"].to_pylist(), np.float32).tolist()
    assert dataset.timestamps[steps].tolist() == rows["timestamp"].to_numpy().astype(float).tolist()
    with av.open(str(source / "videos/chunk-000/observation.images.cam_high/episode_000028.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for _, f in zip(range(40), container.decode(video=0), strict=False)]
    for step in (0, 7, 39):
        stored = dataset.image("observation.images.cam_high", steps.start + step)
        errors = [np.mean((stored.astype(float) - frame) ** 2) for frame in frames]
        assert int(np.argmin(errors)) == step
        assert 10 * np.log10(255**2 / errors[step]) > 38
