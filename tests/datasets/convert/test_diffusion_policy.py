"""Replay buffers of diffusion_policy and UMI: what becomes of their keys, and of what is damaged."""

import json
import re
import sys
from pathlib import Path

import numcodecs.registry
import numpy as np
import pytest
import zarr

from robolearn.core.errors import ConfigError, DatasetError, MissingDependencyError
from robolearn.datasets.convert.diffusion_policy import layouts as zarr_layouts
from robolearn.datasets.convert.diffusion_policy import reader as diffusion_policy_zarr
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset

sys.path.append(str(Path(__file__).parent))
from replay_buffers import ENDS, make_source, pusht_arrays, umi_arrays, zipped


def test_pusht_gets_the_features_of_its_environment(tmp_path):
    arrays = pusht_arrays()
    source = make_source(tmp_path / "pusht.zarr", **arrays)
    assert detect_format(source) == "diffusion_policy_zarr"
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert (report.num_episodes, report.num_steps) == (2, 9)
    assert dataset.episode_ends.tolist() == ENDS
    assert (dataset.array("observation.environment_state") == arrays["keypoint"].reshape(9, 16)).all()
    assert (dataset.array("observation.state") == arrays["state"][:, :2]).all()
    assert (dataset.array("observation.full_state") == arrays["state"]).all()
    assert (dataset.array("action") == arrays["action"]).all()
    assert (dataset.array("coverage") == arrays["coverage"][:, None]).all()
    assert all((dataset.image("observation.images.top", k) == arrays["img"][k]).all() for k in range(9))
    assert (dataset.fps, dataset.episodes[1]["task"]) == (10, "Push the T-shaped block onto the T-shaped target.")
    assert dataset.timestamps[4:] == pytest.approx(np.arange(5) / 10)
    assert dataset.features["action"].unit == "px"


def test_known_keys_in_double_precision_keep_it(tmp_path):
    arrays = {key: a.astype(np.float64) + 1 / 3 if key != "img" else a for key, a in pusht_arrays().items()}
    convert_dataset(make_source(tmp_path / "pusht.zarr", **arrays), tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert np.array_equal(dataset.array("action"), arrays["action"])
    assert dataset.features["observation.full_state"].dtype == "float64"


def test_pusht_features_fit_the_environment():
    pytest.importorskip("gym_pusht")
    from robolearn.core.feature import features, require
    from robolearn.sim.registry import make_env

    env = make_env("pusht", cameras=("top",))
    ours = features(column.feature for column in zarr_layouts.PUSHT.columns)
    require({"action": env.action_feature}, ours, "the environment", "the dataset")
    require(env.observation_features, ours, "the environment", "the dataset")


def test_float_images_become_uint8(tmp_path):
    arrays = pusht_arrays(image_dtype=np.float32)
    source = make_source(tmp_path / "pusht.zarr", **arrays)
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    assert (Dataset(tmp_path / "out.zarr").image("observation.images.top", 3) == arrays["img"][3]).all()


@pytest.mark.parametrize("robots", [1, 2])
def test_the_keys_of_umi_are_known(tmp_path, robots):
    arrays = umi_arrays(robots)
    source = zipped(make_source(tmp_path / "umi.zarr", **arrays), tmp_path / "dataset.zarr.zip")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(task="arrange the cups"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.fps == 60
    parts = [
        arrays[f"robot{k}_{name}"] for k in range(robots) for name in ("eef_pos", "eef_rot_axis_angle", "gripper_width")
    ]
    assert (dataset.array("observation.state") == np.concatenate(parts, axis=1)).all()
    assert (dataset.array("action") == dataset.array("observation.state")).all()
    assert dataset.features["action"].names[:7] == tuple(
        f"robot0_{n}" for n in ("x", "y", "z", "rx", "ry", "rz", "width")
    )
    assert dataset.features[f"observation.images.camera{robots - 1}"].kind == "image"
    assert dataset.array("observation.robot0_demo_start_pose").shape == (9, 6)
    assert any("UMI stores no commands" in note for note in report.notes)


def test_images_of_umi_need_imagecodecs(tmp_path, monkeypatch):
    """JPEG XL, as UMI's own datasets: decoded where imagecodecs is installed, else one line that names it."""
    source = make_source(tmp_path / "umi.zarr", **umi_arrays())
    array = source / "data/camera0_rgb/.zarray"
    described = json.loads(array.read_text())
    array.write_text(json.dumps(described | {"compressor": {"id": "imagecodecs_jpegxl", "level": 99}}))
    for known in (numcodecs.registry.codec_registry, numcodecs.registry.entries):
        monkeypatch.delitem(known, "imagecodecs_jpegxl", raising=False)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setitem(sys.modules, "imagecodecs.numcodecs", None)
    with pytest.raises(
        MissingDependencyError, match="compressed with imagecodecs_jpegxl; install imagecodecs with: pip install"
    ):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())


def test_other_keys_get_sensible_names_that_can_be_changed(tmp_path):
    arrays = {
        "action": np.ones((9, 7), np.float64),
        "robot0_eef_pos": np.ones((9, 3), np.float32),
        "camera0_rgb": np.full((9, 24, 24, 3), 7, np.uint8),
        "n_contacts": np.arange(9, dtype=np.int64),
    }
    source = make_source(tmp_path / "umi.zarr", **arrays)
    options = ConvertOptions(fps=20, rename={"n_contacts": "contacts"}, task="arrange the cups")
    convert_dataset(source, tmp_path / "out.zarr", options)
    found = {name: (f.shape, f.dtype, f.kind) for name, f in Dataset(tmp_path / "out.zarr").features.items()}
    assert found == {
        "action": ((7,), "float64", "action"),
        "observation.robot0_eef_pos": ((3,), "float32", "state"),
        "observation.images.camera0_rgb": ((24, 24, 3), "uint8", "image"),
        "contacts": ((1,), "int64", "state"),
    }
    with pytest.raises(ConfigError, match="--fps"):
        convert_dataset(source, tmp_path / "other.zarr", ConvertOptions())
    assert not (tmp_path / "other.zarr").exists()


@pytest.mark.parametrize(
    ("ends", "arrays", "message"),
    [
        (
            [6, 4, 9],
            {"action": np.ones((9, 2))},
            "meta/episode_ends falls from 6 to 4 at episode 1; expected cumulative",
        ),
        (
            [9],
            {"gain": np.ones(())},
            "holds no data: data/gain is not carried over: it has no steps, the first episode 9",
        ),
        ([9], {}, "is not in a format|cannot be read"),
    ],
)
def test_a_source_that_means_nothing_is_one_line(tmp_path, ends, arrays, message):
    source = make_source(tmp_path / "a.zarr", ends, **arrays)
    with pytest.raises(DatasetError, match=message):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert not list(tmp_path.glob("out*"))


def test_an_empty_episode_is_left_out_and_named(tmp_path):
    action = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    source = make_source(tmp_path / "a.zarr", [4, 4, 9], action=action)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.skipped == (f"{source}: episode 1: it has no steps.",)
    dataset = Dataset(tmp_path / "out.zarr")
    assert [record["source_episode"] for record in dataset.episodes] == [0, 2]
    assert (dataset.array("action") == action).all()


def test_rows_after_the_last_episode_are_left_out_and_named(tmp_path):
    action = np.arange(1, 25, dtype=np.float32).reshape(12, 2)
    source = make_source(tmp_path / "a.zarr", [4, 9], action=action, state=action[:10])
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.notes[:2] == (
        "rows 9 to 11 of data/action come after the last episode and are left out: an interrupted recording?",
        "rows 9 to 9 of data/state come after the last episode and are left out: an interrupted recording?",
    )
    assert (Dataset(tmp_path / "out.zarr").array("action") == action[:9]).all()


def test_an_episode_that_one_array_does_not_reach_is_left_out_and_named(tmp_path):
    source = make_source(tmp_path / "a.zarr", [4, 9], action=np.ones((9, 2)), state=np.ones((7, 2)), fixed=np.eye(3))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.skipped == (
        f"{source}: episode 1: it ends at row 9, and data/state has 7, fewer: an interrupted recording.",
    )
    assert report.notes[0] == "data/fixed is not carried over: it has 3 steps, the first episode 4"
    assert Dataset(tmp_path / "out.zarr").episode_ends.tolist() == [4]


def test_a_damaged_chunk_costs_its_episode_and_is_named_with_its_steps(tmp_path):
    source = make_source(tmp_path / "a.zarr", [3, 9], action=np.ones((9, 2)), img=np.ones((9, 16, 16, 3), np.uint8))
    chunk = source / "data/img/2.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:3])
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 1
    (line,) = report.skipped
    assert line.startswith(f"{source}: episode 1: data/img, steps 3 to 5 (rows 6 to 8), cannot be read (")


def test_values_that_cannot_be_stored_are_located(tmp_path):
    action = np.ones((9, 2), np.float32)
    action[6, 1] = np.nan
    source = make_source(tmp_path / "a.zarr", action=action)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 1
    assert "a.zarr: episode 1, " in report.skipped[0]
    assert re.search("step 2.* 'action' holds a non-finite value", report.skipped[0])


def test_our_own_datasets_are_not_taken_for_replay_buffers(make_dataset):
    assert not diffusion_policy_zarr.detect(make_dataset(2))


def test_real_human_pusht(shared_data, tmp_path):
    source = shared_data / "pusht.zarr"
    described = diffusion_policy_zarr.describe(source)
    assert (described.num_episodes, described.num_steps, described.fps) == (206, 25650, 10)
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(max_episodes=5))
    dataset = Dataset(tmp_path / "out.zarr")
    group, n = zarr.open_group(source, mode="r"), dataset.num_steps
    assert (dataset.array("observation.environment_state") == group["data/keypoint"][:n].reshape(n, 16)).all()
    assert (dataset.array("action") == group["data/action"][:n]).all()
    for step in (0, n // 2, n - 1):
        original = group["data/img"][step].astype(float)
        mse = np.mean((dataset.image("observation.images.top", step) - original) ** 2)
        assert 10 * np.log10(255**2 / mse) > 38
