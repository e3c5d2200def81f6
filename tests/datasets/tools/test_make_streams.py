"""merge and drop of datasets that hold streams."""

import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.drop import drop
from robolearn.datasets.tools.merge import merge
from robolearn.datasets.tools.split import split
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parent))
from counting_datasets import checksums


def stream_episode(first):
    """Force at 20 Hz, a camera at 10 Hz, a button; aligned at 10 Hz."""
    jpeg = [np.full((8, 8, 3), 10 * (first + k), np.uint8) for k in range(4)]
    force = np.arange(8, dtype=np.float32)[:, None] + first
    rows = {
        "observation.force": StreamRows(
            np.arange(8) / 20, np.full(8, np.nan), np.arange(8), force, at_step=np.array([0, 2, 4, 6])
        ),
        "observation.images.top": StreamRows(
            np.arange(4) / 10, np.arange(4) / 10 + 100, np.arange(4), frames=jpeg, at_step=np.arange(4)
        ),
        "button": StreamRows(np.array([0.12]), np.array([np.nan]), np.array([0]), np.array([[first]], np.int32)),
    }
    return rows


@pytest.fixture
def stream_dataset(tmp_path):
    found = features(
        [
            Feature("observation.force", (1,), rate_hz=20.0),
            Feature("observation.images.top", (8, 8, 3), "uint8", "image", rate_hz=10.0),
            Feature("button", (1,), "int32", "event"),
        ]
    )
    path = tmp_path / "streams.zarr"
    with DatasetWriter.create(path, found, 10, recorded="streams", image_codec="png") as writer:
        for first in (0, 10):
            rows = stream_episode(first)
            camera = rows["observation.images.top"]
            camera.frames = [writer.codec("observation.images.top").encode(image) for image in camera.frames]
            rows["observation.force"].counts = {"received": 8, "dropped": 1}
            writer.write_episode(EpisodeData(np.arange(4) / 10, {}, streams=rows))
    return path


def test_streams_are_carried_over_row_by_row(stream_dataset, tmp_path):
    parent = Dataset(stream_dataset)
    split(parent, tmp_path / "parts", {"a": [1], "b": [0]}, {})
    merge([Dataset(tmp_path / "parts" / name) for name in ("b.zarr", "a.zarr")], tmp_path / "m.zarr")
    made = Dataset(tmp_path / "m.zarr")
    assert made.attributes["recorded"] == "streams"
    assert made.streams == parent.streams
    assert checksums(made) == checksums(parent)
    for name in parent.streams:
        ours, theirs = made.stream(name), parent.stream(name)
        assert np.array_equal(ours.timestamp, theirs.timestamp)
        assert np.array_equal(ours.device_time, theirs.device_time, equal_nan=True)
        assert ours.at_step is None if theirs.at_step is None else np.array_equal(ours.at_step, theirs.at_step)
    assert made.stream("observation.force").counts[1]["dropped"] == 1
    assert made.checksum() == parent.checksum()


def test_a_stream_can_be_dropped(stream_dataset, tmp_path):
    drop(Dataset(stream_dataset), tmp_path / "d.zarr", features=["observation.images.top", "button"])
    made = Dataset(tmp_path / "d.zarr")
    assert list(made.features) == list(made.streams) == ["observation.force"]
    made.verify_episode(1)


def test_streams_and_steps_merge_on_the_grid(stream_dataset, tmp_path):
    steps = tmp_path / "steps.zarr"
    with DatasetWriter.create(steps, features([Feature("observation.force", (1,))]), 10) as writer:
        writer.write_episode(EpisodeData(np.zeros(1), {"observation.force": np.ones((1, 1), np.float32)}))
    parents = [Dataset(stream_dataset), Dataset(steps)]
    with pytest.raises((DatasetError, FeatureError), match="--common"):
        merge(parents, tmp_path / "m.zarr")
    report = merge(parents, tmp_path / "m.zarr", common=True)
    assert not any("no observation" in note for note in report.notes)
    made = Dataset(tmp_path / "m.zarr")
    assert not made.streams
    assert made.array("observation.force").ravel().tolist() == [0, 2, 4, 6, 10, 12, 14, 16, 1]


def test_rates_are_compared_where_both_are_streams(stream_dataset, tmp_path):
    parent, force = Dataset(stream_dataset), Feature("observation.force", (1,), rate_hz=25.0)
    rest = [feature for name, feature in parent.streams.items() if name != force.name]
    other = tmp_path / "other.zarr"
    DatasetWriter.create(other, features([force, *rest]), 10, recorded="streams").close()
    with pytest.raises(FeatureError, match="'observation.force' has rate_hz 25.0 in .*other.zarr, 20.0 in"):
        merge([parent, Dataset(other)], tmp_path / "m.zarr")
