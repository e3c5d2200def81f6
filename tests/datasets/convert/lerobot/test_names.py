"""LeRobot data whose keys are openpi's: actions, state, image, wrist_image; and pictures in lists of numbers."""

import json

import cv2
import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.read.reader import Dataset

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

STEPS = 4


def lists(rows):
    """`(T, ...)` as nested lists of float32."""
    kind = pyarrow.float32()
    for _ in np.shape(rows)[1:]:
        kind = pyarrow.list_(kind)
    return pyarrow.array(np.asarray(rows).tolist(), kind)


def picture(shade):
    return cv2.imencode(".png", np.full((16, 20, 3), shade, np.uint8))[1].tobytes()


@pytest.fixture
def source(tmp_path):
    """Two episodes of four steps in format v2.1, as openpi's converters for LIBERO and DROID name their keys."""
    root = tmp_path / "libero"
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    vector = {"dtype": "float32", "shape": [3], "names": None}
    features = {
        "image": {"dtype": "image", "shape": [16, 20, 3], "names": ["height", "width", "channel"]},
        "wrist_image": {"dtype": "image", "shape": [16, 20, 3], "names": ["height", "width", "channel"]},
        "state": vector, "actions": vector, "joint_position": vector,
        "depth_cloud": {"dtype": "float32", "shape": [16, 16, 3], "names": None},
        "rgb": {"dtype": "float32", "shape": [3, 16, 20], "names": None},
    }  # fmt: skip
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    info = {"codebase_version": "v2.1", "robot_type": "panda", "total_episodes": 2, "total_frames": 2 * STEPS,
            "fps": 10, "chunks_size": 1000,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": None, "features": features}  # fmt: skip
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "stack"}))
    lines = [json.dumps({"episode_index": k, "tasks": ["stack"], "length": STEPS}) for k in range(2)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    for k in range(2):
        count = np.arange(STEPS)
        shade = np.full((STEPS, 3, 16, 20), 0.2, np.float32)
        shade[:, 0, 0, 0] = 1.0
        columns = {
            "image": [{"bytes": picture(10 * k + n), "path": None} for n in count],
            "wrist_image": [{"bytes": picture(100 + n), "path": None} for n in count],
            "state": lists([[n, n, n] for n in (count + 10.0 * k).tolist()]),
            "actions": lists([[-n, 0.0, 1.0] for n in (count + 10.0 * k).tolist()]),
            "joint_position": lists([[float(n)] * 3 for n in count]),
            "depth_cloud": lists(np.full((STEPS, 16, 16, 3), 0.4)),
            "rgb": lists(shade),
            "timestamp": (count / 10).astype(np.float32), "frame_index": count, "episode_index": count * 0 + k,
            "index": count + k * STEPS, "task_index": count * 0,
        }  # fmt: skip
        parquet.write_table(pyarrow.table(columns), root / f"data/chunk-000/episode_{k:06d}.parquet")
    return root


def test_openpi_keys_become_an_action_a_state_and_cameras(source, tmp_path):
    report = convert_dataset(
        source, tmp_path / "out.zarr", ConvertOptions(image_codec="png", drop=["depth_cloud", "rgb"])
    )
    dataset = Dataset(tmp_path / "out.zarr")
    assert {name: f.kind for name, f in dataset.features.items()} == {
        "observation.images.image": "image", "observation.images.wrist_image": "image", "observation.state": "state",
        "action": "action", "observation.joint_position": "state",
    }  # fmt: skip
    assert dataset.array("action")[:, 0].tolist() == [0, -1, -2, -3, -10, -11, -12, -13]
    assert dataset.encoded("observation.images.image", 5) == picture(11)
    assert report.notes[0] == (
        "names: image is observation.images.image, wrist_image is observation.images.wrist_image, state is "
        "observation.state, actions is action, joint_position is observation.joint_position; "
        "--rename KEY=FEATURE says otherwise"
    )


def test_pictures_in_lists_are_turned_and_scaled_and_other_arrays_stay_numbers(source, tmp_path):
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.image("observation.images.rgb", 6)[0, 0].tolist() == [255, 51, 51]
    assert dataset.features["depth_cloud"].shape == (16, 16, 3)
    assert (dataset.array("depth_cloud") == np.float32(0.4)).all()
    assert "rgb: pictures are turned from 3x16x20 (channels first) to 16x20x3, scaled from [0, 1]" in str(report.notes)


def test_a_wrong_key_names_the_closest(source, tmp_path):
    with pytest.raises(ConfigError, match="--rename: Unknown key 'action'. Did you mean 'actions'\\?"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(rename={"action": "a"}))
    with pytest.raises(ConfigError, match="--kind observation.images.image=state: image is stored as pictures"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(kinds={"image": "state"}))
