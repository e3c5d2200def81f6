"""`StreamRecorder`: record every stream at its own rate, from any number of device threads.

    recorder.start_episode()
    recorder.add("observation.state", state)                                    # thread of the arm, 1 kHz
    recorder.add("observation.images.front", image, device_time_s=t, sequence=n) # thread of the camera, 30 Hz
    recorder.counts()                                                            # for the operator
    recorder.commit({"task": ...})                                               # or discard()

`add` checks the sample, stamps it and puts it in memory; it waits neither for the disk nor for an encoder. One thread
writes rows to the journal every few milliseconds, worker threads encode frames (`EncoderPool`), and one thread has the
file system flushed about once a second. So kill -9 costs some tens of milliseconds of rows and the frames that were
waiting for an encoder; a power cut about a second.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from robolearn.core.clock import Clock, MonotonicClock
from robolearn.core.errors import DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature
from robolearn.core.provenance import wall_time
from robolearn.datasets.format import layout
from robolearn.datasets.format.alignment import Pause
from robolearn.datasets.write.commit import checked_facts
from robolearn.datasets.write.durable import explain_os_errors, sync_file_system
from robolearn.datasets.write.encoders import EncoderPool, Frame
from robolearn.datasets.write.stream_counts import Counter, StreamCounts
from robolearn.datasets.write.stream_journal import NUMBERED, RecordedStreams, StreamJournal, pack_sample, sealed
from robolearn.datasets.write.writer import DatasetWriter

LOG = logging.getLogger(__name__)

WRITE_EVERY_S = 0.015
FLUSH_EVERY_S = 1.0
AHEAD_S = 1.0  # a host time further in the future than this is on another clock
FREE_SPACE = "What came before is kept; free space, then go on or save."


class _Stream:
    """One stream of the episode being recorded: what has not reached its file yet, and what has been counted."""

    def __init__(self, feature: Feature):
        self.feature = feature
        self.counter = Counter(None if layout.is_event(feature) else feature.rate_hz)
        self.lock = threading.Lock()
        self.rows: deque[bytes] = deque()  # of a low-dimensional stream, sealed
        self.frames: deque[Frame] = deque()  # of an encoded stream, in their order


class StreamRecorder:
    """Records episodes into a dataset that was made with `recorded="streams"`.

    Args:
        writer: the open dataset.
        clock: of the host; times given to `add` are on it.
        encoders: threads that encode frames.
        queue_bytes: pixels that may wait for an encoder; what comes beyond is spooled to disk raw.
        tell: called with one line for the operator when the encoders cannot keep up, once an episode and stream;
            logged when not given.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        clock: Clock | None = None,
        *,
        encoders: int = 2,
        queue_bytes: int = 32 * 2**20,
        tell: Callable[[str], None] = LOG.warning,
    ):
        if writer.recorded != "streams":
            raise DatasetError(f"{writer.path} is recorded step by step; make it with recorded='streams', or append().")
        self._writer = writer
        self._clock = clock or MonotonicClock()
        self._encoders = encoders
        self._queue_bytes = queue_bytes
        self._tell = tell
        self._journal: StreamJournal | None = None
        self._pool: EncoderPool | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._streams: dict[str, _Stream] = {}
        self._told: set[str] = set()
        self._accepting = False
        self._failure: OSError | None = None
        self._start_s = 0.0
        self._resumed_s = 0.0
        self._paused_s: float | None = None
        self._pauses: list[Pause] = []
        self._started_at: str | None = None
        self._facts: layout.Json = {}

    @property
    def num_episodes(self) -> int:
        """Committed episodes of the dataset."""
        return self._writer.num_episodes

    @property
    def recording(self) -> bool:
        """Whether samples are taken now."""
        return self._accepting

    def start_episode(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Begin an episode: its time 0 is now.

        Args:
            metadata: what is known of it already, see `DatasetWriter.start_episode`.

        Raises DatasetError when one is pending, the metadata cannot be stored, or files cannot be made.
        """
        if self._journal is not None:
            raise DatasetError("An episode is being recorded already; commit or discard it first.")
        writer = self._writer
        self._facts = checked_facts(metadata)
        self._started_at = wall_time()
        with explain_os_errors("Starting the episode", "Free space and try again."):
            header = writer.journal_header(self._started_at, self._facts)
            self._journal = StreamJournal(writer.path / layout.PENDING, writer.features, header)
        writer.active_journal = self._journal.path
        self._streams = {name: _Stream(feature) for name, feature in writer.features.items()}
        codecs = {name: writer.codec(name) for name, f in writer.features.items() if layout.is_encoded(f)}
        self._told, self._failure = set(), None
        self._pool = EncoderPool(
            self._journal, writer.features, codecs, self._encoders, self._queue_bytes, self._spooled
        )
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write_rows, name="journal", daemon=True)]
        if writer.durable:
            self._threads.append(threading.Thread(target=self._flush, name="flusher", daemon=True))
        for thread in self._threads:
            thread.start()
        self._start_s = self._clock.now()
        self._resumed_s, self._paused_s, self._pauses = 0.0, None, []
        self._accepting = True

    def pause(self) -> None:
        """Record nothing until `resume`. Does nothing when no episode is being recorded, or when it is paused."""
        if self._accepting:
            self._stop_accepting()
            self._paused_s = self._clock.now() - self._start_s

    def resume(self) -> None:
        """Go on after `pause`, else do nothing. The pause is no gap to `counts`, and the grid has no steps in it.

        Raises DatasetError when it cannot be noted on disk; recording is still paused then.
        """
        if self._paused_s is None or self._journal is None:
            return
        now_s = self._clock.now() - self._start_s
        pause = (self._paused_s, now_s - self._paused_s)
        with explain_os_errors("Going on with the episode", FREE_SPACE):
            self._journal.append_pause(pause)
        self._pauses.append(pause)
        for stream in self._streams.values():
            stream.counter.pause(pause[1])
        self._resumed_s, self._paused_s = now_s, None
        self._accepting = True

    def add(
        self,
        name: str,
        value: Any,
        host_time_s: float | None = None,
        device_time_s: float | None = None,
        sequence: int | None = None,
    ) -> bool:
        """Take a sample, from any thread. It is copied.

        Args:
            name: of the stream.
            value: of its feature's shape.
            host_time_s: when it was taken, on the recorder's clock; now, if not given.
            device_time_s: when it was taken, on the device's clock, which may step.
            sequence: the device's own number of the sample, by which missing ones are counted.

        Returns whether it was recorded: it is not between episodes and in pauses, by the time it was taken.
        Raises FeatureError naming the stream for a value, a time or a number that is wrong, and DatasetError when the
        disk does not take what has come. What came before is kept either way, and the next sample is welcome.
        """
        stream = self._streams.get(name)
        if stream is None:
            if name in self._writer.features:
                return False
            raise FeatureError(unknown_name("stream", name, self._writer.features))
        if not self._accepting:
            return False
        encoded = name in self._pool_histograms
        array = stream.feature.check(value, "a sample")
        device_s = _finite(name, "device_time_s", device_time_s)
        with stream.lock:
            if not self._accepting:
                return False
            self._raise_failure()
            now_s = self._clock.now()
            time_s = (now_s if host_time_s is None else _finite(name, "host_time_s", host_time_s)) - self._start_s
            counter = stream.counter
            if time_s < self._resumed_s:
                return False
            if counter.received and time_s <= counter.last_s:
                raise FeatureError(
                    f"Stream {name!r}: a sample at {time_s:.6f} s of the episode does not come after the one before, "
                    f"at {counter.last_s:.6f} s; expected host times that rise."
                )
            if time_s > now_s - self._start_s + AHEAD_S:
                raise FeatureError(
                    f"Stream {name!r}: a sample was taken {time_s + self._start_s - now_s:.1f} s in the future; "
                    "expected a host_time_s of the recorder's clock (monotonic, not the wall clock)."
                )
            number = counter.received if sequence is None else int(sequence)
            sample = (time_s, device_s, number, 0 if sequence is None else NUMBERED)
            if encoded:
                frame = Frame(name, counter.received, sample, array.copy())
                assert self._pool is not None
                self._pool.submit(frame)
                stream.frames.append(frame)
            else:
                stream.rows.append(sealed(pack_sample(*sample) + array.tobytes()))
            counter.add(time_s, sequence, device_time_s)
        return True

    def counts(self) -> dict[str, StreamCounts]:
        """Of the episode being recorded, or of the one before when there is none."""
        counters = {name: stream.counter for name, stream in self._streams.items()}
        heard = [c for name, c in counters.items() if c.received and not layout.is_event(self._streams[name].feature)]
        start_s, end_s = min((c.first_s for c in heard), default=0.0), max((c.last_s for c in heard), default=0.0)
        return {name: counter.counts(start_s, end_s) for name, counter in counters.items()}

    def commit(self, metadata: Mapping[str, Any]) -> int:
        """Save the episode, see `DatasetWriter.commit`; returns its index.

        Raises DatasetError when a stream brought nothing, the metadata cannot be stored or the disk is full; the
        episode is then still pending, and `commit` or `discard` can be called.
        """
        journal, pool, writer = self._journal, self._pool, self._writer
        if journal is None or pool is None:
            raise DatasetError("There is no episode to commit; record one first.")
        self._stop_accepting()
        self._paused_s = None
        with explain_os_errors("Saving the episode", "It is kept in pending/; free space and save again."):
            pool.finish()
            self._end_threads()
            self._drain()
        before = writer.num_episodes
        try:
            recorded = RecordedStreams(journal, self.counts(), pool.histograms, self._pauses)
            pauses = {"pauses": [list(pause) for pause in self._pauses]} if self._pauses else {}
            facts = {"started_at": self._started_at, **self._facts, **pauses, **metadata}
            return writer.commit_new(recorded, facts, writer.sim_model)
        finally:
            if writer.num_episodes > before:  # also when an interrupt came right after the commit point
                self._end_episode(remove=True)

    def discard(self) -> None:
        """Throw away the episode being recorded. Does nothing when there is none."""
        self._end_episode(remove=True)

    def close(self) -> None:
        """Stop; an episode that was not saved stays in the dataset's `pending/`."""
        self._end_episode(remove=False)

    def __enter__(self) -> StreamRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _pool_histograms(self) -> Mapping[str, np.ndarray]:
        return self._pool.histograms if self._pool else {}

    def _raise_failure(self) -> None:
        failure = self._failure or (self._pool.failure if self._pool else None)
        if isinstance(failure, OSError):
            with explain_os_errors("Recording", FREE_SPACE):
                raise failure
        if failure is not None:
            raise failure

    def _stop_accepting(self) -> None:
        """When it returns, no `add` is under way that would still be recorded."""
        self._accepting = False
        for stream in self._streams.values():
            with stream.lock:
                pass

    def _end_threads(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _end_episode(self, remove: bool) -> None:
        if self._journal is None or self._pool is None:
            return
        self._stop_accepting()
        self._pool.stop()
        self._end_threads()
        if remove:
            self._journal.remove()
        else:
            try:
                try:
                    self._pool.spool_rest()
                finally:
                    self._drain()
            except OSError as error:
                LOG.warning("The newest samples of the episode in %s are lost: %s.", self._journal.path, error.strerror)
            self._journal.close()
        self._journal = self._writer.active_journal = self._paused_s = None

    def _spooled(self, name: str) -> None:
        self._streams[name].counter.spooled += 1
        if name not in self._told:
            self._told.add(name)
            self._tell(
                f"{name}: encoding cannot keep up, so frames go to disk raw and are encoded later; nothing is lost, "
                "but saving takes longer. Use fewer cameras, a lower rate or more cores."
            )

    def _write_rows(self) -> None:
        while not self._stop.wait(WRITE_EVERY_S):
            try:
                self._drain()
            except OSError as error:
                self._failure = error  # rows stay in memory and are tried again
            else:
                self._failure = None

    def _drain(self) -> None:
        """Write the rows that have come, up to the first frame that is not on disk yet."""
        journal, pool = self._journal, self._pool
        assert journal is not None and pool is not None
        for name, stream in self._streams.items():
            with stream.lock:
                rows, frames = list(stream.rows), list(stream.frames)
            if rows:
                journal.append_rows(name, rows)
                for _ in rows:
                    stream.rows.popleft()
            with pool.lock:
                ready = list(itertools.takewhile(lambda frame: frame.data is not None, frames))
                if ready:
                    journal.append_rows(name, [frame.data or b"" for frame in ready])
                for frame in ready:
                    frame.written = True
                    stream.frames.popleft()

    def _flush(self) -> None:
        while not self._stop.wait(FLUSH_EVERY_S):
            try:
                sync_file_system(self._writer.path)
            except OSError as error:
                LOG.warning("%s: flushing to disk failed: %s; check the disk.", self._writer.path, error.strerror)


def _finite(name: str, field: str, value: float | None) -> float:
    """`value`, NaN for None. Raises FeatureError for what is not a finite number."""
    if value is None:
        return math.nan
    if not math.isfinite(value):
        raise FeatureError(f"Stream {name!r}: {field} is {value}, expected seconds.")
    return float(value)
