"""Two small datasets whose every value follows from the episode and the step: recorded by steps, and as streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robolearn.core.clock import VirtualClock
from robolearn.core.feature import Feature, Features, features
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

STATE, ACTION, CAMERA = "observation.state", "action", "observation.images.front"
RATES_HZ = {STATE: 200.0, ACTION: 20.0, CAMERA: 30.0}


def signals(rates: bool = False) -> Features:
    def rate(name: str) -> float | None:
        return RATES_HZ[name] if rates else None

    return features(
        [
            Feature(STATE, (3,), rate_hz=rate(STATE)),
            Feature(ACTION, (2,), kind="action", rate_hz=rate(ACTION)),
            Feature(CAMERA, (16, 16, 3), "uint8", "image", rate_hz=rate(CAMERA)),
        ]
    )


def value(name: str, episode: int, step: int) -> np.ndarray:
    """What a feature holds; no two steps of a dataset are alike."""
    if name == CAMERA:
        return np.random.default_rng([episode, step]).integers(0, 255, (16, 16, 3), np.uint8)
    return np.array([episode + 0.5, step, episode * 1000 + step][: 3 if name == STATE else 2], np.float32)


def record_steps(writer: DatasetWriter, episode: int, steps: int) -> None:
    writer.start_episode()
    for step in range(steps):
        writer.append(0.1 * step, {name: value(name, episode, step) for name in signals()})


def make_steps(path: Path, lengths: tuple[int, ...] = (12, 20, 7, 15, 9)) -> Path:
    with DatasetWriter.create(path, signals(), fps=10, durable=False) as writer:
        for episode, length in enumerate(lengths):
            record_steps(writer, episode, length)
            writer.commit({"task": f"task {episode}", "success": episode % 2 == 0})
    return path


def make_streams(path: Path, durations_s: tuple[float, ...] = (0.5, 0.7, 0.4)) -> Path:
    clock = VirtualClock()
    with DatasetWriter.create(path, signals(rates=True), fps=20, recorded="streams", durable=False) as writer:
        recorder = StreamRecorder(writer, clock)
        for episode, duration_s in enumerate(durations_s):
            recorder.start_episode()
            start_s, done = clock.now(), dict.fromkeys(RATES_HZ, 0)
            while clock.now() - start_s < duration_s:
                elapsed_s = clock.now() - start_s
                for name, rate_hz in RATES_HZ.items():
                    while done[name] / rate_hz <= elapsed_s + 1e-9:
                        host_s = start_s + done[name] / rate_hz
                        recorder.add(name, value(name, episode, done[name]), host_time_s=host_s, sequence=done[name])
                        done[name] += 1
                clock.advance(0.005)
            recorder.commit({"task": f"task {episode}", "success": True})
        recorder.close()
    return path
