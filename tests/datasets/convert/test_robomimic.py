"""robomimic's documented HDF5 layout into ours: observations, images, masks, states, models, and what is damaged."""

import json
import re

import numpy as np
import pytest

from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert import frame_spool
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.convert.robomimic import reader as robomimic_hdf5
from robolearn.datasets.read.reader import Dataset

h5py = pytest.importorskip("h5py")

LENGTHS = {"demo_0": 5, "demo_2": 4, "demo_10": 6}
MODEL = "<mujoco model='lift'/>"


@pytest.fixture
def source(tmp_path):
    """Three demonstrations as robomimic 0.3 writes them, with image observations and two filter keys."""
    path = tmp_path / "image.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(LENGTHS.values())
        data.attrs["env_args"] = json.dumps(
            {"env_name": "Lift", "type": 1, "env_version": "1.4.1",
             "env_kwargs": {"robots": ["Panda"], "control_freq": 20}}
        )  # fmt: skip
        for name, length in LENGTHS.items():
            demo = data.create_group(name)
            demo.attrs["num_samples"] = length
            demo.attrs["model_file"] = MODEL
            demo["actions"] = rng.uniform(-1, 1, (length, 7))
            demo["states"] = rng.normal(size=(length, 32))
            demo["rewards"] = (np.arange(length) == length - 1).astype(float) * (name != "demo_2")
            demo["dones"] = (np.arange(length) == length - 1).astype(int)
            for group in ("obs", "next_obs"):
                demo[f"{group}/robot0_eef_pos"] = rng.normal(size=(length, 3))
                demo[f"{group}/agentview_image"] = np.full((length, 20, 24, 3), int(name[5:]) * 10, np.uint8)
        file["mask/train"] = np.array(["demo_0", "demo_10"], dtype="S")
        file["mask/valid"] = np.array(["demo_2", "demo_99"], dtype="S")
    return path


def test_an_array_that_claims_a_terabyte_is_one_damaged_demonstration(source, tmp_path):
    with h5py.File(source, "a") as file:
        del file["data/demo_2/obs/robot0_eef_pos"]
        file["data/demo_2/obs"].create_dataset("robot0_eef_pos", (4, 10**11), "f4", chunks=(1, 1000))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 2
    assert "demo_2 is damaged (obs/robot0_eef_pos has shape (4, 100000000000), expected (4, 3))" in report.skipped[0]


def test_everything_that_robomimic_stores_has_its_place(source, tmp_path):
    assert detect_format(source) == "robomimic_hdf5"
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert [e["source_episode"] for e in dataset.episodes] == ["demo_0", "demo_2", "demo_10"]
    assert dataset.episode_ends.tolist() == [5, 9, 15]
    assert dataset.fps == 20
    assert dataset.timestamps[5:9].tolist() == [0, 0.05, 0.1, 3 / 20]
    with h5py.File(source) as file:
        for name, steps in zip(LENGTHS, (slice(0, 5), slice(5, 9), slice(9, 15)), strict=True):
            demo = file["data"][name]
            assert (dataset.array("action")[steps] == demo["actions"][:]).all()
            assert (dataset.array("observation.robot0_eef_pos")[steps] == demo["obs/robot0_eef_pos"][:]).all()
            assert (dataset.array("next.reward")[steps, 0] == demo["rewards"][:]).all()
            assert (dataset.array("next.done")[steps, 0] == demo["dones"][:]).all()
        assert (dataset.sim_states(2) == file["data/demo_10/states"][:]).all()
    assert dataset.sim_model(1) == MODEL
    assert (dataset.image("observation.images.agentview", 9) == 100).all()
    assert [e["success"] for e in dataset.episodes] == [True, False, True]
    assert dataset.features["action"].kind == "action"
    assert dataset.sim_env["name"] == "robomimic/Lift"
    assert dataset.attributes["metadata"]["env_args"]["env_kwargs"]["robots"] == ["Panda"]
    assert {name: np.flatnonzero(mask).tolist() for name, mask in dataset.masks.items()} == {
        "train": [0, 2],
        "valid": [1],
    }
    assert report.notes == (
        "next_obs is not carried over: it is obs one step later",
        "mask 'valid' names 1 demonstrations that are not in the file",
        "the source stores no times: step k of an episode gets k / 20 s",
    )


def test_description_without_converting(source):
    described = robomimic_hdf5.describe(source)
    assert (described.num_episodes, described.num_steps, described.fps) == (3, 15, 20)
    assert described.features["observation.images.agentview"].shape == (20, 24, 3)
    assert described.notes[0] == "environment: Lift"


def test_observations_can_be_renamed_and_tasks_given(source, tmp_path):
    options = ConvertOptions(rename={"obs/robot0_eef_pos": "observation.state"}, task="lift the cube")
    convert_dataset(source, tmp_path / "out.zarr", options)
    dataset = Dataset(tmp_path / "out.zarr")
    assert "observation.state" in dataset.features
    assert dataset.episodes[0]["task"] == "lift the cube"


def test_cameras_are_rendered_by_the_other_converter(source, tmp_path):
    with pytest.raises(ConfigError, match=r"render --camera frontview from .* add --from robosuite_hdf5"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(cameras=("frontview",)))


def test_a_rate_that_is_not_stored_must_be_given(source, tmp_path):
    with h5py.File(source, "a") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "real", "type": 3, "env_kwargs": {}})
    with pytest.raises(ConfigError, match="--fps"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=15)).num_episodes == 3


def remove(path, name):
    with h5py.File(path, "a") as file:
        del file[name]


def replace(path, name, value):
    remove(path, name)
    with h5py.File(path, "a") as file:
        file[name] = value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: remove(p, "data/demo_2/actions"), "demo_2 is damaged .actions is missing"),
        (lambda p: remove(p, "data/demo_2/obs/robot0_eef_pos"), "demo_2 is damaged .obs/robot0_eef_pos is missing"),
        (lambda p: remove(p, "data/demo_2/obs"), "demo_2 is damaged .obs/"),
        (lambda p: replace(p, "data/demo_2", np.zeros(3)), "demo_2 is damaged"),
        (lambda p: replace(p, "data/demo_2/rewards", np.zeros(3)), "demo_2 is damaged .rewards has 3 steps, actions 4"),
        (lambda p: replace(p, "data/demo_2/states", np.zeros((3, 32))), "demo_2 is damaged .states has 3 steps"),
        (
            lambda p: replace(p, "data/demo_2/obs/agentview_image", np.zeros((4, 9, 9, 3), np.uint8)),
            "demo_2 is damaged",
        ),
        (lambda p: replace(p, "data/demo_2/actions", np.full((4, 7), np.nan)), "demo_2.* non-finite"),
    ],
)
def test_a_damaged_demonstration_is_left_out_and_named(source, tmp_path, damage, message):
    damage(source)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 2
    assert np.flatnonzero(Dataset(tmp_path / "out.zarr").mask("train")).tolist() == [0, 1]
    (line,) = report.skipped
    assert "\n" not in line
    assert re.search(message, line)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(p.read_bytes()[:2000]),
        lambda p: remove(p, "data"),
    ],
)
def test_a_damaged_file_is_one_line(source, tmp_path, damage):
    damage(source)
    with pytest.raises(DatasetError) as caught:
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(), "robomimic_hdf5")
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["image.hdf5"]


def test_a_full_disk_is_not_taken_for_damage(source, tmp_path, monkeypatch):
    class Full:
        def tell(self):
            return 0

        def write(self, data):
            raise OSError(28, "No space left on device", "frames/0")

        def close(self):
            pass

    monkeypatch.setattr(frame_spool, "open", lambda *_, **__: Full(), raising=False)
    with pytest.raises(DatasetError, match="No space left on device .*; --resume goes on"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("lost", ["actions", "obs", "obs/agentview_image"])
def test_what_the_file_holds_is_what_most_demonstrations_hold(source, tmp_path, lost):
    remove(source, f"data/demo_0/{lost}")
    assert detect_format(source) == "robomimic_hdf5"
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert [e["source_episode"] for e in Dataset(tmp_path / "out.zarr").episodes] == ["demo_2", "demo_10"]
    assert "observation.images.agentview" in Dataset(tmp_path / "out.zarr").features
    assert re.search(rf"image.hdf5: demo_0 is damaged \({lost}.* is missing\)", report.skipped[0])


def test_the_instruction_of_libero_is_the_task(source, tmp_path):
    with h5py.File(source, "a") as file:
        file["data"].attrs["problem_info"] = json.dumps({"language_instruction": "put the bowl on the plate"})
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert {e["task"] for e in Dataset(tmp_path / "out.zarr").episodes} == {"put the bowl on the plate"}


def test_groups_that_are_called_otherwise_are_named(source, tmp_path):
    with h5py.File(source, "a") as file:
        file.copy("data/demo_2", "data/demo_backup")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 3
    assert "data/demo_backup: not called demo_<number>, and left out" in report.notes


def test_an_array_of_a_few_demonstrations_is_left_out_and_said(source, tmp_path):
    with h5py.File(source, "a") as file:
        file["data/demo_2/obs/force"] = np.ones((4, 6))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 3
    assert "obs/force is not carried over: it is in 1 of the 3 demonstrations looked at" in report.notes


def test_a_damaged_frame_costs_its_demonstration_and_is_named_with_its_step(source, tmp_path):
    pictures = np.random.default_rng(1).integers(0, 256, (4, 20, 24, 3)).astype(np.uint8)
    remove(source, "data/demo_2/obs/agentview_image")
    with h5py.File(source, "a") as file:
        array = file.create_dataset(
            "data/demo_2/obs/agentview_image", data=pictures, chunks=(1, 20, 24, 3), fletcher32=True
        )
        place = array.id.get_chunk_info(2).byte_offset
    content = bytearray(source.read_bytes())
    content[place + 7] ^= 0xFF
    source.write_bytes(content)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 2
    assert "demo_2 is damaged (/data/demo_2/obs/agentview_image, step 2, cannot be read: " in report.skipped[0]


def test_attributes_and_masks_that_cannot_be_read_cost_only_themselves(source, tmp_path):
    with h5py.File(source, "a") as file:
        file["data"].attrs["env_args"] = "{"
        del file["mask/train"]
        file["mask/train/inner"] = np.zeros(3)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=20))
    assert report.num_episodes == 3
    assert [note.partition(" (")[0] for note in report.notes if "cannot be read" in note] == [
        "the attribute env_args is not carried over: it cannot be read",
        "mask 'train' is not carried over: it cannot be read",
    ]
    assert set(Dataset(tmp_path / "out.zarr").masks) == {"valid"}


def test_pictures_in_floats_and_16_bits_keep_what_they_show(source, tmp_path):
    with h5py.File(source, "a") as file:
        for name, length in LENGTHS.items():
            del file[f"data/{name}/obs/agentview_image"]
            shade = np.full((length, 3, 20, 24), 0.2 if name != "demo_10" else 0.6, np.float32)
            shade[:, 0, 0, 0] = 1.0 if name != "demo_10" else 1.7
            file[f"data/{name}/obs/agentview_image"] = shade
            file[f"data/{name}/obs/wrist_depth"] = np.full((length, 20, 24, 1), 40_000, np.uint16)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.features["observation.images.agentview"].shape == (20, 24, 3)
    assert dataset.image("observation.images.agentview", 0)[5, 5].tolist() == [51, 51, 51]
    assert dataset.image("observation.images.agentview", 0)[0, 0].tolist() == [255, 51, 51]
    assert (dataset.image("observation.depth.wrist_depth", 0) == 40_000).all()
    assert report.skipped[0].startswith(
        f"{source}: demo_10: step 0: obs/agentview_image holds 1.7, outside 0 to 1; --range obs/agentview_image="
    )


def test_names_kinds_and_features_can_be_chosen(source, tmp_path):
    options = ConvertOptions(
        kinds={"next.reward": "event"}, names={"obs/robot0_eef_pos": ["x", "y", "z"]}, drop=["next.done"]
    )
    with pytest.raises(ConfigError, match="--kind next.reward: Unknown kind 'event'"):  # those are streams
        convert_dataset(source, tmp_path / "out.zarr", options)
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(names=options.names, drop=options.drop))
    found = Dataset(tmp_path / "out.zarr").features
    assert found["observation.robot0_eef_pos"].names == ("x", "y", "z")
    assert "next.done" not in found


def test_what_is_no_array_of_steps_is_named_and_costs_no_demonstration(source, tmp_path):
    with h5py.File(source, "a") as file:
        for name in LENGTHS:
            file[f"data/{name}/obs/intrinsics"] = np.eye(3)
            file[f"data/{name}/score"] = 3.0
            file[f"data/{name}/action_dict/rel_pos"] = np.ones((LENGTHS[name], 3))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 3
    assert report.notes[1:3] == (
        "not carried over, because they are no arrays of steps: action_dict, score",
        "obs/intrinsics is not carried over: it does not have a row for each step",
    )


OSC = {
    "type": "OSC_POSE", "input_max": 1, "input_min": -1, "output_max": [0.05] * 3 + [0.5] * 3,
    "output_min": [-0.05] * 3 + [-0.5] * 3, "kp": 150, "damping_ratio": 1, "impedance_mode": "fixed",
    "control_delta": True,
}  # fmt: skip
NEW_OSC = {k: v for k, v in OSC.items() if k != "control_delta"} | {"input_type": "delta", "input_ref_frame": "base"}


def with_controller(source, config, robots=("Panda",)):
    with h5py.File(source, "a") as file:
        env = json.loads(file["data"].attrs["env_args"])
        env["env_kwargs"] |= {"controller_configs": config, "robots": list(robots)}
        file["data"].attrs["env_args"] = json.dumps(env)
    return source


@pytest.mark.parametrize(
    ("config", "frame", "reference"),
    [
        (OSC, "world", "current"),
        ({"type": "BASIC", "body_parts": {"right": NEW_OSC}}, "base", "current"),
        ({"type": "BASIC", "body_parts": {"arms": {"right": NEW_OSC}}}, "base", "current"),
        ([{**OSC, "goal_update_mode": "desired"}], "world", "target"),
    ],
)
def test_actions_of_a_controller_that_the_file_describes_have_its_layout(source, tmp_path, config, frame, reference):
    convert_dataset(with_controller(source, config), tmp_path / "out.zarr", ConvertOptions())
    layout = Dataset(tmp_path / "out.zarr").features["action"].layout
    dialect = Dialect.parse("robosuite")
    pose, gripper = layout.parts
    assert (pose.frame, pose.reference, pose.rotation, pose.limit) == (frame, reference, "axis_angle", (-1.0, 1.0))
    assert pose.scale == (dialect.position_scale,) * 3 + (dialect.rotation_scale,) * 3 and pose.offset is None
    assert (gripper.scale, gripper.offset) == ((dialect.gripper_scale,), (dialect.gripper_offset,))
    assert layout.robots == (("", "panda"),)


@pytest.mark.parametrize(
    ("config", "robots"),
    [
        ({**OSC, "type": "JOINT_POSITION"}, ("Panda",)),
        ({**OSC, "control_delta": False}, ("Panda",)),
        ({**OSC, "impedance_mode": "variable"}, ("Panda",)),
        ({k: v for k, v in OSC.items() if k != "output_min"}, ("Panda",)),
        ({**OSC, "output_max": [0.05] * 5}, ("Panda",)),
        ({**OSC, "input_max": 0, "input_min": 0}, ("Panda",)),
        ({**OSC, "input_ref_frame": "tool"}, ("Panda",)),
        (OSC, ("Panda", "Panda")),
        ("OSC_POSE", ("Panda",)),
        (None, ("Panda",)),
    ],
)  # fmt: skip
def test_what_a_file_does_not_say_for_certain_is_not_guessed(source, tmp_path, config, robots):
    convert_dataset(with_controller(source, config, robots), tmp_path / "out.zarr", ConvertOptions())
    action = Dataset(tmp_path / "out.zarr").features["action"]
    assert action.layout is None and action.names is None


def test_other_names_that_the_user_gives_are_another_meaning(source, tmp_path):
    names = {"action": [f"a{k}" for k in range(7)]}
    convert_dataset(with_controller(source, OSC), tmp_path / "out.zarr", ConvertOptions(names=names))
    action = Dataset(tmp_path / "out.zarr").features["action"]
    assert action.names == tuple(names["action"]) and action.layout is None
