"""Import of robosuite's human demonstrations: relabelled actions by formula, content, and damaged sources."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("robosuite") is None:
    pytest.skip("robosuite is not installed", allow_module_level=True)
pytest.importorskip("h5py", reason="h5py is not installed")

import h5py

from robolearn.core.errors import DatasetError
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from robolearn.datasets.convert.engine import convert_dataset as convert
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.run.replay import replay_dataset
from robolearn.sim import make_env
from robolearn.sim.adapters import robosuite_demos
from robolearn.sim.adapters.robosuite import RobosuiteEnv
from robolearn.sim.adapters.robosuite_demos import describe, detect
from robolearn.sim.adapters.robosuite_targets import LEAD_STEPS, DeltaControl, relabel
from robolearn.sim.rendering import choose_backend

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("ROBOLEARN_SHARED_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
CONTROL = DeltaControl(np.array([0.05, 0.05, 0.05, 0.5, 0.5, 0.5]), in_base=False)
CONFIG = {
    "type": "OSC_POSE", "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5], "impedance_mode": "fixed",
    "control_delta": True,
}  # fmt: skip
MODEL = (
    '<mujoco><worldbody><body><geom name="cube_g0" type="box" size="0.021 0.022 0.023"/></body></worldbody></mujoco>'
)


def states_of(steps: int, seed: int = 0) -> np.ndarray:
    """(T, 10) poses: random positions and rotations, gripper half open."""
    rng = np.random.default_rng(seed)
    rotations = matrix_to_rot6d(axis_angle_to_matrix(rng.normal(size=(steps, 3))))
    return np.concatenate([rng.uniform(-0.5, 0.5, (steps, 3)), rotations, np.full((steps, 1), 0.5)], axis=1)


def test_a_position_increment_moves_the_target_by_its_scale():
    states = states_of(3)
    raw = np.array([[1.0, 0, 0, 0, 0, 0, -1], [0, -0.5, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0, -1]])
    targets = relabel(states, raw, CONTROL, np.eye(3)[None], 10)
    moves = targets[:, :3] - states[:, :3]
    np.testing.assert_allclose(moves, [[0.05, 0, 0], [0, -0.025, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(targets[:, 3:9], states[:, 3:9], atol=1e-6)


def test_increments_beyond_one_are_clipped_as_the_controller_does():
    states = states_of(1)
    targets = relabel(states, np.array([[3.75, -3.75, 0, 0, 0, 0, 1.0]]), CONTROL, np.eye(3)[None], 10)
    np.testing.assert_allclose(targets[0, :3] - states[0, :3], [0.05, -0.05, 0], atol=1e-6)


def test_a_rotation_increment_turns_about_the_axes_of_the_world():
    states = states_of(1)
    targets = relabel(states, np.array([[0, 0, 0, 0, 0, 1.0, 1.0]]), CONTROL, np.eye(3)[None], 10)
    turn = axis_angle_to_matrix(np.array([0, 0, 0.5]))
    np.testing.assert_allclose(rot6d_to_matrix(targets[0, 3:9]), turn @ rot6d_to_matrix(states[0, 3:9]), atol=1e-6)


def test_increments_along_the_world_are_expressed_in_a_turned_base():
    # the base's x axis is the world's y axis, so a move along the world's y is one along the base's x
    base = axis_angle_to_matrix(np.array([0, 0, np.pi / 2]))
    states = states_of(1)
    targets = relabel(states, np.array([[0, 1.0, 0, 0, 0, 0, 1.0]]), CONTROL, base[None], 10)
    np.testing.assert_allclose(targets[0, :3] - states[0, :3], [0.05, 0, 0], atol=1e-6)


def test_increments_along_the_base_are_not_turned():
    base = axis_angle_to_matrix(np.array([0, 0, np.pi / 2]))
    states = states_of(1)
    control = DeltaControl(CONTROL.scale, in_base=True)
    targets = relabel(states, np.array([[0, 1.0, 0, 0, 0, 0, 1.0]]), control, base[None], 10)
    np.testing.assert_allclose(targets[0, :3] - states[0, :3], [0, 0.05, 0], atol=1e-6)


def test_gripper_commands_become_openings():
    raw = np.zeros((3, 7))
    raw[:, 6] = [-1, 1, 0]
    assert relabel(states_of(3), raw, CONTROL, np.eye(3)[None], 10)[:, 9].tolist() == [1.0, 0.0, 0.5]


def test_two_arms_are_relabelled_each_in_its_own_base():
    states = np.concatenate([states_of(2, 0), states_of(2, 1)], axis=1)
    raw = np.random.default_rng(2).uniform(-1, 1, (2, 14))
    bases = axis_angle_to_matrix(np.array([[0, 0, 0.7], [0, 0, -2.0]]))
    both = relabel(states, raw, CONTROL, bases, 10)
    for arm in range(2):
        alone = relabel(states[:, 10 * arm :][:, :10], raw[:, 7 * arm :][:, :7], CONTROL, bases[arm : arm + 1], 10)
        np.testing.assert_array_equal(both[:, 10 * arm : 10 * arm + 10], alone)


def test_other_controllers_get_later_poses():
    states = states_of(6)
    targets = relabel(states, np.zeros((6, 7)), None, np.eye(3)[None], 10)
    expected = states[[min(k + LEAD_STEPS, 5) for k in range(6)], :9]
    np.testing.assert_allclose(targets[:, :9], expected, atol=1e-6)


@pytest.fixture(scope="module")
def lift() -> Iterator[RobosuiteEnv]:
    env = make_env("robosuite/Lift")
    yield env
    env.close()


@pytest.fixture(scope="module")
def lift_states(lift) -> np.ndarray:
    """(4, 32): the arm at rest; in the last state the cube hangs in the air, which is what success looks like."""
    lift.reset(options={"init_state": 0})
    states = np.repeat(lift.sim_state()[None], 4, axis=0)
    states[:, 0] = 0.052 + 0.05 * np.arange(4)
    states[3, 12] += 0.2
    return states


@pytest.fixture
def write_demo(tmp_path, lift_states) -> Callable[..., Path]:
    def write(states=lift_states, robots="Panda", task="Lift", config=CONFIG, model=MODEL, actions=None) -> Path:
        path = tmp_path / "demo.hdf5"
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs["env"] = task
            data.attrs["repository_version"] = "1.4.0"
            data.attrs["env_info"] = json.dumps({"robots": robots, "controller_configs": config})
            for k in (10, 2):  # as text, demo_10 sorts before demo_2
                demo = data.create_group(f"demo_{k}")
                demo.attrs["model_file"] = model
                demo["states"] = states
                demo["actions"] = np.full((len(states), 7), k / 100) if actions is None else actions
        return path

    return write


def test_content_of_an_imported_demonstration(write_demo, tmp_path, lift_states):
    source = write_demo()
    assert detect_format(source) == detect_format(source.parent) == "robosuite_hdf5"
    report = convert(source, tmp_path / "out.zarr", ConvertOptions())
    assert (report.num_episodes, report.num_steps) == (2, 8)
    assert report.notes == (
        "not compared with the source, which does not hold it: observation.state, observation.joint_position, "
        "observation.environment_state (computed again in the simulator from the recorded states)",
        "not compared with the source, which does not hold it: action (the target that the recorded state and action "
        "stand for)",
    )
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.fps == 20.0
    np.testing.assert_array_equal(dataset.sim_states(1), lift_states)
    np.testing.assert_allclose(dataset.timestamps[:4], [0, 0.05, 0.10, 0.15], atol=1e-9)
    np.testing.assert_allclose(dataset.array("action_original")[:, 0], [0.02] * 4 + [0.1] * 4, rtol=1e-6)
    moved = dataset.array("action")[:, :3] - dataset.array("observation.state")[:, :3]
    np.testing.assert_allclose(moved[:4], 0.001, atol=1e-6)
    episode = dataset.episodes[0]
    assert episode["source_episode"] == "demo_2"
    assert (episode["success"], episode["success_step"], episode["operator"]) == (True, 3, "human")
    assert episode["task"] == "lift the cube"
    assert episode["reset_options"]["geoms"] == {"cube_g0": {"type": "box", "size": "0.021 0.022 0.023"}}
    assert dataset.sim_model(0) == MODEL
    assert dataset.sim_env["name"] == "robosuite/Lift"
    assert "observation.images.agentview" not in dataset.features


@pytest.mark.parametrize("what", ["states", "times", "episode"])
def test_a_sabotaged_playback_is_caught(write_demo, tmp_path, monkeypatch, what):
    read = robosuite_demos.DemoSource.read_episode

    def sabotaged(self, index, spool):
        episode = read(self, 1 - index if what == "episode" else index, spool)
        if what == "states":
            episode.sim_states = episode.sim_states + 1e-9
        elif what == "times":
            episode.timestamps = episode.timestamps + 0.05
        return episode

    monkeypatch.setattr(robosuite_demos.DemoSource, "read_episode", sabotaged)
    said = {"states": "'sim/state' would be stored", "times": r"step 0 would be stored at 0\.05 s, by its source"}
    with pytest.raises(DatasetError, match=said.get(what, "'action_original' would be stored")):
        convert(write_demo(), tmp_path / "out.zarr", ConvertOptions())


def test_other_arrays_of_steps_are_carried_along(write_demo, tmp_path):
    source = write_demo()
    torques = np.arange(28, dtype=np.float64).reshape(4, 7)
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            demo["joint_torques"] = torques
        file["data/demo_2/only_here"] = np.zeros(4)
    report = convert(source, tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    np.testing.assert_array_equal(dataset.array("source.joint_torques")[4:], torques)
    assert report.notes[0] == "not carried over: only_here"
    assert dataset.attributes["metadata"]["env_args"]["robots"] == "Panda"


def test_describe_tells_what_the_source_holds(write_demo):
    description = describe(write_demo())
    assert (description.num_episodes, description.num_steps, description.fps) == (2, 8, 20.0)
    assert description.features["states"].shape == (32,)
    assert description.tasks == ("lift the cube",)


def test_cameras_are_rendered_when_asked_for(write_demo, tmp_path):
    if choose_backend().backend is None:
        pytest.skip("nothing here can render")
    options = ConvertOptions(cameras=("frontview",), image_size=32, max_episodes=1)
    convert(write_demo(), tmp_path / "out.zarr", options)
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.num_episodes == 1
    first, last = (dataset.image("observation.images.frontview", k).astype(int) for k in (0, 3))
    assert first.shape == (32, 32, 3)
    assert np.abs(first - last).max() > 50, "the cube is somewhere else"


def test_a_demonstration_without_its_model_is_imported_with_a_note(write_demo, tmp_path):
    report = convert(write_demo(model="model_1.xml"), tmp_path / "out.zarr", ConvertOptions(max_episodes=1))
    assert "2 of 2 demonstrations come without the model" in report.notes[0]
    assert Dataset(tmp_path / "out.zarr").sim_model(0).startswith("<")


def test_another_controller_is_noted(write_demo, tmp_path):
    source = write_demo(config={"type": "JOINT_VELOCITY"})
    report = convert(source, tmp_path / "out.zarr", ConvertOptions(max_episodes=1))
    assert "not OSC_POSE" in report.notes[0]
    assert Dataset(tmp_path / "out.zarr").episodes[0]["action_label"] == "pose 4 steps later"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robots": "Sawyer"}, "recorded with Sawyer; only Panda"),
        ({"states": np.zeros((4, 9))}, r"expected 32 numbers a state"),
        ({"actions": np.zeros((3, 7))}, "as many actions"),
        ({"model": "<mujoco>"}, "not valid xml"),
        ({"states": np.zeros(4), "actions": np.zeros((4, 7))}, "expected \\(steps, numbers\\)"),
    ],
)
def test_a_source_that_does_not_fit_is_explained(write_demo, tmp_path, changes, words):
    with pytest.raises(DatasetError, match=words):
        convert(write_demo(**changes), tmp_path / "out.zarr", ConvertOptions())


def test_a_robomimic_file_can_be_played_back_too(write_demo, tmp_path, lift_states):
    """Its observations are computed again; its filter keys become masks."""
    source = write_demo()
    with h5py.File(source, "a") as file:
        data = file["data"]
        del data.attrs["env"], data.attrs["env_info"]
        arguments = {"robots": ["Panda"], "controller_configs": CONFIG, "control_freq": 20}
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": arguments})
        for demo in data.values():
            demo["obs/robot0_eef_pos"] = np.zeros((len(lift_states), 3))
        file["mask/train"] = np.array(["demo_10"], dtype="S")
    assert detect_format(source) == "robomimic_hdf5"
    report = convert(source, tmp_path / "out.zarr", ConvertOptions(), "robosuite_hdf5")
    dataset = Dataset(tmp_path / "out.zarr")
    np.testing.assert_array_equal(dataset.sim_states(0), lift_states)
    assert dataset.mask("train").tolist() == [False, True]
    assert report.notes[0] == "not carried over: obs"


def test_a_truncated_file_is_explained(write_demo, tmp_path):
    source = write_demo()
    source.write_bytes(source.read_bytes()[:3000])
    assert not detect(source)
    with pytest.raises(DatasetError, match="damaged or truncated HDF5 file"):
        convert(source, tmp_path / "out.zarr", ConvertOptions(), "robosuite_hdf5")


def test_detect_refuses_other_things_without_raising(tmp_path):
    text = tmp_path / "demo.hdf5"
    text.write_text("not hdf5")
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["observations"] = np.zeros(3)
    assert [detect(p) for p in (text, other, tmp_path, tmp_path / "missing")] == [False] * 4


def test_a_human_lift_reaches_success_by_states_and_by_relabelled_actions(tmp_path):
    source = SHARED / "robosuite_demos" / "lift3"
    if not source.is_dir():
        pytest.skip(f"{source} is not here")
    convert(source, tmp_path / "lift.zarr", ConvertOptions(max_episodes=1))
    (replay,) = replay_dataset(tmp_path / "lift.zarr")
    assert replay.steps == 482
    assert replay.recorded_success
    assert replay.states.success
    assert replay.states.deviation == 0.0
    assert replay.actions.success
    assert replay.actions.deviation < 0.1


def test_a_file_of_robosuite_0_is_called_so_and_told_what_to_do(tmp_path):
    path = tmp_path / "demo.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["repository_version"], data.attrs["env"] = "0.3.0", "SawyerPickPlaceCan"
        for key in ("states", "jvels", "gripper_actuations"):
            data[f"demo_1/{key}"] = np.zeros((4, 7))
    with pytest.raises(DatasetError) as caught:
        convert(path, tmp_path / "out.zarr", ConvertOptions())
    message = str(caught.value)
    assert (
        "was recorded with robosuite 0.3.0 (SawyerPickPlaceCan): it holds gripper_actuations, jvels, states" in message
    )
    assert "convert_roboturk_pilot.py" in message
    assert "copy it again" not in message


@pytest.mark.parametrize("damage", ["states", "group"])
def test_a_broken_first_demonstration_costs_only_itself(write_demo, tmp_path, damage):
    source = write_demo()
    with h5py.File(source, "a") as file:
        if damage == "group":
            del file["data/demo_2"]
            file["data/demo_2"] = np.zeros(3)
        else:
            del file[f"data/demo_2/{damage}"]
    assert detect_format(source) == "robosuite_hdf5"
    assert describe(source).num_episodes == 1
    report = convert(source, tmp_path / "out.zarr", ConvertOptions())
    assert report.num_episodes == 1
    assert re.search(r"demo_2 (is missing|.*damaged)|of demo_2 is missing or damaged", report.skipped[0])
