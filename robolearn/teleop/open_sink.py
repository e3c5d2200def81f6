"""The sink that fits what is driven: for the steps of a scene and its simulator model, or the devices of a robot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from robolearn.core.provenance import provenance
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.teleop.dataset import open_writer, store_scene
from robolearn.teleop.sink import EpisodeSink, StepSink
from robolearn.teleop.station import Station, StationConfig
from robolearn.teleop.streaming import StreamSink


@contextmanager
def open_sink(path: Path, station: Station, config: StationConfig) -> Iterator[EpisodeSink]:
    """Open the dataset at `path` for what the station drives, and close it again. Raises like `open_writer`."""
    target = station.target
    described = {
        "env": config.env, "robot": config.robot, "operator": station.device.name, "provenance": provenance()
    }  # fmt: skip
    with ExitStack() as stack:
        if target.robot is not None:
            writer = stack.enter_context(open_writer(path, target, station.rate_hz, described, "streams"))
            streams = StreamRecorder(writer, station.clock, tell=station.status.say)
            stack.callback(streams.close)
            sink = StreamSink(target.robot, streams)
            stack.callback(sink.end)
            yield sink
            return
        writer = stack.enter_context(open_writer(path, target, station.rate_hz, described))
        if target.env is not None:
            store_scene(writer, target.env, str(config.env), config.cameras, config.image_size)
        yield StepSink(writer)
