"""What cameras see, of a world whose distances are known: a box 0.3 m high on a plane, seen from 1.5 m above."""

import mujoco
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.sim import make_env
from robolearn.sim.observables.camera import Cameras
from robolearn.sim.observables.photograph import fitted, read_photograph

ABOVE = """
<mujoco><visual><map znear="0.05" zfar="50"/><quality offsamples="0"/></visual><statistic extent="1"/>
<worldbody><light pos="0 0 3"/><geom name="floor" type="plane" size="5 5 .1" rgba=".2 .2 .2 1"/>
<camera name="above" pos="0 0 1.5" fovy="90"/>
<body name="box" pos="0 0 0.15"><freejoint/><geom type="box" size=".3 .3 .15" rgba="1 0 0 1"/></body>
</worldbody></mujoco>
"""
SIZE = 60  # at the floor 1.5 m away the picture is 3 m wide: 50 mm a pixel; at the top of the box 40 mm


@pytest.fixture(scope="module")
def above():
    model = mujoco.MjModel.from_xml_string(ABOVE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    cameras = Cameras("a test", model, data, photographs={"above": np.full((30, 40, 3), 200, np.uint8)})
    try:
        cameras.depth("above", SIZE, SIZE)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    yield cameras
    cameras.close()


def test_distances_are_millimetres_along_the_optical_axis(above):
    depth = above.depth("above", SIZE, SIZE)
    assert depth.dtype == np.uint16 and depth.shape == (SIZE, SIZE)
    assert depth[0, 0] == pytest.approx(1500, abs=2), "not along the ray, which would be 2.6 m"
    assert depth[30, 30] == pytest.approx(1200, abs=2)
    assert (depth < 1300).sum() == pytest.approx((0.6 / 0.04) ** 2, rel=0.15)


def test_a_segmentation_tells_which_thing_is_where(above):
    found = above.segmentation("above", SIZE, SIZE)
    assert above.labels == ("nothing", "floor", "box")
    assert found.shape == (SIZE, SIZE, 1) and found.dtype == np.uint8
    assert found[30, 30, 0] == 2 and found[0, 0, 0] == 1
    assert np.array_equal(found[..., 0] == 2, above.depth("above", SIZE, SIZE) < 1499)


def test_things_are_drawn_over_the_photograph_and_the_world_is_not(above):
    picture, box = above.picture("above", SIZE, SIZE), above.segmentation("above", SIZE, SIZE)[..., 0] == 2
    assert (picture[~box] == 200).all()
    assert (picture[box][:, 0] > 2 * picture[box][:, 1].astype(int)).all(), "the box is red"


def test_a_photograph_is_cut_to_the_shape_of_the_picture(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 90
    assert (fitted(wide, 5, 5) == 90).all()
    with pytest.raises(ConfigError, match=r"none.png is no picture that can be read"):
        read_photograph(tmp_path / "none.png")
    with pytest.raises(ConfigError, match=r"uint8 array \(height, width, 3\)"):
        read_photograph(np.zeros((4, 4)))


def test_an_environment_gives_what_it_is_asked_for_over_a_photograph():
    photograph = np.zeros((48, 64, 3), np.uint8)
    photograph[..., 2] = 255
    options = {"image_size": 48, "cameras": ("front",)}
    env = make_env("put_on_plate", **options, depth=("wrist",), segmentation=("front",), overlay={"front": photograph})
    observation, _ = env.reset(options={"init_state": 0})
    assert list(env.observation_features)[3:] == [
        "observation.images.front", "observation.depth.wrist", "observation.segmentation.front"
    ]  # fmt: skip
    assert all(env.observation_space[name].contains(observation[name]) for name in env.observation_features)
    assert 50 < np.median(observation["observation.depth.wrist"]) < 1000
    labels = observation["observation.segmentation.front"][..., 0]
    seen = {env.labels[number] for number in np.unique(labels)}
    assert {"table", "bar", "plate", "panda"} <= seen
    behind = labels <= env.labels.index("wall")
    plain = make_env("put_on_plate", **options)
    usual = plain.reset(options={"init_state": 0})[0]["observation.images.front"]
    shown = observation["observation.images.front"]
    assert np.array_equal(shown[~behind], usual[~behind])
    assert (shown[behind] == (0, 0, 255)).all() and behind.mean() > 0.3
    env.close()
    plain.close()


def test_a_camera_that_is_not_there_is_named():
    for kind in ("cameras", "depth", "segmentation"):
        with pytest.raises(ConfigError, match="Unknown camera of the environment 'put_on_plate' 'frnt'"):
            make_env("put_on_plate", **{kind: ("frnt",)})
    with pytest.raises(ConfigError, match="'frnt'"):
        make_env("put_on_plate", overlay={"frnt": np.zeros((4, 4, 3), np.uint8)})


def test_numbers_of_things_are_recorded_without_loss_beside_pictures(tmp_path):
    env = make_env("put_on_plate", image_size=48, cameras=("front",), segmentation=("front",), depth=("front",))
    seen, _ = env.reset(options={"init_state": 0})
    names = [f"observation.{kind}.front" for kind in ("images", "segmentation", "depth")]
    with DatasetWriter.create(
        tmp_path / "d.zarr", {n: env.observation_features[n] for n in names}, 20.0, {}, image_codec="jpeg"
    ) as writer:
        writer.start_episode()
        for step in range(2):
            writer.append(0.05 * step, {name: seen[name] for name in names})
        writer.commit({})
    dataset = Dataset(tmp_path / "d.zarr")
    assert np.array_equal(dataset.image(names[1], 0).reshape(48, 48), seen[names[1]][..., 0])
    assert np.array_equal(dataset.image(names[2], 1), seen[names[2]])
    env.close()
