"""Three episodes with two cameras and float64 actions, in every format that can be read without a simulator."""

import json

import av
import cv2
import h5py
import numpy as np
import pyarrow
import zarr
from pyarrow import parquet

FPS, LENGTHS, SIZE = 10, (6, 6, 7), 48
STARTS = (0, 6, 12)
CAMERAS = ("left", "right")


def picture(camera: str, number: int) -> np.ndarray:
    """A disc that moves by two pixels a step over a ramp; the two cameras differ in their colours."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    image = np.stack([rows * 4, columns * 4, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    cv2.circle(image, (6 + 2 * number, 24), 5, (230, 60, 40), -1)
    return image if camera == "left" else np.ascontiguousarray(image[..., ::-1])


def pictures(camera: str, episode: int) -> list[np.ndarray]:
    return [picture(camera, STARTS[episode] + k) for k in range(LENGTHS[episode])]


def numbers(episode: int) -> np.ndarray:
    """(T, 2) float64 that float32 cannot hold."""
    k = STARTS[episode] + np.arange(LENGTHS[episode])
    return np.stack([4.5e6 + k / 3, -k / 7], 1)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def write_video(path, images) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "12", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def lerobot_features(kind: str) -> dict:
    camera = {"dtype": kind, "shape": [SIZE, SIZE, 3], "names": ["height", "width", "channels"],
              "info": {"video.pix_fmt": "yuv420p"}}  # fmt: skip
    counters = {name: {"dtype": "int64", "shape": [1], "names": None} for name in ("index", "episode_index")}
    return {
        "action": {"dtype": "float64", "shape": [2], "names": None}, "timestamp": {"dtype": "float32", "shape": [1]},
        **{f"observation.images.{name}": camera for name in CAMERAS}, **counters,
    }  # fmt: skip


def lerobot_table(episode: int, **columns):
    length = LENGTHS[episode]
    return pyarrow.table({
        "action": pyarrow.array(numbers(episode).tolist(), pyarrow.list_(pyarrow.float64())),
        "timestamp": pyarrow.array(np.arange(length) / FPS, pyarrow.float32()),
        "episode_index": np.full(length, episode), "index": STARTS[episode] + np.arange(length), **columns,
    })  # fmt: skip


def write_lerobot_v2(root, kind="video") -> None:
    (root / "meta").mkdir(parents=True)
    (root / "data").mkdir()
    info = {
        "codebase_version": "v2.1", "fps": FPS, "total_episodes": 3, "total_frames": sum(LENGTHS),
        "data_path": "data/episode_{episode_index:06d}.parquet", "features": lerobot_features(kind),
        "video_path": "videos/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    (root / "meta/info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": e, "length": n, "tasks": ["push"]}) for e, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    for e in range(3):
        cells = {}
        for camera in CAMERAS:
            key = f"observation.images.{camera}"
            if kind == "image":
                cells[key] = pyarrow.array([{"bytes": png(image), "path": None} for image in pictures(camera, e)])
            else:
                write_video(root / f"videos/{key}/episode_{e:06d}.mp4", pictures(camera, e))
        parquet.write_table(lerobot_table(e, **cells), root / f"data/episode_{e:06d}.parquet")


def write_lerobot_v3(root) -> None:
    (root / "meta/episodes").mkdir(parents=True)
    (root / "data").mkdir()
    info = {
        "codebase_version": "v3.0", "fps": FPS, "total_episodes": 3, "total_frames": sum(LENGTHS),
        "data_path": "data/file-{file_index:03d}.parquet", "features": lerobot_features("video"),
        "video_path": "videos/{video_key}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    (root / "meta/info.json").write_text(json.dumps(info))
    rows = pyarrow.concat_tables([lerobot_table(e) for e in range(3)])
    parquet.write_table(rows, root / "data/file-000.parquet", row_group_size=4)
    episodes = {"episode_index": [0, 1, 2], "length": LENGTHS, "dataset_from_index": STARTS}
    for camera in CAMERAS:
        key = f"observation.images.{camera}"
        episodes |= {f"videos/{key}/chunk_index": [0] * 3, f"videos/{key}/file_index": [0] * 3}
        episodes[f"videos/{key}/from_timestamp"] = [s / FPS for s in STARTS]
        episodes[f"videos/{key}/to_timestamp"] = [(s + n) / FPS for s, n in zip(STARTS, LENGTHS, strict=True)]
        write_video(root / f"videos/{key}/file-000.mp4", [i for e in range(3) for i in pictures(camera, e)])
    parquet.write_table(pyarrow.table(episodes), root / "meta/episodes/file-000.parquet")


def write_zarr(root) -> None:
    group = zarr.create_group(root, zarr_format=2)
    group.create_array("data/action", data=np.concatenate([numbers(e) for e in range(3)]), chunks=(4, 2))
    for camera in CAMERAS:
        images = np.stack([image for e in range(3) for image in pictures(camera, e)])
        group.create_array(f"data/{camera}", data=images, chunks=(4, SIZE, SIZE, 3))
    group.create_array("meta/episode_ends", data=np.cumsum(LENGTHS))


def write_robomimic(path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": FPS}})
        for e in range(3):
            demo = data.create_group(f"demo_{e}")
            demo["actions"] = numbers(e)
            demo["states"] = numbers(e) + 1
            for camera in CAMERAS:
                demo[f"obs/{camera}_image"] = np.stack(pictures(camera, e))


def write_aloha(root) -> None:
    root.mkdir()
    for e in range(3):
        with h5py.File(root / f"episode_{e}.hdf5", "w") as file:
            file["action"] = numbers(e)
            file["observations/qpos"] = numbers(e) + 1
            for camera in CAMERAS:
                file[f"observations/images/{camera}"] = np.stack(pictures(camera, e))


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def example(lists: dict) -> bytes:
    entries = b""
    for name, values in lists.items():
        if isinstance(values, list):
            feature = field(1, b"".join(field(1, value) for value in values))
        else:
            feature = field(2, field(1, values.astype("<f4").tobytes()))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write_rlds(root) -> None:
    from robolearn.datasets.convert.rlds.tfrecord import FOOTER, HEADER, _masked_crc

    root.mkdir()
    image = {"image": {"shape": {"dimensions": [str(SIZE), str(SIZE), "3"]}, "dtype": "uint8"}}
    action = {"tensor": {"shape": {"dimensions": ["2"]}, "dtype": "float64"}}
    observation = {"featuresDict": {"features": dict.fromkeys(CAMERAS, image)}}
    steps = {"featuresDict": {"features": {"action": action, "observation": observation}}}
    tree = {"featuresDict": {"features": {"steps": {"sequence": {"feature": steps}}}}}
    (root / "features.json").write_text(json.dumps(tree))
    with open(root / "toy-train.tfrecord-00000-of-00001", "wb") as stream:
        for e in range(3):
            cells = {f"steps/observation/{c}": [png(i) for i in pictures(c, e)] for c in CAMERAS}
            payload = example({"steps/action": numbers(e).ravel(), **cells})
            head = HEADER.pack(len(payload), 0)[:8]
            stream.write(HEADER.pack(len(payload), _masked_crc(head)) + payload + FOOTER.pack(_masked_crc(payload)))


WRITERS = {
    "lerobot_v2": write_lerobot_v2, "embedded": lambda root: write_lerobot_v2(root, "image"),
    "lerobot_v3": write_lerobot_v3, "diffusion_policy_zarr": write_zarr, "rlds": write_rlds,
    "robomimic_hdf5": write_robomimic, "aloha_hdf5": write_aloha,
}  # fmt: skip
