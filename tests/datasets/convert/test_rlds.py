"""RLDS without TensorFlow: whole datasets, then the real one."""

import json
import shutil
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.convert.rlds import reader as rlds
from robolearn.datasets.format.codecs import JpegCodec, PngCodec
from robolearn.datasets.read.reader import Dataset

sys.path.append(str(Path(__file__).parent))
from tfrecord_bytes import example, framed


def jpeg(value, size=32):
    image = np.random.default_rng(value).integers(0, 256, (size, size, 3)).astype(np.uint8) if value else None
    return cv2.imencode(".jpg", np.zeros((size, size, 3), np.uint8) if image is None else image)[1].tobytes()


def tensor(shape, dtype):
    dimensions = {"dimensions": [str(n) for n in shape]} if shape else {}
    return {"pythonClassName": "Tensor", "tensor": {"shape": dimensions, "dtype": dtype, "encoding": "none"}}


def image(shape):
    return {"pythonClassName": "Image", "image": {"shape": {"dimensions": [str(n) for n in shape]}, "dtype": "uint8"}}


TEXT = {"pythonClassName": "Text", "text": {}}
STEPS = {
    "action": tensor((3,), "float32"),
    "is_first": tensor((), "bool"),
    "is_last": tensor((), "bool"),
    "reward": tensor((), "float32"),
    "language_instruction": TEXT,
    "observation": {
        "featuresDict": {
            "features": {"state": tensor((2,), "float64"), "top": image((32, 32, 3)), "side": image((-1, -1, 3)),
                         "unused": image((32, 32, 3))}
        }
    },
}  # fmt: skip


def episode(number, length):
    count = np.arange(length, dtype=np.float32) + 10 * number
    return example(
        **{
            "steps/action": np.repeat(count, 3),
            "steps/is_first": np.arange(length) == 0,
            "steps/is_last": np.arange(length) == length - 1,
            "steps/reward": (np.arange(length) == length - 1).astype(np.float32),
            "steps/language_instruction": [b"close the drawer"] * length,
            "steps/observation/state": np.repeat(-count, 2),
            "steps/observation/top": [jpeg(100 * number + k + 1) for k in range(length)],
            "steps/observation/side": [jpeg(0 if number == 1 else 7, 24)] * length,
            "steps/observation/unused": [jpeg(0)] * length,
            "episode_metadata/operator": [b"anna"],
            "episode_metadata/trial": np.array([number]),
        }
    )


@pytest.fixture
def source(tmp_path):
    """Episodes of 3, 4 and 5 steps: two in the split train, one in val; the second half of train is not there."""
    root = tmp_path / "kitchen" / "1.0.0"
    root.mkdir(parents=True)
    tree = {
        "steps": {"sequence": {"feature": {"featuresDict": {"features": STEPS}}}},
        "episode_metadata": {"featuresDict": {"features": {"operator": TEXT, "trial": tensor((), "int32")}}},
    }
    (root / "features.json").write_text(json.dumps({"featuresDict": {"features": tree}}))
    splits = [{"name": "train", "shardLengths": ["2", "2"]}, {"name": "val", "shardLengths": ["1"]}]
    info = {"name": "kitchen", "version": "1.0.0", "splits": splits}
    (root / "dataset_info.json").write_text(json.dumps(info))
    (root / "kitchen-train.tfrecord-00000-of-00002").write_bytes(framed(episode(0, 3)) + framed(episode(1, 4)))
    (root / "kitchen-val.tfrecord-00000-of-00001").write_bytes(framed(episode(2, 5)))
    return root


def test_everything_in_an_episode_has_its_place(source, tmp_path):
    assert detect_format(source) == "rlds"
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.episode_ends.tolist() == [3, 7, 12]
    assert dataset.array("action")[:, 0].tolist() == [0, 1, 2, 10, 11, 12, 13, 20, 21, 22, 23, 24]
    assert dataset.array("observation.state").dtype == np.float64
    assert dataset.array("observation.state")[3].tolist() == [-10, -10]
    assert dataset.array("reward")[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert dataset.encoded("observation.images.top", 4) == jpeg(102), "bytes are kept"
    assert dataset.features["observation.images.side"].shape == (24, 24, 3)
    assert set(dataset.features) == {
        "action", "observation.state", "reward", "observation.images.top", "observation.images.side",
    }  # fmt: skip
    first, second, third = dataset.episodes
    assert (first["task"], first["language_instruction"]) == ("close the drawer", "close the drawer")
    assert second["episode_metadata"] == {"operator": "anna", "trial": 1}
    assert ("black_cameras" in first, second["black_cameras"]) == (False, ["observation.images.side"])
    assert [e["source_episode"] for e in (first, second, third)] == ["train/0", "train/1", "val/0"]
    masks = {name: np.flatnonzero(mask).tolist() for name, mask in dataset.masks.items()}
    assert masks == {"train": [0, 1], "val": [2]}
    assert report.notes == (
        "1 of 2 files of the split 'train' are not there",
        "steps/observation/unused is not carried over: black or empty in all 3 episodes looked at",
        "steps/is_first and steps/is_last are not carried over: the bounds of episodes say the same",
        "the source stores no times: step k of an episode gets k / 10 s",
    )


def test_the_rate_must_be_given(source, tmp_path):
    with pytest.raises(ConfigError, match="does not store the rate of its steps; give it with --fps"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())


def test_png_keeps_what_the_images_decode_to(source, tmp_path):
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10, image_codec="png", workers=2))
    decoded = cv2.imdecode(np.frombuffer(jpeg(102), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (Dataset(tmp_path / "out.zarr").image("observation.images.top", 4) == decoded).all()


def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    camera = Feature("camera", (4, 6, 3), "uint8", "image")
    huge = bytearray(PngCodec().encode(np.zeros((4, 6, 3), np.uint8)))
    huge[16:24] = struct.pack(">II", 6_000, 6_000)
    monkeypatch.setattr(PngCodec, "decode", lambda *_: pytest.fail("it was decoded"))
    expected = "frame 0 of 'camera': it is 6000x6000x3, colour of 8 bits, expected 4x6x3 of 8 bits"
    with (
        FrameSpool(tmp_path / "spool", {"camera": JpegCodec()}, {"camera": camera}) as spool,
        pytest.raises(DatasetError, match=expected),
    ):
        spool.add_encoded("camera", bytes(huge))


def test_a_damaged_record_is_left_out_and_named(source, tmp_path):
    file = source / "kitchen-train.tfrecord-00000-of-00002"
    content = bytearray(file.read_bytes())
    content[len(framed(episode(0, 3))) + 500] ^= 0x10
    file.write_bytes(content)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 2
    assert "kitchen-train.tfrecord-00000-of-00002: the record at byte" in report.skipped[0]
    masks = {name: np.flatnonzero(mask).tolist() for name, mask in Dataset(tmp_path / "out.zarr").masks.items()}
    assert masks == {"train": [0], "val": [1]}


def test_a_file_that_ends_early_is_noted(source, tmp_path):
    file = source / "kitchen-train.tfrecord-00000-of-00002"
    file.write_bytes(file.read_bytes()[:-100])
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 2
    assert report.notes[0] == (
        "kitchen-train.tfrecord-00000-of-00002 ends in the middle of record 1; what comes after is left out"
    )


def test_leaves_of_different_lengths_are_named(source, tmp_path):
    broken = example(**{**{f"steps/{k}": np.zeros(3, np.float32) for k in ("reward", "is_first", "is_last")},
                        "steps/action": np.zeros(12, np.float32)})  # fmt: skip
    (source / "kitchen-val.tfrecord-00000-of-00001").write_bytes(framed(broken))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert "episode val/0: its leaves have different numbers of steps (action 4" in report.skipped[0]


def overwrite(root, content):
    for file in root.glob("*tfrecord*"):
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / "features.json").write_text('{"featuresDict": {}}'),
            "features.json is missing or damaged",
        ),
        (lambda root: overwrite(root, b""), "holds no episode"),
        (lambda root: overwrite(root, b"no tfrecord at all, is it?"), "holds no episode: .*is damaged at byte 0"),
    ],
)
def test_a_source_without_episodes_is_one_line(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(DatasetError, match=message) as caught:
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10), "rlds")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.zarr.unfinished").exists()


def test_the_real_bridge_data(shared_data, tmp_path):
    source = shared_data / "bridge_rlds"
    described = rlds.describe(source)
    assert (described.num_episodes, described.num_steps, described.fps) == (25, 250, 5)
    assert len(described.tasks) == 4
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert (dataset.num_episodes, dataset.num_steps, report.skipped) == (25, 250, ())
    assert any("image_3 is not carried over: black" in note for note in report.notes)
    state = dataset.array("observation.state")
    assert (state[:, :3].min(axis=0) > [0.2, -0.11, 0.05]).all()
    assert (state[:, :3].max(axis=0) < [0.37, 0.13, 0.23]).all()
    assert dataset.array("action").shape == (250, 7)
    assert {e["task"] for e in dataset.episodes} == set(described.tasks)
    for name in ("image_0", "image_1", "image_2"):
        assert dataset.image(f"observation.images.{name}", 100).std() > 20


def test_only_the_downloaded_shard_matters(source, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    (copy / "dataset_info.json").unlink()
    (copy / "kitchen-val.tfrecord-00000-of-00001").unlink()
    report = convert_dataset(copy, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 2
    assert report.notes[0] == "1 of 2 files of the split 'train' are not there"


def test_leaves_with_other_names_and_pictures_in_tensors_are_recognised(tmp_path):
    root = tmp_path / "kitchen" / "1.0.0"
    root.mkdir(parents=True)
    features = {
        "actions": tensor((3,), "float32"),
        "observation": {
            "featuresDict": {"features": {"proprio": tensor((2,), "float32"), "wrist": tensor((16, 20, 3), "float32")}}
        },
    }
    tree = {"steps": {"sequence": {"feature": {"featuresDict": {"features": features}}}}}
    (root / "features.json").write_text(json.dumps({"featuresDict": {"features": tree}}))
    shade = np.full((4, 16, 20, 3), 0.2, np.float32)
    shade[:, 0, 0] = 1.0
    records = [
        example(**{"steps/actions": np.arange(12.0), "steps/observation/proprio": np.arange(8.0),
                   "steps/observation/wrist": (shade * factor).ravel()})
        for factor in (1, 1, 2)
    ]  # fmt: skip
    empty = example(**{f"steps/{key}": np.zeros(0, np.float32)
                       for key in ("actions", "observation/proprio", "observation/wrist")})  # fmt: skip
    (root / "kitchen-train.tfrecord-00000-of-00001").write_bytes(b"".join(map(framed, [*records, empty])))
    report = convert_dataset(root, tmp_path / "out.zarr", ConvertOptions(fps=10, image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert {name: f.kind for name, f in dataset.features.items()} == {
        "action": "action", "observation.state": "state", "observation.images.wrist": "image",
    }  # fmt: skip
    assert dataset.image("observation.images.wrist", 5)[5, 5].tolist() == [51, 51, 51]
    assert report.notes[:2] == (
        "names: actions is action, observation/proprio is observation.state; --rename KEY=FEATURE says otherwise",
        "observation/wrist: pictures are scaled from [0, 1] (float32) to 8 bits",
    )
    assert [line.partition("episode ")[2] for line in report.skipped] == [
        "train/2: step 0: observation/wrist holds 2, outside 0 to 1; --range observation/wrist=LOW,HIGH says which "
        "values are black and white.",
        "train/3: it has no steps.",
    ]


DROID_MEASURED = {"cartesian_position": 6, "joint_position": 7, "gripper_position": 1}
DROID_COMMANDED = {**DROID_MEASURED, "cartesian_velocity": 6, "joint_velocity": 7, "gripper_velocity": 1}
DROID_CAMERAS = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
INSTRUCTIONS = ("language_instruction", "language_instruction_2", "language_instruction_3")


def nested(features):
    return {"featuresDict": {"features": features}}


def droid(root, name="r2d2_faceblur", texts=(b"put the cup away", b"move the cup", b"")):
    """Two episodes of four steps, with the names, shapes and types of DROID's release; pictures are smaller."""
    root.mkdir(parents=True)
    steps = {
        "action": tensor((7,), "float64"),
        "action_dict": nested({key: tensor((size,), "float64") for key, size in DROID_COMMANDED.items()}),
        "discount": tensor((), "float32"),
        "reward": tensor((), "float32"),
        **{flag: tensor((), "bool") for flag in ("is_first", "is_last", "is_terminal")},
        **dict.fromkeys(INSTRUCTIONS, TEXT),
        "observation": nested(
            {key: tensor((size,), "float64") for key, size in DROID_MEASURED.items()}
            | {camera: image((32, 32, 3)) for camera in DROID_CAMERAS}
        ),
    }
    facts = {"file_path": tensor((), "string"), "recording_folderpath": tensor((), "string")}
    tree = {"steps": {"sequence": {"feature": nested(steps)}}, "episode_metadata": nested(facts)}
    (root / "features.json").write_text(json.dumps({"featuresDict": {"features": tree}}))
    info = {"name": name, "version": "1.0.0", "splits": [{"name": "train", "shardLengths": ["2"]}]}
    (root / "dataset_info.json").write_text(json.dumps(info))
    content = b""
    for number in range(2):
        lists = {"steps/action": droid_rows(number, 7, 0.5).ravel()}
        lists |= {f"steps/action_dict/{k}": droid_rows(number, n, 0.25).ravel() for k, n in DROID_COMMANDED.items()}
        lists |= {f"steps/observation/{k}": droid_rows(number, n, 0.0).ravel() for k, n in DROID_MEASURED.items()}
        lists |= {
            f"steps/observation/{camera}": [jpeg(1 + 100 * number + 10 * place + k) for k in range(4)]
            for place, camera in enumerate(DROID_CAMERAS)
        }
        lists |= {f"steps/{flag}": np.zeros(4, bool) for flag in ("is_first", "is_last", "is_terminal")}
        lists |= {f"steps/{key}": np.zeros(4, np.float32) for key in ("discount", "reward")}
        lists |= {f"steps/{key}": [text] * 4 for key, text in zip(INSTRUCTIONS, texts, strict=True)}
        lists |= {"episode_metadata/file_path": [b"a.h5"], "episode_metadata/recording_folderpath": [b"MP4"]}
        content += framed(example(**lists))
    (root / f"{name}-train.tfrecord-00000-of-00001").write_bytes(content)
    return root


def droid_rows(number, size, offset):
    return (np.arange(4 * size).reshape(4, size) + 100 * number + offset).astype(np.float32)


def test_droid_has_its_names_here(tmp_path):
    report = convert_dataset(droid(tmp_path / "droid" / "1.0.0"), tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.fps == 15.0
    assert {"action", *(f"action.{key}" for key in DROID_COMMANDED)} == {
        name for name, feature in dataset.features.items() if feature.kind == "action"
    }
    for key, size in DROID_MEASURED.items():
        assert np.array_equal(dataset.array(f"observation.{key}")[4:], droid_rows(1, size, 0.0)), key
    for key, size in DROID_COMMANDED.items():
        assert np.array_equal(dataset.array(f"action.{key}")[4:], droid_rows(1, size, 0.25)), key
    assert dataset.features["observation.cartesian_position"].names == ("x", "y", "z", "roll", "pitch", "yaw")
    assert dataset.features["action.joint_velocity"].names[6] == "joint_7"
    for place, camera in enumerate(DROID_CAMERAS):
        assert dataset.encoded(f"observation.images.{camera}", 5) == jpeg(1 + 100 + 10 * place + 1)
    first = dataset.episodes[0]
    assert first["task"] == "put the cup away" and first["language_instruction_2"] == "move the cup"
    assert first["episode_metadata"] == {"file_path": "a.h5", "recording_folderpath": "MP4"}
    assert any("gripper positions of DROID are 0 where it is open" in note for note in report.notes)


def test_the_first_instruction_that_is_not_empty_is_the_task(tmp_path):
    convert_dataset(droid(tmp_path / "droid", texts=(b"", b"", b"stack")), tmp_path / "out.zarr", ConvertOptions())
    assert Dataset(tmp_path / "out.zarr").episodes[0]["task"] == "stack"


def test_data_of_ones_own_in_droids_layout_needs_its_rate(tmp_path):
    source = droid(tmp_path / "mine", name="my_lab")
    with pytest.raises(ConfigError, match="does not store the rate of its steps; give it with --fps"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert "action.joint_position" in Dataset(tmp_path / "out.zarr").features
    assert not any("DROID" in note for note in report.notes)
