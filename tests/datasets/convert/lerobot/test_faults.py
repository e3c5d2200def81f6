"""LeRobot datasets as people write them: what `info.json` or the times say is not what is there.

Frame k of the synthetic videos is a grey of 4 k + 10, so a frame says its own number after any codec.
"""

import json
import struct
import zlib

import cv2
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.read.reader import Dataset

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
from pyarrow import parquet  # noqa: E402

FPS, LENGTHS, SIZE = 10, (6, 6, 7), 48
STARTS = (0, 6, 12)
CAM = "observation.images.cam"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"  # noqa: E501


def write_video(path, numbers, rate=FPS, pix_fmt="yuv420p") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "g": "4"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, pix_fmt
        for number in numbers:
            image = np.full((SIZE, SIZE, 3), 4 * number + 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def numbers_of(dataset):
    """The number that each stored frame says it has."""
    return [round((dataset.image(CAM, k).mean() - 10) / 4) for k in range(dataset.num_steps)]


def write_info(root, version, kind, shape=(SIZE, SIZE, 3), **changes) -> None:
    (root / "meta").mkdir(parents=True, exist_ok=True)
    camera = {"dtype": kind, "shape": list(shape), "names": ["height", "width", "channels"],
              "info": {"video.pix_fmt": "yuv420p"}}  # fmt: skip
    info = {
        "codebase_version": version, "fps": FPS, "total_episodes": 3, "total_frames": sum(LENGTHS),
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "action": {"dtype": "float32", "shape": [2]}, "timestamp": {"dtype": "float32", "shape": [1]}, CAM: camera,
            "index": {"dtype": "int64", "shape": [1]}, "episode_index": {"dtype": "int64", "shape": [1]},
        },
    }  # fmt: skip
    (root / "meta/info.json").write_text(json.dumps(info | changes))


def rows(episode, times=None, action=None, **columns):
    length = LENGTHS[episode]
    pairs = np.stack([STARTS[episode] + np.arange(length), -np.arange(length)], 1) + 0.1
    times = np.arange(length) / FPS if times is None else times
    return pyarrow.table({
        "action": pyarrow.array(pairs.tolist(), pyarrow.list_(action or pyarrow.float32())),
        "timestamp": pyarrow.array(times, pyarrow.float32()),
        "index": STARTS[episode] + np.arange(length), "episode_index": np.full(length, episode), **columns,
    })  # fmt: skip


def write_v2(root, columns=None, **info):
    """Three episodes; with a video each, or with what `columns(episode)` adds."""
    write_info(root, "v2.1", "video" if columns is None or CAM not in columns(0) else "image", **info)
    lines = [{"episode_index": e, "length": n, "tasks": [f"task {e}"]} for e, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (root / "data/chunk-000").mkdir(parents=True)
    for e, length in enumerate(LENGTHS):
        more = columns(e) if columns else {}
        parquet.write_table(rows(e, **more), root / f"data/chunk-000/episode_{e:06d}.parquet")
        if CAM not in more:
            write_video(root / f"videos/{CAM}/episode_{e:06d}.mp4", range(STARTS[e], STARTS[e] + length))
    return root


def write_v3(root, times=None, starts=STARTS, stops=None, frames=19):
    """Three episodes in one file of rows and one video; `times(episode)` are the timestamps."""
    write_info(root, "v3.0", "video", data_path="data/file-{file_index:03d}.parquet",
               video_path="videos/{video_key}/file-{file_index:03d}.mp4")  # fmt: skip
    (root / "data").mkdir()
    table = pyarrow.concat_tables([rows(e, times(e) if times else None) for e in range(3)])
    parquet.write_table(table, root / "data/file-000.parquet", row_group_size=5)
    stops = [s + n for s, n in zip(starts, LENGTHS, strict=True)] if stops is None else stops
    episodes = {
        "episode_index": [0, 1, 2], "length": LENGTHS, "dataset_from_index": STARTS, "tasks": [["a"], ["b"], ["c"]],
        f"videos/{CAM}/chunk_index": [0] * 3, f"videos/{CAM}/file_index": [0] * 3,
        f"videos/{CAM}/from_timestamp": [s / FPS for s in starts],
        f"videos/{CAM}/to_timestamp": [None if s is None else s / FPS for s in stops],
    }  # fmt: skip
    (root / "meta/episodes").mkdir()
    parquet.write_table(pyarrow.table(episodes), root / "meta/episodes/file-000.parquet")
    write_video(root / f"videos/{CAM}/file-000.mp4", range(frames))
    return root


def convert(source, tmp_path, **options):
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(**options))
    return report, Dataset(tmp_path / "out.zarr")


# times


@pytest.mark.parametrize("begin", [lambda e: STARTS[e] / FPS, lambda e: 1.2, lambda e: -3.0, lambda e: 1.75e4])
@pytest.mark.parametrize("bounded", [True, False])
def test_of_version_3_times_count_from_the_first_step_wherever_they_begin(tmp_path, begin, bounded):
    stops = None if bounded else [None] * 3
    source = write_v3(tmp_path / "v3", lambda e: begin(e) + np.arange(LENGTHS[e]) / FPS, stops=stops)
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(sum(LENGTHS)))
    assert report.skipped == ()
    for episode in range(3):
        found = dataset.timestamps[dataset.episode_slice(episode)]
        assert found[0] == 0.0
        assert found == pytest.approx(np.arange(LENGTHS[episode]) / FPS, abs=2e-3)
    assert any("timestamp does not begin at 0" in note for note in report.notes)


def test_of_version_2_times_count_from_the_first_step(tmp_path):
    source = write_v2(tmp_path / "v2", lambda e: {"times": 1.2 + np.arange(LENGTHS[e]) / FPS})
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(sum(LENGTHS)))
    assert dataset.timestamps[:6] == pytest.approx(np.arange(6) / FPS, abs=1e-6)
    assert report.notes == (
        "timestamp does not begin at 0: times are counted from the first step of the episode (episodes 0-2)",
    )


def test_frames_beyond_the_end_of_an_episode_are_not_taken(tmp_path):
    """Episode 0 ends after 5 of its 6 steps: what comes then is episode 1's first frame, and not its own."""
    source = write_v3(tmp_path / "v3", starts=(0, 5, 11), stops=(5, 11, 18), frames=18)
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == [*range(5), *range(5, 11), *range(11, 18)]
    assert dataset.episode_ends.tolist() == [5, 11, 18]
    assert any("file-000.mp4 has no frame for step 5, left out (episode 0)" in note for note in report.notes)


def test_frames_that_two_episodes_claim_are_refused_by_name(tmp_path):
    source = write_v3(tmp_path / "v3", starts=(0, 0, 12), stops=(6, 6, 19))
    report, dataset = convert(source, tmp_path)
    assert [episode["source_episode"] for episode in dataset.episodes] == [2]
    assert numbers_of(dataset) == list(range(12, 19))
    assert len(report.skipped) == 2
    assert "episode 0: its frames and those of episode 1 overlap in" in report.skipped[0]
    assert "episode 1: its frames and those of episode 0 overlap in" in report.skipped[1]


def test_from_timestamps_that_are_one_frame_off_are_caught(tmp_path):
    """No overlap, and a frame for every step; but the lengths say that the frames belong elsewhere."""
    source = write_v3(tmp_path / "v3", starts=(0, 7, 12), stops=(6, 12, 19))
    report, _ = convert(source, tmp_path)
    assert len(report.skipped) == 1
    assert "episode 1" in report.skipped[0]


def test_where_it_cannot_be_told_which_frames_are_meant_nothing_is_stored(tmp_path):
    """The first steps were cut away, the video was not."""
    source = write_v2(tmp_path / "v2", lambda e: {"times": 0.3 + np.arange(LENGTHS[e]) / FPS})
    write_video(source / f"videos/{CAM}/episode_000001.mp4", range(10))
    report, _ = convert(source, tmp_path)
    assert report.num_episodes == 2
    assert "has 10 frames for 6 steps, and timestamp begins at 0.3 s: which frame belongs to which" in report.skipped[0]


# short videos


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_video_that_ends_early_costs_the_last_steps_and_it_is_said(tmp_path, version):
    if version == "v2":
        source = write_v2(tmp_path / "v2")
        write_video(source / f"videos/{CAM}/episode_000002.mp4", range(12, 18))
        file = f"videos/{CAM}/episode_000002.mp4"
    else:
        source = write_v3(tmp_path / "v3", frames=sum(LENGTHS) - 1)
        file = f"videos/{CAM}/file-000.mp4"
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(18))
    assert dataset.array("action")[-1].tolist() == np.array([17.1, -4.9], np.float32).tolist()
    assert report.notes == (f"{source / file} has no frame for step 6, left out (episode 2)",)
    assert dataset.episodes[2]["import_notes"] == [f"{source / file} has no frame for step 6, left out"]


def test_what_was_cut_is_remembered_when_an_interrupted_import_goes_on(tmp_path):
    source = write_v2(tmp_path / "v2")
    write_video(source / f"videos/{CAM}/episode_000000.mp4", range(5))
    write_video(source / f"videos/{CAM}/episode_000002.mp4", range(12, 18))

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path, progress=interrupt)
    report, dataset = convert(source, tmp_path, resume=True)
    assert numbers_of(dataset) == [*range(5), *range(6, 18)]
    assert [note.rpartition("/")[2] for note in report.notes] == [
        "episode_000000.mp4 has no frame for step 5, left out (episode 0)",
        "episode_000002.mp4 has no frame for step 6, left out (episode 2)",
    ]


def test_short_videos_can_cost_the_whole_episode_instead(tmp_path):
    source = write_v2(tmp_path / "v2")
    write_video(source / f"videos/{CAM}/episode_000001.mp4", range(6, 10))
    report, dataset = convert(source, tmp_path, short_videos="skip")
    assert [episode["source_episode"] for episode in dataset.episodes] == [0, 2]
    assert "episode_000001.mp4 has no frame for steps 4 to 5; --short-videos cut keeps the others" in report.skipped[0]


def test_an_option_for_videos_is_refused_where_there_are_none(tmp_path):
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(colours(n))))
    with pytest.raises(ConfigError, match=r"--short-videos skip: .*v2 holds no videos; leave it out"):
        convert(source, tmp_path, short_videos="skip")


def test_more_than_a_second_is_not_cut_off(tmp_path):
    source = write_v2(tmp_path / "v2", fps=2)  # six steps are three seconds
    for e in range(3):
        table = rows(e, np.arange(LENGTHS[e]) / 2)
        parquet.write_table(table, source / f"data/chunk-000/episode_{e:06d}.parquet")
        write_video(source / f"videos/{CAM}/episode_{e:06d}.mp4", range(3), rate=2)
    with pytest.raises(DatasetError, match=r"has no frame for steps 3 to 5 of 6: too much to cut off"):
        convert(source, tmp_path)


# what info.json says and what is there


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


# pictures in parquet files


def encoded(image, *parameters) -> bytes:
    return cv2.imencode(".png", image, parameters)[1].tobytes()


def embedded(picture):
    """Cells of an episode; `picture(number)` is the encoded picture of that number."""

    def columns(e):
        cells = [{"bytes": picture(STARTS[e] + k), "path": None} for k in range(LENGTHS[e])]
        return {CAM: pyarrow.array(cells, pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}))}

    return columns


def colours(number: int) -> np.ndarray:
    """(SIZE, SIZE, 3) RGB, few colours, another for each number."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:, : SIZE // 2] = (200, 40, 4 * number)
    image[: 2 * number + 1] = (10, 90, 170)
    return image


def png(colour_type: int, samples: np.ndarray, palette: bytes = b"") -> bytes:
    """A PNG of `(H, W, samples a pixel)` of 8 bits, also of the kinds that OpenCV cannot write."""
    raw = b"".join(b"\0" + row.tobytes() for row in samples)
    size = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 8, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"PLTE", palette), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    chunks = [chunk for chunk in chunks if chunk[0] != b"PLTE" or palette]
    body = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def palette_png(image: np.ndarray) -> bytes:
    flat, places = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    return png(3, places.astype(np.uint8).reshape(image.shape[:2]), flat.tobytes())


@pytest.mark.parametrize("codec", ["png", "jpeg"])
def test_palette_pngs_are_read(tmp_path, codec):
    source = write_v2(tmp_path / "v2", embedded(lambda n: palette_png(colours(n))))
    report, dataset = convert(source, tmp_path, image_codec=codec)
    assert (report.num_episodes, report.skipped) == (3, ())
    error = np.abs(dataset.image(CAM, 9).astype(int) - colours(9))
    assert error.max() == 0 if codec == "png" else error.mean() < 3


def depth(number: int) -> np.ndarray:
    return (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) + 900 * number).astype(np.uint16)


@pytest.mark.parametrize("shape", [(SIZE, SIZE, 1), (SIZE, SIZE, 3)])
def test_grey_of_16_bits_is_depth_whatever_it_is_called(tmp_path, shape):
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(depth(n))), shape=shape)
    report, dataset = convert(source, tmp_path)
    feature = dataset.features["observation.depth.cam"]
    assert (feature.kind, feature.dtype, feature.shape) == ("depth", "uint16", (SIZE, SIZE))
    assert all((dataset.image("observation.depth.cam", k) == depth(k)).all() for k in range(19))
    assert report.notes == (
        f"{CAM} is declared an image, but its pictures are grey of 16 bits: carried over as depth (uint16), "
        "without loss",
    )


def test_grey_video_of_more_than_8_bits_is_depth(tmp_path):
    source = write_v2(tmp_path / "v2")
    for e, length in enumerate(LENGTHS):
        with av.open(str(source / f"videos/{CAM}/episode_{e:06d}.mp4"), "w") as container:
            stream = container.add_stream("ffv1", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "gray16le"
            for k in range(length):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(depth(STARTS[e] + k), format="gray16le")))
            container.mux(stream.encode())
    report, dataset = convert(source, tmp_path)
    assert all((dataset.image("observation.depth.cam", k) == depth(k)).all() for k in range(19))
    assert "its pictures are grey of 16 bits: carried over as depth" in report.notes[0]


def test_colours_of_16_bits_become_8_and_it_is_said(tmp_path):
    deep = lambda n: (colours(n).astype(np.uint16) * 257)[..., ::-1]  # noqa: E731
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(deep(n))))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert all((dataset.image(CAM, k) == colours(k)).all() for k in range(19))
    assert report.notes == (f"{CAM}: 16 bits are reduced to 8",)


def test_a_fourth_channel_is_left_out_and_it_is_said(tmp_path):
    def picture(number):
        alpha = np.full((SIZE, SIZE), 100, np.uint8)
        return encoded(np.dstack([colours(number)[..., ::-1], alpha]))

    source = write_v2(tmp_path / "v2", embedded(picture), shape=(SIZE, SIZE, 4))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert all((dataset.image(CAM, k) == colours(k)).all() for k in range(19))
    assert f"{CAM}: pictures have a fourth channel (alpha), which is left out (episodes 0-2)" in report.notes


def test_grey_with_alpha_becomes_grey_and_it_is_said(tmp_path):
    alpha = np.full((SIZE, SIZE), 99, np.uint8)
    cells = embedded(lambda n: png(4, np.dstack([colours(n)[..., 0], alpha])))
    source = write_v2(tmp_path / "v2", cells, shape=(SIZE, SIZE, 1))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert (dataset.image(CAM, 9).reshape(SIZE, SIZE) == colours(9)[..., 0]).all()
    assert report.notes == (f"{CAM}: pictures have a fourth channel (alpha), which is left out (episodes 0-2)",)


def test_a_video_of_an_unknown_codec_costs_its_episode(tmp_path):
    source = write_v2(tmp_path / "v2")
    file = source / f"videos/{CAM}/episode_000000.mp4"
    file.write_bytes(file.read_bytes().replace(b"avc1", b"zzzz"))
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(6, 19))
    assert len(report.skipped) == 1
    assert "episode_000000.mp4 is missing or damaged (its codec is not known)" in report.skipped[0]


def test_colour_video_of_10_bits_becomes_8_and_it_is_said(tmp_path):
    source = write_v2(tmp_path / "v2")
    for e, length in enumerate(LENGTHS):
        file = source / f"videos/{CAM}/episode_{e:06d}.mp4"
        write_video(file, range(STARTS[e], STARTS[e] + length), pix_fmt="yuv444p10le")
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(19))
    assert report.notes == (f"{CAM}: video of 10 bits is reduced to 8",)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            lambda: encoded(colours(8)[..., 0]),
            f"it is {SIZE}x{SIZE}, grey of 8 bits, expected {SIZE}x{SIZE}x3 of 8 bits",
        ),
        (lambda: encoded(colours(8))[:-30], "bytes of an image are truncated"),
        (lambda: b"nothing", "7 bytes are neither JPEG nor PNG"),
        (lambda: encoded(colours(8)[:8]), f"it is 8x{SIZE}x3, colour of 8 bits, expected {SIZE}x{SIZE}x3"),
        (lambda: None, "holds neither an image nor the name of a file"),
    ],
)
def test_one_odd_frame_costs_its_episode_and_is_named_with_file_and_step(tmp_path, odd, said):
    source = write_v2(tmp_path / "v2", embedded(lambda n: odd() if n == 8 else encoded(colours(n)[..., ::-1])))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert [episode["source_episode"] for episode in dataset.episodes] == [0, 2]
    assert len(report.skipped) == 1
    file = source / "data/chunk-000/episode_000001.parquet"
    assert report.skipped[0].startswith(f"{source}: episode 1, step 2 ({file}): ")
    assert said in report.skipped[0]
    assert report.skipped[0].count("\n") == 0


def test_a_camera_that_is_grey_all_through_is_carried_over_as_it_is(tmp_path):
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(colours(n)[..., 0])))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert dataset.features[CAM].shape == (SIZE, SIZE, 1)
    assert (dataset.image(CAM, 9).reshape(SIZE, SIZE) == colours(9)[..., 0]).all()
    assert report.notes == (f"{CAM}: info.json says 48x48x3, the pictures are 48x48x1",)


# Git LFS


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
