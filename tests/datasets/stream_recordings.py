"""A recording of small streams for the tests of datasets: state, action, a camera and a button."""

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.write.chunk_staging import RecordLog
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "observation.images.front"
STREAMS = features(
    [
        Feature("observation.state", (2,), rate_hz=100),
        Feature("action", (1,), kind="action", rate_hz=10),
        Feature(CAMERA, (24, 32, 3), "uint8", "image", rate_hz=20),
        Feature("button", (1,), "int64", "event"),
    ]
)


def create(path, **options):
    return DatasetWriter.create(path, STREAMS, 10, recorded="streams", durable=False, **options)


def feed(recorder, clock, world, seconds=1.0, dead_camera_after=None):
    """Samples of all devices at their rates, in the order of time, on a clock that is moved along."""
    start = clock.now()
    samples = [(k / 100, "observation.state", k) for k in range(round(100 * seconds))]
    samples += [(k / 10 + 0.001, "action", k) for k in range(round(10 * seconds))]
    last = seconds if dead_camera_after is None else dead_camera_after
    samples += [(k / 20 + 0.002, CAMERA, k) for k in range(round(20 * last))]
    samples += [(0.5, "button", 1)]
    for time_s, name, k in sorted(samples):
        clock.sleep_until(start + time_s)
        value = world.image(k) if name == CAMERA else np.full(STREAMS[name].shape, k)
        assert recorder.add(name, value, start + time_s, 100 + time_s, k if name != "button" else None)


def record_of(path):
    return RecordLog.read(path, Metadata.read(path)).last
