import numpy as np
import pytest
import zarr

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert import diffusion_policy_zarr, zarr_layouts
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.reader import Dataset

ENDS = [4, 9]


def make_source(path, ends=ENDS, **arrays):
    group = zarr.create_group(path, zarr_format=2)
    for key, array in arrays.items():
        group.create_array(f"data/{key}", data=array, chunks=(3, *array.shape[1:]) if array.shape else ())
    group.create_array("meta/episode_ends", data=np.array(ends, np.int64))
    return path


def pusht_arrays(steps=9, image_dtype=np.uint8):
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(rng.integers(0, 256, (steps, 1, 1, 3)), (steps, 96, 96, 3))
    return {
        "state": rng.uniform(0, 512, (steps, 5)).astype(np.float32),
        "action": rng.uniform(0, 512, (steps, 2)).astype(np.float32),
        "keypoint": rng.uniform(0, 512, (steps, 8, 2)).astype(np.float32),
        "img": flat.astype(image_dtype),
        "coverage": rng.uniform(0, 1, steps).astype(np.float32),
    }


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


def test_other_keys_get_sensible_names_that_can_be_changed(tmp_path):
    arrays = {
        "action": np.zeros((9, 7), np.float64),
        "robot0_eef_pos": np.ones((9, 3), np.float32),
        "camera0_rgb": np.zeros((9, 24, 24, 3), np.uint8),
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


def test_inconsistent_sources_are_explained(tmp_path):
    arrays = {"action": np.zeros((9, 2), np.float32)}
    for number, (ends, data, message) in enumerate(
        [
            ([4, 8], arrays, "data/action has 9 steps, but meta/episode_ends ends at 8"),
            ([4, 4, 9], arrays, "does not rise"),
            ([9], {**arrays, "gain": np.zeros(())}, "data/gain has no steps"),
            ([9], {}, "is not in a format|cannot be read"),
        ]
    ):
        source = make_source(tmp_path / f"{number}.zarr", ends, **data)
        with pytest.raises(DatasetError, match=message):
            convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert not list(tmp_path.glob("out*"))


def test_a_damaged_chunk_is_named_and_a_missing_one_noted(tmp_path):
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2), np.float32))
    chunk = source / "data/action/1.0"
    data = chunk.read_bytes()
    chunk.write_bytes(data[:3])
    with pytest.raises(DatasetError, match="data/action, steps 0 to 3, cannot be read"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    chunk.unlink()
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.notes[0] == "data/action: 1 chunks are not stored and read as zeros"


def test_values_that_cannot_be_stored_are_located(tmp_path):
    action = np.ones((9, 2), np.float32)
    action[6, 1] = np.nan
    source = make_source(tmp_path / "a.zarr", action=action)
    with pytest.raises(DatasetError, match=r"a\.zarr: episode 1, step 2: feature 'action' holds a non-finite value"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))


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
