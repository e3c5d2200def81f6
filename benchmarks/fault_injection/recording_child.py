"""A recording process for the power cut: `python recording_child.py steps|streams DATASET ACKS EPISODES`.

It makes the dataset, records, discards once, closes and goes on with `append_to` half way, and writes a line to ACKS
after each commit has returned.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fault_injection.worlds import RATES_HZ, record_steps, signals, value
from robolearn.core.clock import VirtualClock
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter


def main(kind: str, dataset: str, acks: str, episodes: int) -> None:
    streams, path = kind == "streams", Path(dataset)
    told = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = DatasetWriter.create(path, signals(streams), fps=20, recorded="streams" if streams else "steps")
    for episode in range(episodes):
        if episode == episodes // 2:
            writer.close()
            writer = DatasetWriter.append_to(path)
        for kept in (False, True) if episode == 1 else (True,):
            if streams:
                record_streams(writer, episode, kept)
                continue
            record_steps(writer, episode, 6)
            writer.commit({"task": "cut"}) if kept else writer.discard()
        os.write(told, f"{writer.num_episodes}\n".encode())
    writer.close()


def record_streams(writer: DatasetWriter, episode: int, kept: bool) -> None:
    clock = VirtualClock()
    recorder = StreamRecorder(writer, clock)
    recorder.start_episode()
    for name, rate_hz in RATES_HZ.items():
        for sample in range(int(0.3 * rate_hz)):
            recorder.add(name, value(name, episode, sample), host_time_s=sample / rate_hz)
    clock.advance(0.3)
    recorder.commit({"task": "cut"}) if kept else recorder.discard()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
