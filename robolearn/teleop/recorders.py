"""The recorder that fits what is driven: the steps of a scene with its simulator model, or the devices of a robot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from robolearn.core.provenance import provenance
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.sim.env import SimEnv
from robolearn.teleop.recording import EpisodeRecorder, StepRecorder, open_writer
from robolearn.teleop.station import Station, StationConfig
from robolearn.teleop.streaming import RobotRecorder


@contextmanager
def open_recorder(path: Path, station: Station, config: StationConfig) -> Iterator[EpisodeRecorder]:
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
            recorder = RobotRecorder(target.robot, streams)
            stack.callback(recorder.end)
            yield recorder
            return
        writer = stack.enter_context(open_writer(path, target, station.rate_hz, described))
        if target.env is not None:
            store_scene(writer, target.env, str(config.env), config.cameras, config.image_size)
        yield StepRecorder(writer)


def store_scene(writer: DatasetWriter, env: SimEnv, name: str, cameras: tuple[str, ...], image_size: int) -> None:
    """Keep what is needed to run or render the episodes of `env` again: its model, and how `make_env` made it.

    Raises DatasetError for a dataset of another scene, or of another version of it.
    """
    made_in = {
        "name": name, "scene_version": env.scene_version, "control_hz": env.control_hz, "cameras": list(cameras),
        "image_size": image_size,
    }  # fmt: skip
    writer.set_sim_model(env.model_xml(), made_in)
