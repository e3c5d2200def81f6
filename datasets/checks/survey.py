"""`Survey`: a dataset opened with everything tolerated that `Dataset` refuses, and every damage put down as a finding.

What the metadata, the records and the episode ends say is compared once, when the survey is made; the rows and
frames of an episode are read when a check asks for them, and forgotten with the episode.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Features
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.frames import FrameRoll, look_at
from robolearn.datasets.checks.rebuild import rebuild_metadata
from robolearn.datasets.checks.texts import parse_record, read_texts
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec, codec_from_config
from robolearn.datasets.format.layout import ArrayInfo, Json, Metadata
from robolearn.datasets.read.edits import EDITS, QUARANTINE, masks_of, scan_edits
from robolearn.datasets.read.store import LocalStore, Store

METADATA_CHECK, FILES_CHECK = "metadata", "files"


@dataclass
class Survey:
    """What is known of a dataset before any of its data is looked at.

    Attributes:
        store: where its files are.
        metadata: as it is in `.zmetadata`, or rebuilt from its copies.
        texts: the episode records as they are in their files; None where one cannot be read.
        records: the same parsed; None also where one is not a json object.
        steps: `(E, 2)` int64, first and last + 1 of the steps of each episode; -1 where nothing tells.
        quarantined: episodes that `repair` has set aside.
        damage: findings so far that no check has handed on.
        bad_files: what is wrong with files that cannot be used, by key.
        images: `all`, `sample` or `none`.
        rebuilt: whether `.zmetadata` could not be used.
    """

    store: Store
    metadata: Metadata
    images: str = "sample"
    texts: list[bytes | None] = field(default_factory=list)
    records: list[Json | None] = field(default_factory=list)
    steps: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    quarantined: frozenset[int] = frozenset()
    damage: list[Finding] = field(default_factory=list)
    bad_files: dict[str, str] = field(default_factory=dict)
    rebuilt: bool = False
    _instead: dict[str, np.ndarray] = field(default_factory=dict)
    _chunks: dict[str, tuple[int, np.ndarray | None]] = field(default_factory=dict)

    @classmethod
    def open(cls, store: Store, images: str = "sample") -> Survey:
        """Raises DatasetError when there is no dataset, or nothing that says what is in it."""
        damage = []
        try:
            metadata = Metadata.from_bytes(store.read(layout.METADATA), store.name)
        except DatasetError as error:
            if not holds_dataset(store):
                _explain(store)
            metadata = rebuild_metadata(store, error)
            told = str(error).replace(store.where(layout.METADATA), layout.METADATA)
            message = f"{told.partition('; restore')[0].rstrip('.')}; read from its copies instead"
            damage.append(Finding(severity="error", check=METADATA_CHECK, message=message, file=layout.METADATA))
        survey = cls(store, metadata, images, damage=damage, rebuilt=bool(damage))
        survey._read_records()
        survey._read_steps()
        edits, damaged = scan_edits(store)
        if (store.find(EDITS) or b"\n")[-1:] != b"\n":
            torn = "its last line has no end: an edit that was never acknowledged, or is lost"
            survey.damage.append(Finding(severity="warning", check=METADATA_CHECK, message=torn, file=EDITS))
        for line, reason in damaged.items():
            survey._note(METADATA_CHECK, EDITS, f"line {line} cannot be read ({reason}); its edit is lost")
        mask = masks_of(edits, survey.num_episodes).get(QUARANTINE)
        survey.quarantined = frozenset() if mask is None else frozenset(np.flatnonzero(mask).tolist())
        return survey

    def _note(self, check: str, file: str, message: str) -> None:
        self.damage.append(Finding(severity="error", check=check, message=message, file=file))

    def _read_records(self) -> None:
        info = self.metadata.arrays[layout.EPISODES]
        self.texts, problems = read_texts(self.store, info)
        for file, message in problems:
            self._note(FILES_CHECK, file, message)
        for episode, text in enumerate(self.texts):
            self.records.append(parse_record(text))
            if text is not None and self.records[-1] is None:
                file = f"{layout.EPISODES}/{info.chunk_name(episode // info.chunk_rows)}"
                self.damage.append(
                    Finding(
                        severity="error",
                        check=FILES_CHECK,
                        message="its record is not the one that was written",
                        file=file,
                        episode=episode,
                    )
                )
        if None not in self.records and not self.records_are_proven:
            message = "the episode records do not have the checksum of those that were written"
            self._note("checksum", layout.EPISODES, message)

    @property
    def records_are_proven(self) -> bool:
        """Whether the records are those that were written, to the byte."""
        crc = 0
        for text in self.texts:
            crc = zlib.crc32(text or b"", crc)
        return None not in self.texts and crc == self.metadata.attributes.get("records_crc32", 0)

    def _read_steps(self) -> None:
        """Bounds of the episodes: the records', which have a checksum; where one is lost, the ends'."""
        count, total = self.num_episodes, self.metadata.num_steps
        ends, whole = self.rows(layout.EPISODE_ENDS, slice(0, count))
        self.steps = np.full((count, 2), -1, np.int64)
        by_ends = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1) if count else self.steps
        rising = (by_ends[:, 0] < by_ends[:, 1]) & (by_ends[:, 0] >= 0) & (by_ends[:, 1] <= total)
        file = f"{layout.EPISODE_ENDS}/*"
        for episode, record in enumerate(self.records):
            told = _told_steps(record, total)
            self.steps[episode] = told if told else by_ends[episode] if whole[episode] and rising[episode] else -1
            if whole[episode] and told and tuple(by_ends[episode]) != told:
                said = f"{by_ends[episode, 0]} to {by_ends[episode, 1]}"
                message = f"the ends say steps {said}, the record {told[0]} to {told[1]}"
                self.damage.append(
                    Finding(severity="error", check=METADATA_CHECK, message=message, file=file, episode=episode)
                )
        if count and not (self.steps < 0).any() and (self.steps[:-1, 1] != self.steps[1:, 0]).any():
            self._note(METADATA_CHECK, layout.EPISODES, "the episodes do not follow one another without gaps")
        if count and self.steps[-1, 1] not in (-1, total):
            self._note(
                METADATA_CHECK, layout.EPISODES, f"the last episode ends at {self.steps[-1, 1]} of {total} steps"
            )

    @cached_property
    def features(self) -> Features:
        """All of them."""
        return self.metadata.features

    @cached_property
    def grid(self) -> Features:
        """Those that `data/` holds."""
        return self.metadata.grid

    @property
    def num_episodes(self) -> int:
        return self.metadata.num_episodes

    @property
    def fps(self) -> float:
        return float(self.metadata.attributes["fps"])

    @cached_property
    def codecs(self) -> dict[str, ImageCodec]:
        """Of every array of encoded frames, by key."""
        return {k: codec_from_config(i.compressor) for k, i in self.metadata.arrays.items() if i.compressor}

    def feature_of(self, key: str) -> str | None:
        """The feature that an array belongs to."""
        name = key.split("/")[1]
        return name if name in self.features else None

    def rows(self, key: str, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Rows of an uncompressed array, zeros where they cannot be read, and `(n,)` whether each could be."""
        info = self.metadata.arrays[key]
        found = np.zeros((rows.stop - rows.start, *info.row_shape), info.dtype)
        whole = np.ones(len(found), bool)
        for chunk in range(rows.start // info.chunk_rows, -(-rows.stop // info.chunk_rows)):
            first = chunk * info.chunk_rows
            low, high = max(rows.start, first), min(rows.stop, first + info.chunk_rows)
            content = self._chunk(key, info, chunk)[low - first : high - first]
            found[low - rows.start : low - rows.start + len(content)] = content
            whole[low - rows.start + len(content) : high - rows.start] = False
        return found, whole

    def _chunk(self, key: str, info: ArrayInfo, chunk: int) -> np.ndarray:
        """The rows of a chunk; of a truncated one those that are left. The newest of each array stays: neighbouring
        episodes share it."""
        number, content = self._chunks.get(key, (-1, None))
        if number == chunk and content is not None:
            return content
        file = f"{key}/{info.chunk_name(chunk)}"
        if file in self._instead:
            return self._instead[file]
        expected = np.dtype(info.dtype).itemsize * info.chunk_rows * int(np.prod(info.row_shape, dtype=np.int64))
        content, reason = np.zeros((0, *info.row_shape), info.dtype), ""
        try:
            data = self.store.find(file)
            if data is None:
                reason = "the file is missing"
            else:
                if len(data) != expected:
                    reason = f"the file has {len(data)} bytes, expected {expected}"
                row_bytes = expected // info.chunk_rows
                usable = memoryview(data)[: min(len(data), expected) // row_bytes * row_bytes]
                content = np.frombuffer(usable, info.dtype).reshape(-1, *info.row_shape)
        except DatasetError as error:
            reason = str(error).rstrip(".")
        if reason and file not in self.bad_files:
            rows = (chunk * info.chunk_rows, min(info.length, (chunk + 1) * info.chunk_rows))
            self._bad_file(key, file, reason, rows)
        self._chunks[key] = (chunk, content)
        return content

    def use_instead(self, file: str, content: np.ndarray) -> None:
        """Take `content` for what a damaged chunk file holds: what repair has put, or would put, in its place."""
        self._instead[file] = content
        self._chunks.pop(file.rpartition("/")[0], None)
        self.bad_files.pop(file, None)

    def _bad_file(self, key: str, file: str, reason: str, rows: tuple[int, int]) -> None:
        self.bad_files[file] = reason
        touched = self.episodes_of(key, *rows)
        first = int(touched[0]) if len(touched) else None
        upto = f"; episodes {touched[0]} to {touched[-1]} are in it" if len(touched) > 1 else ""
        finding = Finding(
            severity="error",
            check=FILES_CHECK,
            message=reason + upto,
            file=file,
            episode=first,
            feature=self.feature_of(key),
        )
        self.damage.append(finding)

    def episodes_of(self, key: str, start: int, stop: int) -> np.ndarray:
        """Indices of the episodes that have rows in `start:stop` of an array."""
        axis = layout.axis(key)
        if axis == "episodes":
            return np.arange(start, stop)
        if axis == "steps":
            bounds = self.steps
        else:
            ends, _ = self.rows(f"{axis}/episode_ends", slice(0, self.num_episodes))
            bounds = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1) if len(ends) else self.steps
        return np.flatnonzero((bounds[:, 0] < stop) & (bounds[:, 1] > start))

    def span(self, key: str, episode: int) -> slice | None:
        """The rows of an episode in an array; None where they are not known."""
        axis = layout.axis(key)
        if axis == "episodes":
            return slice(episode, episode + 1)
        if axis == "steps":
            start, stop = self.steps[episode].tolist()
        else:
            ends, whole = self.rows(f"{axis}/episode_ends", slice(max(0, episode - 1), episode + 1))
            if not whole.all():
                return None
            start, stop = (0, int(ends[0])) if episode == 0 else (int(ends[0]), int(ends[1]))
        known = 0 <= start <= stop <= self.metadata.arrays[key].length
        return slice(start, stop) if known else None

    def drain(self) -> list[Finding]:
        """Damage found since the last call."""
        found, self.damage = self.damage, []
        return found


@dataclass
class EpisodeView:
    """One episode as the checks see it; what is read for one of them is there for the next."""

    survey: Survey
    index: int
    _rows: dict[str, np.ndarray | None] = field(default_factory=dict)
    _rolls: dict[str, FrameRoll | None] = field(default_factory=dict)

    @property
    def record(self) -> Json:
        return self.survey.records[self.index] or {}

    @property
    def num_steps(self) -> int:
        """0 when it is not known."""
        start, stop = self.survey.steps[self.index].tolist()
        return stop - start if start >= 0 else 0

    def rows(self, key: str) -> np.ndarray | None:
        """The episode's rows of an uncompressed array, or None when not all of them can be read."""
        if key not in self._rows:
            span = self.survey.span(key, self.index) if key in self.survey.metadata.arrays else None
            rows, whole = self.survey.rows(key, span) if span is not None else (None, np.zeros(1, bool))
            self._rows[key] = rows if whole.all() else None
        return self._rows[key]

    def roll(self, key: str) -> FrameRoll | None:
        """What the frames of an encoded array look like in this episode, or None when images are not wanted."""
        if key not in self._rolls:
            span = self.survey.span(key, self.index)
            wanted = self.survey.images != "none" and span is not None
            self._rolls[key] = self._look(key, span) if wanted and span is not None else None
        return self._rolls[key]

    def _look(self, key: str, span: slice) -> FrameRoll:
        info, is_copy = (
            self.survey.metadata.arrays[key],
            self.survey.metadata.recorded == "streams" and key.startswith("data/"),
        )
        files = [f"{key}/{info.chunk_name(row)}" for row in range(span.start, span.stop)]
        return look_at(
            self.survey.store, files, self.survey.codecs[key], info.row_shape, self.survey.images, not is_copy
        )

    def replace(self, key: str, rows: np.ndarray) -> None:
        """What checks see from now on in place of rows that were damaged."""
        self._rows[key] = rows

    def read_frames(self) -> None:
        """Look at the frames although the survey leaves them out; none is decoded."""
        for key in self.survey.codecs:
            span = self.survey.span(key, self.index)
            if span is not None:
                self._rolls[key] = self._look(key, span)

    def signals(self) -> Iterator[tuple[str, str]]:
        """(feature, key) of the numbers on the grid."""
        for name, feature in self.survey.grid.items():
            if not layout.is_encoded(feature):
                yield name, layout.data_key(name)


def _told_steps(record: Json | None, total: int) -> tuple[int, int] | None:
    start, count = (record or {}).get("start_step"), (record or {}).get("num_steps")
    if isinstance(start, int) and isinstance(count, int) and start >= 0 and count > 0 and start + count <= total:
        return start, start + count
    return None


def holds_dataset(store: Store) -> bool:
    """Whether the folder says that it is in this format, whole or damaged."""
    for name in (layout.METADATA, ".zattrs"):
        try:
            if b'"robolearn_format"' in (store.find(name) or b""):
                return True
        except DatasetError:
            pass
    return False


def _explain(store: Store) -> None:
    """Raise the error of a reader: no dataset there, or one of another kind."""
    if isinstance(store, LocalStore):
        Metadata.read(store.path)
    Metadata.from_bytes(store.read(layout.METADATA), store.name)
