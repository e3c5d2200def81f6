"""kill -9 at random moments of recording, over and over on the same dataset, with real processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fault_injection.worlds import ACTION, CAMERA, RATES_HZ, STATE, signals, value
from robolearn.core.clock import MonotonicClock
from robolearn.datasets.checks.survey import holds_dataset
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import open_store
from robolearn.datasets.repair.run import repair
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

# what a child acknowledges in shared memory: episodes committed; number, steps and last time of the one in progress
COMMITTED, EPISODE, STEPS, TIME_S = range(4)


@dataclass
class Toll:
    """What the kills cost.

    Attributes:
        kills: so far.
        lost: committed episodes that are gone or damaged; each is a line.
        pending: unfinished episodes that were there to be salvaged.
        lost_s: for each of those, acknowledged seconds that were not salvaged.
    """

    kills: int = 0
    lost: list[str] = field(default_factory=list)
    pending: int = 0
    lost_s: list[float] = field(default_factory=list)


def record_steps_forever(path: str, acks: Any) -> None:
    """Child: short episodes one after the other; every fifth is discarded."""
    rounds = 0
    with _open(Path(path), "steps") as writer:
        while True:
            episode = writer.num_episodes
            acks[STEPS], acks[TIME_S] = 0, -1
            acks[EPISODE] = episode
            writer.start_episode()
            for step in range(4 + episode % 9):
                writer.append(0.1 * step, {name: value(name, episode, step) for name in signals()})
                acks[STEPS], acks[TIME_S] = step + 1, 0.1 * step
            discard, rounds = rounds % 5 == 4, rounds + 1
            if discard:
                acks[STEPS] = 0
                writer.discard()
            else:
                writer.commit({"number": episode})
                acks[COMMITTED] = writer.num_episodes


def record_streams_forever(path: str, acks: Any) -> None:
    """Child: three streams at their rates in real time, an episode every 0.7 s."""
    clock = MonotonicClock()
    with _open(Path(path), "streams") as writer:
        recorder = StreamRecorder(writer, clock)
        while True:
            episode, done = writer.num_episodes, dict.fromkeys(RATES_HZ, 0)
            acks[STEPS], acks[TIME_S] = 0, -1
            acks[EPISODE] = episode
            recorder.start_episode()
            start_s = clock.now()
            while (elapsed_s := clock.now() - start_s) < 0.7:
                for name in (STATE, ACTION, CAMERA):
                    while done[name] / RATES_HZ[name] <= elapsed_s:
                        host_s = start_s + done[name] / RATES_HZ[name]
                        recorder.add(name, value(name, episode, done[name]), host_time_s=host_s)
                        done[name] += 1
                acks[STEPS], acks[TIME_S] = min(done.values()), elapsed_s
                time.sleep(0.002)
            recorder.commit({"number": episode})
            acks[COMMITTED] = writer.num_episodes


def _open(path: Path, recorded: Any) -> DatasetWriter:
    if holds_dataset(open_store(path)):
        return DatasetWriter.append_to(path)
    return DatasetWriter.create(path, signals(recorded == "streams"), fps=10, recorded=recorded)


def kill_once(path: Path, child: Callable[[str, Any], None], delay_s: float, toll: Toll) -> None:
    """Start a child, kill it `delay_s` after it began to record, and look at what is left; then repair."""
    context = multiprocessing.get_context("fork")
    acks = context.RawArray("d", [0, -1, 0, -1])
    before = Dataset(path).num_episodes if holds_dataset(open_store(path)) else 0
    acks[COMMITTED] = before
    process = context.Process(target=child, args=(str(path), acks), daemon=True)
    process.start()
    deadline = time.monotonic() + 20
    while acks[EPISODE] < 0 and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay_s)
    assert process.pid is not None
    if not process.is_alive():
        toll.lost.append(f"the child ended by itself with {process.exitcode}")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    toll.kills += 1
    committed, episode, steps, time_s = (acks[i] for i in range(4))
    dataset = Dataset(path)
    if dataset.num_episodes < committed:
        toll.lost.append(f"{dataset.num_episodes} episodes of {committed:.0f} that were committed")
    _verify(dataset, before, toll)
    actions = repair(path)
    after = Dataset(path)
    if after.masks.get("quarantine") is not None:
        toll.lost.append(f"repair found broken episodes: {[a.line() for a in actions]}")
    in_progress = episode >= dataset.num_episodes and steps > 0  # else its commit went through, or nothing was given
    if in_progress:
        toll.pending += 1
        saved_s = after.timestamps[-1] if after.num_episodes > dataset.num_episodes else 0.0
        toll.lost_s.append(max(0.0, float(time_s - saved_s)))
    _verify(after, dataset.num_episodes, toll)


def _verify(dataset: Dataset, first: int, toll: Toll) -> None:
    """Checksums, and the values of step recordings, of the episodes from `first` on."""
    for episode in range(first, dataset.num_episodes):
        try:
            dataset.verify_episode(episode)
        except Exception as error:
            toll.lost.append(str(error))
            continue
        if dataset.attributes.get("recorded") != "streams":
            rows = dataset.array(STATE)[dataset.episode_slice(episode)]
            if not np.array_equal(rows, [value(STATE, episode, step) for step in range(len(rows))]):
                toll.lost.append(f"episode {episode} holds other values than were recorded")


def kill_many(
    folder: Path, steps: int, streams: int, seed: int = 0, progress: Callable[[], None] | None = None
) -> Toll:
    """`steps` kills of a step recording and `streams` of a stream recording, each on one dataset all the time."""
    rng, toll = np.random.default_rng(seed), Toll()
    for name, count, child, longest_s in (
        ("steps.zarr", steps, record_steps_forever, 0.25),
        ("streams.zarr", streams, record_streams_forever, 1.5),
    ):
        for _ in range(count):
            kill_once(folder / name, child, float(rng.uniform(0, longest_s)), toll)
            if progress:
                progress()
        if count:
            _verify(Dataset(folder / name), 0, toll)
    return toll
