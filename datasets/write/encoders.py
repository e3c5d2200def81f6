"""Frames on their way to disk: encoded by worker threads, or spooled raw when those cannot keep up. None is dropped.

Encoding releases Python's lock, so two threads use two cores. What waits is bounded in bytes and in time: a new frame
beyond `queue_bytes`, and one that has waited for `OVERDUE_S`, is written to the journal as raw pixels by a thread of
its own, which is quicker than encoding it, and is encoded when the workers have time, at the latest when the episode is
saved. So kill -9 costs about the last half second, however slow the encoders are.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Features
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.statistics import BINS, SAMPLED_FRAMES, image_channels, pixel_histogram
from robolearn.datasets.write.durable import write_file
from robolearn.datasets.write.stream_journal import (
    SPOOLED,
    StreamJournal,
    pack_frame,
    pack_sample,
    read_raw,
    sealed,
    write_raw,
)

RETRY_S = 0.1
OVERDUE_S = 0.5
BUFFER_RATIO = 4  # memory for frames that wait for the spool, as a multiple of that for frames that wait for an encoder


@dataclass(eq=False)
class Frame:
    """One frame of one stream.

    Attributes:
        row: its number in the stream of this episode.
        sample: times, number and flags, for `pack_sample`.
        image: None once it is on disk.
        data: whole row, sealed; None until the frame is on disk, encoded or raw.
        written: whether the row is in the journal's file.
        submitted_s: when it was handed over, on the monotonic clock.
    """

    stream: str
    row: int
    sample: tuple[float, float, int, int]
    image: np.ndarray | None
    data: bytes | None = None
    written: bool = False
    submitted_s: float = 0.0


class EncoderPool:
    """Encodes the frames of one episode.

    Attributes:
        histograms: of sampled pixels, stream -> `(C, 256)`.
        failure: why files cannot be written at present, or None. Writing is tried again and again.
        lock: guards `Frame.data` and `Frame.written`.

    Args:
        journal: where frames go.
        workers: encoding threads.
        queue_bytes: pixels that may wait for a worker.
        on_spool: called with a stream's name, by the spooling thread, for every frame that it writes raw.
    """

    def __init__(
        self,
        journal: StreamJournal,
        features: Features,
        codecs: Mapping[str, ImageCodec],
        workers: int,
        queue_bytes: int,
        on_spool: Callable[[str], None],
    ):
        self._journal = journal
        self._features = features
        self._codecs = codecs
        self._queue_bytes = queue_bytes
        self._on_spool = on_spool
        self.histograms = {name: np.zeros((image_channels(features[name]), BINS), np.uint32) for name in codecs}
        self.failure: OSError | DatasetError | None = None
        self.lock = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[Frame] = deque()
        self._to_spool: deque[Frame] = deque()
        self._spooled: deque[Frame] = deque()
        self._bytes = {"encoder": 0, "spool": 0}
        self._unfinished = 0
        self._stopped = False
        jobs = [(f"encoder-{n}", self._encode_next) for n in range(workers)] + [("spooler", self._spool_next)]
        self._threads = [
            threading.Thread(target=self._run, args=(job,), name=name, daemon=True) for name, job in jobs if codecs
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, frame: Frame) -> None:
        """Hand over a frame; returns at once. Raises DatasetError when neither encoders nor disk have kept up."""
        assert frame.image is not None
        size = frame.image.nbytes
        with self._changed:
            if self._bytes["encoder"] + size <= self._queue_bytes or not self._waiting:
                way, queue = "encoder", self._waiting
            elif self._bytes["spool"] + size <= BUFFER_RATIO * self._queue_bytes:
                way, queue = "spool", self._to_spool
            else:
                held = sum(self._bytes.values()) / 2**20
                raise DatasetError(
                    f"Stream {frame.stream!r}: a frame is lost: {held:.0f} MiB of frames wait for the disk already; "
                    "use a faster disk, fewer cameras or a lower rate."
                )
            self._bytes[way] += size
            self._unfinished += 1
            frame.submitted_s = time.monotonic()
            queue.append(frame)
            self._changed.notify_all()

    def finish(self) -> None:
        """Return when every frame is encoded and on disk. Raises OSError when one cannot be written now."""
        with self._changed:
            self.failure = None
            self._changed.notify_all()
            while self._unfinished and self.failure is None:
                self._changed.wait()
            if self.failure is not None:
                raise self.failure

    def stop(self) -> None:
        """End the threads; frames that have not been written still wait in memory."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def spool_rest(self) -> None:
        """After `stop`: write the frames that still wait as raw pixels. Raises OSError."""
        for queue in (self._waiting, self._to_spool):
            while queue:
                if queue[0].data is None:
                    self._spool(queue[0])
                queue.popleft()

    def _run(self, job: Callable[[], None]) -> None:
        while not self._stopped:
            job()

    def _take(self, choose: Callable[[], deque[Frame]]) -> tuple[Frame | None, deque[Frame]]:
        """The next frame of the queue that `choose` names, and the queue; None when the pool was stopped."""
        with self._changed:
            while not self._stopped:
                queue = choose()
                if queue:
                    return queue.popleft(), queue
                self._changed.wait(OVERDUE_S / 2)
            return None, choose()

    def _encode_next(self) -> None:
        frame, _ = self._take(lambda: self._waiting or self._spooled)
        if frame is not None and self._persistently(self._encode, frame):
            self._done(frame, "encoder", finished=True)
        elif frame is not None:
            self._waiting.appendleft(frame)

    def _spool_next(self) -> None:
        frame, queue = self._take(lambda: self._waiting if self._is_overdue() else self._to_spool)
        if frame is not None and self._persistently(self._spool, frame):
            self._done(frame, "encoder" if queue is self._waiting else "spool", finished=False)
            self._on_spool(frame.stream)
        elif frame is not None:
            queue.appendleft(frame)

    def _is_overdue(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._waiting[0].submitted_s > OVERDUE_S

    def _persistently(self, write: Callable[[Frame], None], frame: Frame) -> bool:
        """Try until it works. False when the pool was stopped before."""
        while not self._stopped:
            try:
                write(frame)
            except Exception as error:  # whatever it is, `finish` must not wait for ever
                if not isinstance(error, OSError | DatasetError):
                    reason = f"{type(error).__name__}: {error}"
                    error = DatasetError(f"Stream {frame.stream!r}: a frame cannot be encoded ({reason}).")
                with self._changed:
                    self.failure = error
                    self._changed.notify_all()
                    self._changed.wait(RETRY_S)
            else:
                self.failure = None
                return True
        return False

    def _done(self, frame: Frame, way: str, finished: bool) -> None:
        with self._changed:
            if frame.image is not None:
                self._bytes[way] -= frame.image.nbytes
                frame.image = None
            if finished:
                self._unfinished -= 1
            else:
                self._spooled.append(frame)
            self._changed.notify_all()

    def _encode(self, frame: Frame) -> None:
        name, image = frame.stream, frame.image
        raw = self._journal.raw_file(name, frame.row)
        if image is None:
            image = read_raw(raw, self._features[name])
        data = self._codecs[name].encode(image)
        write_file(self._journal.frame_file(name, frame.row), data)
        with self.lock:
            if frame.row % SAMPLED_FRAMES == 0 and frame.data is None:
                self._look_at(frame, image)
            frame.data = sealed(pack_sample(*frame.sample) + pack_frame(len(data), zlib.crc32(data)))
            if frame.written:
                self._journal.replace_row(name, frame.row, frame.data)
        if frame.image is None:
            os.unlink(raw)

    def _spool(self, frame: Frame) -> None:
        assert frame.image is not None
        write_raw(self._journal.raw_file(frame.stream, frame.row), frame.image)
        time_s, device_time_s, number, flags = frame.sample
        with self.lock:
            frame.sample = (time_s, device_time_s, number, flags | SPOOLED)
            if frame.row % SAMPLED_FRAMES == 0:
                self._look_at(frame, frame.image)
            frame.data = sealed(pack_sample(*frame.sample) + pack_frame(0, 0))

    def _look_at(self, frame: Frame, image: Any) -> None:
        self.histograms[frame.stream] += pixel_histogram(self._features[frame.stream], image)
