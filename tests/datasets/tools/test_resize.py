import numpy as np
import pytest

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.resize import distortion_notes, resize, scaled_intrinsics
from robolearn.datasets.write.writer import DatasetWriter

COLOUR = Feature("observation.images.top", (4, 6, 3), "uint8", "image")
DEPTH = Feature("observation.depth.top", (4, 6), "uint16", "depth")
GREY = Feature("observation.images.grey", (4, 6, 1), "uint8", "image")


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "d.zarr"
    metadata = {"cameras": {"top": {"width": 6, "height": 4, "fx": 3.0, "serial": "x"}}}
    with DatasetWriter.create(path, features([COLOUR, DEPTH, GREY]), 10, metadata, image_codec="png") as writer:
        writer.start_episode()
        for k in range(3):
            values = {f.name: rng.integers(0, 200, f.shape).astype(f.dtype) for f in (COLOUR, DEPTH, GREY)}
            writer.append(k / 10, values)
        writer.commit({})
    return Dataset(path)


def test_colour_shrinks_to_the_mean_of_an_area(dataset, tmp_path):
    made = Dataset(resize(dataset, tmp_path / "r.zarr", 2, 3).output)
    assert made.features[COLOUR.name].shape == (2, 3, 3)
    assert made.features[GREY.name].shape == (2, 3, 1)
    tiny = Dataset(resize(dataset, tmp_path / "t.zarr", 1, 2).output)
    for step in range(3):
        old = dataset.image(COLOUR.name, step).astype(float)
        assert np.abs(made.image(COLOUR.name, step) - old.reshape(2, 2, 3, 2, 3).mean((1, 3))).max() <= 0.5
        assert np.abs(tiny.image(COLOUR.name, step) - old.reshape(1, 4, 2, 3, 3).mean((1, 3))).max() <= 0.5


def test_depth_keeps_distances_that_were_measured(dataset, tmp_path):
    for size in ((2, 3), (8, 12)):
        made = Dataset(resize(dataset, tmp_path / f"r{size[0]}.zarr", *size).output)
        assert made.image(DEPTH.name, 0).shape == size
        assert set(made.image(DEPTH.name, 0).ravel()) <= set(dataset.image(DEPTH.name, 0).ravel())


def test_other_images_and_equal_sizes_keep_their_bytes(dataset, tmp_path):
    made = Dataset(resize(dataset, tmp_path / "r.zarr", 4, 6).output)
    assert made.checksum() == dataset.checksum()
    made = Dataset(resize(dataset, tmp_path / "s.zarr", 2, 3, names=[DEPTH.name]).output)
    assert made.encoded(COLOUR.name, 1) == dataset.encoded(COLOUR.name, 1)
    assert made.features[COLOUR.name] == COLOUR


def test_a_point_is_seen_at_the_same_place_of_the_scene(dataset, tmp_path):
    """A pinhole camera of half the size maps every point to the pixel that holds its old pixel."""
    matrix = np.array([[300.0, 0, 160.2], [0, 310.0, 119.5], [0, 0, 1]])
    metadata = {"cameras": {"top": {"intrinsics": matrix.tolist()}, "other": {"fx": 1.0}}, "robot": "arm"}
    image = Feature("observation.images.top", (240, 320, 3), "uint8", "image")
    scaled = scaled_intrinsics(metadata, {image.name: image}, 120, 80)
    point = np.array([0.3, -0.2, 2.0])
    old = (matrix @ point)[:2] / point[2]
    new = (np.array(scaled["cameras"]["top"]["intrinsics"]) @ point)[:2] / point[2]
    # a pixel covers a half each side of its whole number: (u + 0.5) / width is the place in the picture
    assert (new + 0.5) / (80, 120) == pytest.approx((old + 0.5) / (320, 240))
    assert scaled["cameras"]["other"] == {"fx": 1.0}
    made = Dataset(resize(dataset, tmp_path / "r.zarr", 2, 3).output)
    assert made.attributes["metadata"]["cameras"]["top"] == {"width": 3, "height": 2, "fx": 1.5, "serial": "x"}


def test_frames_of_a_stream_are_resized_too(tmp_path):
    path = tmp_path / "s.zarr"
    camera = Feature("observation.images.top", (4, 4, 3), "uint8", "image", rate_hz=20.0)
    with DatasetWriter.create(path, features([camera]), 10, recorded="streams", image_codec="png") as writer:
        frames = [writer.codec(camera.name).encode(np.full((4, 4, 3), k, np.uint8)) for k in range(3)]
        rows = StreamRows(np.arange(3) / 20, np.full(3, np.nan), np.arange(3), frames=frames, at_step=np.array([0, 2]))
        writer.write_episode(EpisodeData(np.array([0.0, 0.1]), {}, streams={camera.name: rows}))
    made = Dataset(resize(Dataset(path), tmp_path / "r.zarr", 2, 2).output)
    assert [made.stream(camera.name).image(k)[0, 0, 0] for k in range(3)] == [0, 1, 2]
    assert made.image(camera.name, 1).shape == (2, 2, 3)
    assert made.image(camera.name, 1)[0, 0, 0] == 2


def test_what_cannot_be_resized_is_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="1 to 16384 pixels"):
        resize(dataset, tmp_path / "r.zarr", 0, 3)
    with pytest.raises(FeatureError, match="Did you mean 'observation.images.top'"):
        resize(dataset, tmp_path / "r.zarr", 2, 3, names=["observation.images.tpo"])
    with DatasetWriter.create(tmp_path / "blind.zarr", features([Feature("action", (1,))]), 10) as writer:
        writer.write_episode(EpisodeData(np.zeros(1), {"action": np.zeros((1, 1), np.float32)}))
    with pytest.raises(FeatureError, match="has no images"):
        resize(Dataset(tmp_path / "blind.zarr"), tmp_path / "r.zarr", 2, 3)


def test_a_size_of_other_proportions_is_said_with_the_one_that_keeps_them(dataset, tmp_path):
    made = resize(dataset, tmp_path / "square.zarr", 4, 4, names=[COLOUR.name])
    assert made.notes == (
        "observation.images.top is squeezed in width: 4x6 is 1.5 times as wide as high, 4x4 1 times; --image-size 4x6 "
        "or 3x4 keeps the shape of things",
    )
    assert "is stretched in width" in resize(dataset, tmp_path / "wide.zarr", 2, 6).notes[0]


@pytest.mark.parametrize(("height", "width"), [(2, 3), (8, 12), (3, 5), (3, 4), (4, 6)])
def test_the_same_proportions_as_near_as_whole_pixels_come_need_no_note(height, width):
    assert distortion_notes({COLOUR.name: COLOUR}, height, width) == []
