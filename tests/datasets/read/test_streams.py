"""Streams at their own rates, read back: one episode of 4 steps, one of 2, a joint stream, a camera and events."""

import pickle

import numpy as np
import pytest

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "observation.images.front"
FEATURES = features(
    [
        Feature("observation.state", (2,), "float64", rate_hz=20),
        Feature(CAMERA, (24, 32, 3), "uint8", "image", rate_hz=10),
        Feature("button", (1,), "int64", "event"),
    ]
)


def episode(world, steps: int, first: int) -> EpisodeData:
    """10 Hz grid; joints at 20 Hz with their own clock; the camera misses the second frame; one event."""
    grid = np.arange(steps) / 10
    joints = np.arange(2 * steps) / 20
    seen = np.delete(np.arange(steps), 1)
    frames = [JpegCodec().encode(world.image(first + k)) for k in seen]
    counts = {"rate_hz": 10.0, "expected": steps, "received": steps - 1, "dropped": 1, "late": 0, "spooled": 0}
    return EpisodeData(
        grid,
        {},
        record={"task": "press", "success": True},
        streams={
            "observation.state": StreamRows(
                joints,
                joints + 100,
                np.arange(2 * steps) + 7,
                np.stack([first + joints, -joints], axis=1),
                at_step=2 * np.arange(steps),
            ),
            CAMERA: StreamRows(
                grid[seen],
                np.full(steps - 1, np.nan),
                seen,
                frames=frames,
                at_step=np.maximum.accumulate(np.searchsorted(seen, np.arange(steps), side="right") - 1),
                counts=counts,
            ),
            "button": StreamRows(grid[:1] + 0.01, np.full(1, np.nan), np.zeros(1), np.array([[first]])),
        },
    )


@pytest.fixture
def recorded(tmp_path, world):
    path = tmp_path / "streams.zarr"
    given = [episode(world, 4, 0), episode(world, 2, 50)]
    with DatasetWriter.create(path, FEATURES, 10, recorded="streams") as writer:
        for data in given:
            writer.write_episode(data)
    return path, given


def test_streams_are_read_at_their_own_rates(recorded):
    path, (first, second) = recorded
    dataset = Dataset(path)
    assert list(dataset.streams) == list(FEATURES)
    joints = dataset.stream("observation.state")
    assert len(joints) == 12
    assert joints.episode_ends.tolist() == [8, 12]
    assert joints.episode_slice(1) == slice(8, 12)
    for name in ("timestamp", "device_time", "sequence", "values"):
        expected = np.concatenate([getattr(data.streams["observation.state"], name) for data in (first, second)])
        assert (getattr(joints, name) == expected).all()
    assert joints.at_step.tolist() == [0, 2, 4, 6, 8, 10]
    assert dataset.stream("button").values[:, 0].tolist() == [0, 50]
    assert dataset.stream("button").at_step is None


def test_the_grid_shows_the_row_that_at_step_names(recorded):
    path, _ = recorded
    dataset = Dataset(path)
    assert list(dataset.features) == ["observation.state", CAMERA]  # events are on no grid
    joints, camera = dataset.stream("observation.state"), dataset.stream(CAMERA)
    assert (dataset.array("observation.state") == joints.values[joints.at_step]).all()
    assert camera.at_step.tolist() == [0, 0, 1, 2, 3, 3]  # the second step of each episode repeats the first
    for step, row in enumerate(camera.at_step):
        assert dataset.encoded(CAMERA, step) == camera.encoded(row)
        assert (dataset.image(CAMERA, step) == camera.image(row)).all()


def test_what_was_written_is_read_back_as_an_episode(recorded):
    path, given = recorded
    for index, data in enumerate(given):
        found = Dataset(path).read_episode(index)
        assert (found.timestamps == data.timestamps).all()
        assert found.record["task"] == "press"
        for name, rows in data.streams.items():
            again = found.streams[name]
            for part in ("timestamp", "device_time", "sequence", "values", "at_step"):
                expected, value = getattr(rows, part), getattr(again, part)
                assert value is None if expected is None else np.array_equal(value, expected, equal_nan=True)
            assert (again.frames is None) == (rows.frames is None)
            assert list(again.frames or []) == list(rows.frames or [])
            assert again.counts.items() >= rows.counts.items()


def test_an_episode_read_from_one_dataset_can_be_written_to_another(recorded, tmp_path):
    path, _ = recorded
    source = Dataset(path)
    with DatasetWriter.create(tmp_path / "copy.zarr", FEATURES, 10, recorded="streams") as writer:
        for index in range(2):
            writer.write_episode(source.read_episode(index))
    copy = Dataset(tmp_path / "copy.zarr")
    assert copy.checksum() == source.checksum()
    assert copy.stream(CAMERA).counts == source.stream(CAMERA).counts


def test_counts_of_every_episode_are_kept(recorded):
    camera = Dataset(recorded[0]).stream(CAMERA)
    assert [counts["dropped"] for counts in camera.counts] == [1, 1]
    assert [counts["received"] for counts in camera.counts] == [3, 1]


@pytest.mark.parametrize("part", ["values", "timestamp", "device_time", "sequence", "at_step"])
def test_a_flipped_bit_in_a_stream_names_file_and_episode(recorded, part):
    """Rows 8 and later of the joints are of episode 1, and so are steps 4 and later of the grid."""
    path, _ = recorded
    name = "value" if part == "values" else part
    file = path / "streams/observation.state" / name / ("0.0" if name == "value" else "0")
    data = bytearray(file.read_bytes())
    row_bytes = 16 if name == "value" else 8
    data[(5 if name == "at_step" else 9) * row_bytes] ^= 1
    file.write_bytes(data)
    stream = Dataset(path).stream("observation.state")
    with pytest.raises(DatasetError, match=rf"streams/observation.state/{name}: episode 1 \(") as caught:
        getattr(stream, part)
    stream.read_episode(0)
    with pytest.raises(DatasetError) as partly:
        stream.read_episode(1)
    with pytest.raises(DatasetError) as verified:
        Dataset(path).verify_episode(1)
    assert str(partly.value) == str(caught.value) == str(verified.value)


def test_a_flipped_bit_in_an_image_of_a_stream_names_its_file(recorded):
    path, _ = recorded
    file = path / "streams" / CAMERA / "value/3.0.0.0"
    data = bytearray(file.read_bytes())
    data[400] ^= 1
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=r"value/3\.0\.0\.0: this image of episode 1"):
        Dataset(path).stream(CAMERA).image(3)


def test_ends_that_contradict_the_rows_are_refused(recorded):
    path, _ = recorded
    file = path / "streams/observation.state/episode_ends/0"
    ends = np.frombuffer(file.read_bytes(), "<i8").copy()
    for wrong, message in [([9, 12], "episode_ends: episode 0"), ([8, 13], "does not rise to the number of rows, 12")]:
        ends[:2] = wrong
        file.write_bytes(ends.tobytes())
        with pytest.raises(DatasetError, match=message):
            Dataset(path).stream("observation.state").episode_slice(0)


def test_wrong_questions_to_streams_are_explained(recorded, make_dataset):
    dataset = Dataset(recorded[0])
    with pytest.raises(FeatureError, match=r"Unknown stream 'buton'. Did you mean 'button'\?"):
        dataset.stream("buton")
    with pytest.raises(FeatureError, match=r"holds encoded images; read them with image\(\)"):
        dataset.stream(CAMERA).values  # noqa: B018
    with pytest.raises(FeatureError, match=r"is not of images; read it with \.values"):
        dataset.stream("button").image(0)
    with pytest.raises(DatasetError, match="no episode 2; it has 2"):
        dataset.stream("button").episode_slice(2)
    by_step = Dataset(make_dataset(2))
    assert by_step.streams == {}
    with pytest.raises(FeatureError, match="Unknown stream"):
        by_step.stream("action")


def test_streams_survive_pickling(recorded):
    stream = pickle.loads(pickle.dumps(Dataset(recorded[0]))).stream("observation.state")
    assert len(stream.values) == 12
