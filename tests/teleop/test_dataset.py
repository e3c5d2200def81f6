"""What a dataset keeps of the scene that it was recorded in."""

from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.kinematics.robots.panda import MODEL as PANDA
from robolearn.sim import make_env
from robolearn.teleop.dataset import store_scene


def test_a_dataset_names_the_scene_and_the_model_of_each_of_its_robots(tmp_path):
    scene = make_env("put_on_plate", control_hz=25)
    action = features([Feature("action", (10,), "float32", "action")])
    with DatasetWriter.create(tmp_path / "d.zarr", action, 25.0, {}) as writer:
        store_scene(writer, scene, "put_on_plate", ("front",), 96)
    assert Dataset(tmp_path / "d.zarr").sim_env == {
        "name": "put_on_plate", "scene_version": "put_on_plate-1", "robots": {"panda": PANDA.version},
        "control_hz": 25.0, "cameras": ["front"], "image_size": 96,
        "mounts": [
            {"prefix": "", "robot": "panda", "position_m": [0.0, 0.0, 0.0], "quaternion": [1.0, 0.0, 0.0, 0.0]}
        ],
    }  # fmt: skip
