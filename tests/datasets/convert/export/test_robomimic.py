"""robomimic's HDF5: names, shapes, types and attributes as its dataset structure documents them."""

import json
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter

h5py = pytest.importorskip("h5py")

LENGTHS = (5, 1, 4)
FRONT = "observation.images.front"


def export(dataset: Path, tmp_path: Path, **options):
    return export_dataset(dataset, tmp_path / "out.hdf5", "robomimic_hdf5", ExportOptions(**options))


@pytest.fixture(scope="module")
def file(rich_dataset_to_read: Path, tmp_path_factory: pytest.TempPathFactory):
    with h5py.File(export(rich_dataset_to_read, tmp_path_factory.mktemp("robomimic")).output, "r") as opened:
        yield opened


def test_demonstrations_have_the_documented_parts(file):
    assert sorted(file["data"]) == ["demo_0", "demo_1", "demo_2"]
    assert file["data"].attrs["total"] == 10
    keys = {"state", "force", "keypoints", "closed", "count", "front_image", "grey_image", "front_depth"}
    for demo, length in zip((file[f"data/demo_{k}"] for k in range(3)), LENGTHS, strict=True):
        assert demo.attrs["num_samples"] == length
        assert set(demo) == {"actions", "rewards", "dones", "states", "timestamps", "obs", "next_obs"}
        assert set(demo["obs"]) == set(demo["next_obs"]) == keys
        assert all(len(demo[key]) == length for key in ("actions", "rewards", "dones", "states", "timestamps"))
        assert all(len(rows) == length for place in ("obs", "next_obs") for rows in demo[place].values())


def test_values_and_true_times_are_exact(file, rich_dataset_to_read):
    dataset = Dataset(rich_dataset_to_read)
    for k, ends in enumerate(dataset.episode_ends):
        demo, steps = file[f"data/demo_{k}"], slice(int(ends) - LENGTHS[k], int(ends))
        assert np.array_equal(demo["timestamps"], dataset.timestamps[steps])
        assert np.array_equal(demo["actions"], dataset.array("action")[steps])
        assert np.array_equal(demo["rewards"], dataset.array("next.reward")[steps, 0])
        for key in ("state", "force", "keypoints", "closed", "count"):
            expected = dataset.array(f"observation.{key}")[steps]
            assert demo["obs"][key].dtype == expected.dtype and np.array_equal(demo["obs"][key], expected)


@pytest.mark.parametrize("compress", [False, True])
def test_images_are_uint8_channel_last_and_exact(rich_dataset_to_read, tmp_path, compress):
    dataset = Dataset(rich_dataset_to_read)
    with h5py.File(export(rich_dataset_to_read, tmp_path, compress=compress).output, "r") as file:
        images = file["data/demo_2/obs/front_image"]
        assert images.dtype == np.uint8 and images.shape == (4, 24, 32, 3)
        assert images.compression == ("gzip" if compress else None)
        assert np.array_equal(images, [dataset.image(FRONT, step) for step in range(6, 10)])
        depth = file["data/demo_0/obs/front_depth"]
        assert depth.dtype == np.uint16 and depth.shape == (5, 6, 8, 1)
        assert np.array_equal(depth[3, ..., 0], dataset.image("observation.depth.front", 3))
        for key in ("front_image", "front_depth", "grey_image", "state"):
            now, following = file[f"data/demo_0/obs/{key}"][:], file[f"data/demo_0/next_obs/{key}"][:]
            assert np.array_equal(following, np.concatenate([now[1:], now[-1:]]))
        assert np.array_equal(file["data/demo_1/next_obs/front_image"], file["data/demo_1/obs/front_image"])


def test_next_obs_can_be_left_out(rich_dataset_to_read, tmp_path):
    report = export(rich_dataset_to_read, tmp_path, next_obs=False)
    with h5py.File(report.output, "r") as file:
        assert "next_obs" not in file["data/demo_0"]
    assert not any("next_obs" in note for note in report.notes)


def test_the_end_is_done_and_success_is_rewarded(make_dataset, tmp_path):
    path = make_dataset(3, 2)
    from robolearn.datasets.write.edits import edit_episodes

    edit_episodes(path, [1], {"success": True})
    with h5py.File(export(path, tmp_path).output, "r") as file:
        assert file["data/demo_0/dones"][:].tolist() == [0, 0, 1]
        assert file["data/demo_0/rewards"][:].tolist() == [0, 0, 0]
        assert file["data/demo_1/rewards"][:].tolist() == [0, 1]


def test_simulator_states_and_model_are_kept(file, rich_dataset_to_read):
    dataset = Dataset(rich_dataset_to_read)
    for k in range(3):
        assert np.array_equal(file[f"data/demo_{k}/states"], dataset.sim_states(k))
        assert file[f"data/demo_{k}"].attrs["model_file"] == "<mujoco/>"


def test_a_large_model_fits(tmp_path):
    xml = "<mujoco>" + "x" * 200_000 + "</mujoco>"
    with DatasetWriter.create(
        tmp_path / "a.zarr", features([Feature("action", (2,), kind="action")]), fps=10
    ) as writer:
        writer.set_sim_model(xml, {"name": "robosuite/Lift"})
        writer.start_episode()
        writer.append(0.0, {"action": np.zeros(2, np.float32)}, np.zeros(3))
        writer.commit({})
    with h5py.File(export(tmp_path / "a.zarr", tmp_path).output, "r") as file:
        assert file["data/demo_0"].attrs["model_file"] == xml


def test_environment_arguments_have_the_three_keys(file):
    env = json.loads(file["data"].attrs["env_args"])
    assert env == {"env_name": "Lift", "type": 1, "env_kwargs": {"control_hz": 10.0, "control_freq": 10.0}}


def test_without_a_simulator_states_are_empty_and_said_so(make_dataset, tmp_path):
    report = export(make_dataset(3), tmp_path)
    with h5py.File(report.output, "r") as file:
        assert file["data/demo_0/states"].shape == (3, 0)
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "none"
    assert any("env_args name no simulator" in note for note in report.notes)


def test_masks_become_filter_keys_by_robomimics_names(rich_dataset, tmp_path):
    set_mask(rich_dataset, "train", [0, 2])
    set_mask(rich_dataset, "validation", [1])
    set_mask(rich_dataset, "better", [2])
    with h5py.File(export(rich_dataset, tmp_path).output, "r") as file:
        assert {name: rows[:].tolist() for name, rows in file["mask"].items()} == {
            "train": [b"demo_0", b"demo_2"], "valid": [b"demo_1"], "better": [b"demo_2"],
        }  # fmt: skip


def test_masks_that_would_share_a_filter_key_keep_their_names(rich_dataset, tmp_path):
    for name, episode in (("valid", 0), ("val", 1)):
        set_mask(rich_dataset, name, [episode])
    with h5py.File(export(rich_dataset, tmp_path).output, "r") as file:
        assert {name: rows[:].tolist() for name, rows in file["mask"].items()} == {
            "valid": [b"demo_0"], "val": [b"demo_1"],
        }  # fmt: skip


@pytest.mark.parametrize("shapes", [{}, {"action": (2, 2)}, {"left": (2,), "right": (2,)}])
def test_actions_that_are_no_vector_are_refused(tmp_path, shapes):
    found = {"observation.state": Feature("observation.state", (2,))}
    found |= {name: Feature(name, shape, kind="action") for name, shape in shapes.items()}
    with DatasetWriter.create(tmp_path / "a.zarr", found, fps=10) as writer:
        writer.start_episode()
        writer.append(0.0, {name: np.zeros(feature.shape, np.float32) for name, feature in found.items()})
        writer.commit({})
    with pytest.raises(FeatureError, match="needs one vector of actions, called 'action'; found"):
        export(tmp_path / "a.zarr", tmp_path)
    assert not list(tmp_path.glob("out*"))
