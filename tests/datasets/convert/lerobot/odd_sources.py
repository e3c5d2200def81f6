"""LeRobot datasets as people write them.

Frame k of the synthetic videos is a grey of 4 k + 10, so a frame says its own number after any codec.
"""

import json

import cv2
import numpy as np
import pytest

from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.read.reader import Dataset

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
from pyarrow import parquet  # noqa: E402

FPS, LENGTHS, SIZE = 10, (6, 6, 7), 48
STARTS = (0, 6, 12)
CAM = "observation.images.cam"


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
