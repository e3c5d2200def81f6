"""Episodes of a source, read and encoded in parallel, given in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import cast

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.failure import explained
from robolearn.core.interrupt import spared_children, stopped_in_order
from robolearn.core.process import die_with_parent, end_in_words
from robolearn.datasets.convert.check import EpisodeCheck, Seal
from robolearn.datasets.convert.frame_spool import FrameSpool, SpoolError
from robolearn.datasets.convert.protocol import Converter, ConvertOptions, EpisodeSource, PartialEpisode
from robolearn.datasets.convert.registry import load_converter
from robolearn.datasets.convert.witness import Witness
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.episode import EpisodeData


@dataclass
class Checked:
    """An episode that was read, and found to be what the source holds; notes say what is not as it was there."""

    episode: EpisodeData
    seal: Seal
    notes: tuple[str, ...] = ()


Outcome = Checked | DatasetError


@dataclass(frozen=True)
class ReadJob:
    """What a worker needs to know to read episodes.

    Attributes:
        format: name in the registry.
        frames: folder for the frames of episodes in flight.
        codecs: of the new dataset's images.
    """

    format: str
    source: Path
    options: ConvertOptions
    frames: Path
    codecs: Mapping[str, ImageCodec]

    def spool_file(self, index: int) -> Path:
        """Where the frames of an episode are until it is committed."""
        return self.frames / str(index)

    def reader(self, opened: EpisodeSource, witness: Witness) -> EpisodeReader:
        """Reads the episodes of a source that is open already, and so is its witness."""
        return EpisodeReader(
            self, opened, EpisodeCheck(witness, opened.features, opened.claims, self.codecs, opened.fps)
        )

    @contextlib.contextmanager
    def opened_reader(self) -> Iterator[EpisodeReader]:
        """Open the source, and its witness."""
        module: Converter = load_converter(self.format)
        with (
            contextlib.closing(module.open_source(self.source, self.options)) as opened,
            contextlib.closing(module.open_witness(self.source, self.options)) as witness,
        ):
            yield self.reader(opened, witness)


@dataclass(frozen=True)
class EpisodeReader:
    """Reads episodes and compares them with what the witness of the source says."""

    job: ReadJob
    opened: EpisodeSource
    check: EpisodeCheck

    def read(self, index: int) -> Outcome:
        """An episode, or what is wrong with it. Raises OSError when its frames cannot be spooled."""
        try:
            with FrameSpool(self.job.spool_file(index), self.job.codecs, self.opened.features) as spool:
                episode = self.opened.read_episode(index, spool)
            said = episode.notes if isinstance(episode, PartialEpisode) else ()
            return Checked(episode, self._checked(index, episode), (*said, *spool.notes))
        except (DatasetError, FeatureError) as error:
            return DatasetError(str(error))
        except MemoryError as error:
            return DatasetError(f"{self.job.source}: episode {index} needs more memory than there is ({error}).")
        except SpoolError as error:
            raise error.__cause__ or error from None

    def _checked(self, index: int, episode: EpisodeData) -> Seal:
        label = self.opened.label(index)
        cut = episode.cut if isinstance(episode, PartialEpisode) else 0
        try:
            return self.check(label, episode, cut)
        except (DatasetError, FeatureError) as error:
            raise DatasetError(f"{self.job.source}: episode {label}, compared with the source: {error}") from error


def read_in_order(
    job: ReadJob, opened: EpisodeSource, witness: Witness, indices: Sequence[int], workers: int
) -> Iterator[tuple[int, Outcome]]:
    """Episodes `indices` in this order, with as many processes; a single one is this, with what is open here.

    At most `workers + 1` episodes are read and not yet taken. Raises DatasetError when a process dies.
    """
    if workers == 1 or len(indices) < 2:
        reader = job.reader(opened, witness)
        for index in indices:
            yield index, reader.read(index)
        return
    # spawn: a forked copy of a process with threads (encoders, simulators) may hang
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        idle: list[Connection] = []
        pool: dict[Connection, multiprocessing.process.BaseProcess] = {}
        for _ in range(min(workers, len(indices))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(job, theirs), daemon=True)
            with spared_children():
                process.start()
            theirs.close()
            stack.callback(_stop, process, ours)
            pool[ours] = process
            idle.append(ours)
        done: dict[int, Outcome] = {}
        asked = 0
        for taken, index in enumerate(indices):
            while index not in done:
                while idle and asked < len(indices) and asked - taken <= workers:
                    connection = idle.pop()
                    with _explained(pool[connection]):
                        connection.send(indices[asked])
                    asked += 1
                for ready in wait([c for c in pool if c not in idle]):
                    answered = cast(Connection, ready)
                    number, outcome = _receive(answered, pool[answered])
                    done[number] = outcome
                    idle.append(answered)
            yield index, done.pop(index)


def _receive(connection: Connection, process: multiprocessing.process.BaseProcess) -> tuple[int, Outcome]:
    with _explained(process):
        number, outcome = connection.recv()
    if isinstance(outcome, BaseException) and not isinstance(outcome, DatasetError):
        raise outcome
    return number, outcome


@contextlib.contextmanager
def _explained(process: multiprocessing.process.BaseProcess) -> Iterator[None]:
    """Says in one line that a process has died, when talking to it fails."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        what = "if memory was short, use fewer --workers" if killed else "what it printed says why"
        raise DatasetError(f"A worker process ended ({end_in_words(process.exitcode)}); {what}.") from error


def _stop(process: multiprocessing.process.BaseProcess, connection: Connection) -> None:
    """An idle worker ends because its connection does; a busy one is interrupted."""
    connection.close()
    process.join(0.5)
    if process.is_alive():
        process.terminate()
        process.join(5.0)
    if process.is_alive():
        process.kill()
        process.join()


def _work(job: ReadJob, connection: Connection) -> None:
    """Read the episodes that are asked for until the other end closes."""
    die_with_parent()
    with stopped_in_order(), contextlib.ExitStack() as stack:  # nothing is left behind
        try:
            reader = stack.enter_context(job.opened_reader())
        except Exception as error:
            with contextlib.suppress(EOFError, OSError):
                connection.send((connection.recv(), _sendable(error)))
            return
        while True:
            try:
                index = connection.recv()
            except (EOFError, OSError):
                return
            try:
                outcome: Outcome | Exception = reader.read(index)
            except Exception as error:
                outcome = _sendable(error)
            connection.send((index, outcome))


def _sendable(error: Exception) -> Exception:
    """What the parent shall raise: a traceback is not sent along, so it is described here."""
    return error if isinstance(error, OSError) else explained(error)
