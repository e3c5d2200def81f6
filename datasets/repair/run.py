"""`repair`: bring a damaged dataset back to where everything that is whole can be read.

    metadata    `.zmetadata`, its copies, lost records and episode ends are rebuilt from one another
    derived     crc32, statistics, histograms and ends are computed again, if that gives the recorded checksum
    broken      episodes go to the mask `quarantine` and, as far as they can be read, to `quarantine/episode_NNNNNN/`
    chunks      that are missing or truncated are filled up with zeros, so that the arrays can be read again
    pending     episodes that were never committed are, as far as they are whole

Indices of intact episodes stay, and no byte that one of them uses is changed. Files are replaced by renaming, and each
step leaves something that the next `repair` goes on with, so it may be interrupted at any time.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.lock import holder_of
from robolearn.datasets.checks.checksums import Checksums
from robolearn.datasets.checks.survey import EpisodeView, Survey, holds_dataset
from robolearn.datasets.checks.texts import encode_texts
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import ArrayInfo, Metadata
from robolearn.datasets.read.edits import EDITS, QUARANTINE, scan_edits
from robolearn.datasets.read.store import LocalStore, open_store
from robolearn.datasets.repair.quarantine import FOLDER, episode_folder, keep_episode, keep_file
from robolearn.datasets.repair.recomputed_rows import restored_rows, sampled_histogram
from robolearn.datasets.repair.repair_step import RepairStep
from robolearn.datasets.repair.unfinished_episodes import rescue
from robolearn.datasets.write.commit import grid_timing, stage_copies
from robolearn.datasets.write.durable import (
    WriterLock,
    explain_os_errors,
    sync_directory,
    sync_file_system,
    write_file,
)
from robolearn.datasets.write.edits import mend_edits, set_mask


def repair(
    path: str | Path, dry_run: bool = False, progress: Callable[[int, int], None] | None = None
) -> list[RepairStep]:
    """Mend the dataset at `path`; see the head of this file.

    Args:
        dry_run: change nothing, and return what would be done.
        progress: called with (episodes looked at, episodes).

    Returns what was done: nothing when nothing was to do.

    Raises DatasetError when there is no dataset, while a process is writing it (with its pid), when the disk is full,
    or when too little is left to rebuild the metadata from.
    """
    store = open_store(path)
    if not isinstance(store, LocalStore):
        raise DatasetError(f"{store.name} can be read but not repaired; repair it on the machine where its files are.")
    root = store.path
    if not holds_dataset(store):
        Metadata.read(root)
    if dry_run:
        writer = holder_of(root / layout.LOCK)
        if writer:
            raise DatasetError(f"{root} is being written by {writer}; wait until it is done.")
        return _Repair(store, True, progress).run() + rescue(root, True)
    with explain_os_errors(f"Repairing {root}", "Free space or check permissions, then run it again."):
        (root / layout.PENDING).mkdir(exist_ok=True)
        lock = WriterLock(root / layout.LOCK, root)
        try:
            done = _Repair(store, False, progress).run()
        finally:
            lock.release()
        done += rescue(root, False)
    return done


class _Repair:
    def __init__(self, store: LocalStore, dry_run: bool, progress: Callable[[int, int], None] | None):
        self._store, self._root = store, store.path
        self._dry_run = dry_run
        self._progress = progress
        self._actions: list[RepairStep] = []

    def run(self) -> list[RepairStep]:
        self._remove_leftovers()
        survey = Survey.open(self._store, images="none")
        self._mend_records(survey)
        self._mend_edits()  # opens the dataset, so its metadata come first
        self._mend_ends(survey)
        patches: dict[tuple[str, int], dict[int, np.ndarray]] = {}
        broken = self._find_broken(survey, patches)
        self._quarantine(survey, broken)
        self._mend_chunks(survey, patches)
        self._mend_frames(survey, broken)
        self._refresh_copies(survey.metadata)
        return self._actions

    def _say(self, what: str, message: str, file: str | None = None, episode: int | None = None) -> None:
        self._actions.append(RepairStep(what, message, file, episode))

    def _replace(self, file: str, data: bytes) -> None:
        """Make `file` hold `data`; what it held before is in quarantine first."""
        if self._dry_run:
            return
        keep_file(self._root, file)
        target = self._root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = self._root / layout.STAGING / file.replace("/", "+")
        staged.parent.mkdir(parents=True, exist_ok=True)
        write_file(staged, data)
        sync_file_system(self._root)
        os.replace(staged, target)
        sync_directory(target.parent)

    def _remove_leftovers(self) -> None:
        staging = self._root / layout.STAGING
        if staging.is_dir() and any(staging.iterdir()):
            self._say("leftovers", "removed files of an interrupted commit", layout.STAGING)
            if not self._dry_run:
                shutil.rmtree(staging)
        for folder in (self._root / layout.PENDING).glob(".removed-*"):
            self._say("leftovers", "removed the rest of a journal that was being deleted", f"pending/{folder.name}")
            if not self._dry_run:
                shutil.rmtree(folder, ignore_errors=True)

    def _mend_edits(self) -> None:
        damaged = scan_edits(self._store)[1]
        if damaged:
            listed = ", ".join(map(str, sorted(damaged)))
            self._say("edits", f"took out damaged lines ({listed}); kept in {FOLDER}/", EDITS)
            if not self._dry_run:
                keep_file(self._root, EDITS)
                mend_edits(self._root, self._root / FOLDER / "files" / "edits.jsonl")

    def _mend_records(self, survey: Survey) -> None:
        """Give lost records a stand-in, and `.zmetadata` the checksum of all."""
        lost = [episode for episode, record in enumerate(survey.records) if record is None]
        for episode in lost:
            start, stop = self._bounds(survey, episode)
            survey.steps[episode] = start, stop
            facts: layout.Json = {
                "index": episode,
                "start_step": start,
                "num_steps": stop - start,
                **self._times(survey, start, stop),
                "success": None,
                "checksums": {},
            }
            survey.texts[episode] = layout.sealed_json({**facts, "record_lost": True})
            message = "its record is lost; a stand-in tells its steps and times only"
            self._say("records", message, layout.EPISODES, episode)
        if survey.rebuilt:
            self._say("metadata", "rebuilt from its copies and the episode records", layout.METADATA)
        elif not lost and not survey.records_are_proven:
            self._say("metadata", "took the checksum of the episode records again; each is proven by its own")
        if lost or survey.rebuilt or not survey.records_are_proven:
            self._write_records(survey, lost)

    def _write_records(self, survey: Survey, changed: list[int]) -> None:
        """`.zmetadata` with the checksum of all records, and the chunks of those that changed."""
        crc = 0
        for text in survey.texts:
            crc = zlib.crc32(text or b"", crc)
        ends_crc = zlib.crc32(np.ascontiguousarray(survey.steps[:, 1]).data)
        attributes = {**survey.metadata.attributes, "records_crc32": crc, "ends_crc32": ends_crc}
        survey.metadata = Metadata(attributes, survey.metadata.arrays)
        self._replace(layout.METADATA, survey.metadata.to_bytes())
        info = survey.metadata.arrays[layout.EPISODES]
        for chunk in sorted({episode // info.chunk_rows for episode in changed}):
            texts = survey.texts[chunk * info.chunk_rows : (chunk + 1) * info.chunk_rows]
            data = encode_texts([text or b"" for text in texts], info.chunk_rows)
            self._replace(f"{layout.EPISODES}/{info.chunk_name(chunk)}", data)

    def _bounds(self, survey: Survey, episode: int) -> tuple[int, int]:
        """Steps of an episode whose record is lost: the ends', or what its neighbours leave."""
        start, stop = survey.steps[episode].tolist()
        if start >= 0:
            return start, stop
        start = int(survey.steps[episode - 1, 1]) if episode else 0
        later = [int(s) for s in survey.steps[episode + 1 :, 0] if s >= 0]
        room = (later[0] if later else survey.metadata.num_steps) - start
        unknown = next(
            (n for n, s in enumerate(survey.steps[episode + 1 :, 0], 1) if s >= 0), len(survey.steps) - episode
        )
        return start, start + max(1, room - (unknown - 1))

    def _times(self, survey: Survey, start: int, stop: int) -> layout.Json:
        """Duration and timing of an episode whose record is lost: by its timestamps, or the nominal rate."""
        stop = min(stop, survey.metadata.num_steps)
        times, whole = survey.rows(layout.TIMESTAMP, slice(min(start, stop), stop))
        if not len(times) or not whole.all() or not np.isfinite(times).all():
            return {"duration_s": max(0, stop - start - 1) / survey.fps}
        return {"duration_s": float(times[-1] - times[0]), **grid_timing(times, survey.fps)}

    def _mend_ends(self, survey: Survey) -> None:
        ends = survey.steps[:, 1]
        found, whole = survey.rows(layout.EPISODE_ENDS, slice(0, survey.num_episodes))
        self._replace_ends(survey, layout.EPISODE_ENDS, ends, ~whole | (found != ends))
        for name in survey.features if survey.metadata.recorded == "streams" else ():
            self._mend_stream_ends(survey, layout.stream_key(name, "episode_ends"), name)

    def _mend_stream_ends(self, survey: Survey, key: str, name: str) -> None:
        """Ends of the rows of a stream, from how many rows each episode has; taken if they have their checksums."""
        found, whole = survey.rows(key, slice(0, survey.num_episodes))
        ends, last = found.copy(), 0
        for episode, record in enumerate(survey.records):
            crc = ((record or {}).get("checksums") or {}).get(key)
            rows = (((record or {}).get("streams") or {}).get(name) or {}).get("received", 0)
            for end in (int(found[episode]), last + rows):
                if crc == zlib.crc32(np.int64(end).tobytes()):
                    ends[episode] = end
            last = int(ends[episode])
        self._replace_ends(survey, key, ends, ~whole | (found != ends))

    def _replace_ends(self, survey: Survey, key: str, ends: np.ndarray, wrong: np.ndarray) -> None:
        """Write the chunks that hold wrong ends, or have a wrong size."""
        info = survey.metadata.arrays[key]
        for chunk in range(-(-len(ends) // info.chunk_rows)):
            rows, file = (
                slice(chunk * info.chunk_rows, (chunk + 1) * info.chunk_rows),
                f"{key}/{info.chunk_name(chunk)}",
            )
            if wrong[rows].any() or file in survey.bad_files:
                content = np.zeros(info.chunk_rows, info.dtype)
                content[: len(ends[rows])] = ends[rows]
                self._say("records", "rebuilt the ends of the episodes from their records", file)
                self._replace(file, content.tobytes())
                survey.use_instead(file, content)

    def _find_broken(
        self, survey: Survey, patches: dict[tuple[str, int], dict[int, np.ndarray]]
    ) -> dict[int, tuple[EpisodeView, list[str]]]:
        """Episodes that are not what was recorded, and why; rows that can be restored go to `patches`."""
        broken: dict[int, tuple[EpisodeView, list[str]]] = {}
        amended: dict[int, dict[str, int]] = {}
        for episode in range(survey.num_episodes):
            if self._progress:
                self._progress(episode + 1, survey.num_episodes)
            if episode in survey.quarantined:
                continue
            view, reasons = EpisodeView(survey, episode), []
            record = survey.records[episode]
            if record is None:
                reasons.append("its record was lost")
            for key in self._wrong_arrays(view):
                rows = restored_rows(view, key)
                span = survey.span(key, episode)
                proven = rows is not None
                if rows is None and record and key.startswith("histograms/"):
                    rows = sampled_histogram(view, key)
                if rows is None or span is None:
                    reasons.append(f"{key} is not what was recorded")
                    continue
                view.replace(key, rows)
                if proven:
                    self._say("derived", "computed again, and it has the recorded checksum", key, episode)
                else:
                    amended.setdefault(episode, {})[key] = zlib.crc32(rows.data)
                    self._say("derived", "computed again from the stored images; its checksum, too", key, episode)
                for row, value in zip(range(span.start, span.stop), rows, strict=True):
                    chunk, place = divmod(row, survey.metadata.arrays[key].chunk_rows)
                    patches.setdefault((key, chunk), {})[place] = value
            view.read_frames()
            for finding in Checksums().episode(view):
                if finding.file and finding.step is not None:
                    reasons.append(f"{finding.file}: {finding.message}")
            if reasons:
                broken[episode] = (view, reasons)
        for episode, crcs in amended.items():
            record = {k: v for k, v in (survey.records[episode] or {}).items() if k != "crc32"}
            survey.texts[episode] = layout.sealed_json({**record, "checksums": {**record["checksums"], **crcs}})
        if amended:
            self._write_records(survey, list(amended))
        return broken

    def _wrong_arrays(self, view: EpisodeView) -> list[str]:
        """Arrays of numbers that cannot be read or do not have their checksum; the derived ones last."""
        expected = view.record.get("checksums") or {}
        wrong = []
        for key, info in view.survey.metadata.arrays.items():
            if info.compressor or key in (layout.EPISODE_ENDS, layout.EPISODES):
                continue
            rows = view.rows(key)
            if rows is None or (key in expected and zlib.crc32(np.ascontiguousarray(rows).data) != expected[key]):
                wrong.append(key)
        return sorted(wrong, key=lambda key: (key.startswith(("statistics/", "histograms/")), "crc32" not in key))

    def _quarantine(self, survey: Survey, broken: dict[int, tuple[EpisodeView, list[str]]]) -> None:
        for episode, (view, reasons) in broken.items():
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            folder = episode_folder(self._root, episode).relative_to(self._root)
            self._say("quarantine", f"{reasons[0]}{more}; what can be read is in {folder}", episode=episode)
            if not self._dry_run:
                keep_episode(self._root, view, reasons)
        if broken and not self._dry_run:
            sync_file_system(self._root)
            set_mask(self._root, QUARANTINE, sorted({*survey.quarantined, *broken}), by="robolearn dataset repair")

    def _mend_chunks(self, survey: Survey, patches: dict[tuple[str, int], dict[int, np.ndarray]]) -> None:
        for key, info in survey.metadata.arrays.items():
            if info.compressor or key in (layout.EPISODES, layout.EPISODE_ENDS):
                continue
            for chunk in range(-(-info.length // info.chunk_rows)):
                file, rows = f"{key}/{info.chunk_name(chunk)}", patches.get((key, chunk), {})
                if rows or file in survey.bad_files or self._has_wrong_size(file, info):
                    self._mend_chunk(file, info, rows, survey.bad_files.get(file))

    def _has_wrong_size(self, file: str, info: ArrayInfo) -> bool:
        """Of chunks that only quarantined episodes use, and that nothing has read."""
        try:
            return (self._root / file).stat().st_size != _chunk_bytes(info)
        except FileNotFoundError:
            return True

    def _mend_chunk(self, file: str, info: ArrayInfo, rows: dict[int, np.ndarray], reason: str | None) -> None:
        size = _chunk_bytes(info)
        try:
            data = self._store.find(file) or b""
        except DatasetError:
            data = b""
        content = np.frombuffer(bytearray(data[:size].ljust(size, b"\0")), info.dtype).reshape(-1, *info.row_shape)
        for place, value in rows.items():
            content[place] = value
        if len(data) != size:
            self._say("chunk", f"{reason or 'wrong size'}; filled up with zeros", file)
        self._replace(file, content.tobytes())

    def _mend_frames(self, survey: Survey, broken: dict[int, tuple[EpisodeView, list[str]]]) -> None:
        """A black picture where a frame file is missing."""
        for key, codec in survey.codecs.items():
            info, made = survey.metadata.arrays[key], 0
            black = codec.encode(np.zeros(info.row_shape, info.dtype))
            for episode in sorted({*survey.quarantined, *broken}):
                span = survey.span(key, episode)
                for row in range(span.start, span.stop) if span else ():
                    file = f"{key}/{info.chunk_name(row)}"
                    if not (self._root / file).is_file():
                        self._replace(file, black)
                        made += 1
            if made:
                self._say("chunk", f"{made} missing frame{'s' * (made > 1)} replaced by black ones", key)

    def _refresh_copies(self, metadata: Metadata) -> None:
        wrong = [file for file, document in metadata.documents().items() if self._holds_other(file, document)]
        if not wrong:
            return
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        self._say("copies", f"written again from .zmetadata{more}", wrong[0])
        if not self._dry_run:
            (self._root / layout.STAGING).mkdir(parents=True, exist_ok=True)
            for file in wrong:
                (self._root / file).parent.mkdir(parents=True, exist_ok=True)
            for staged, target in stage_copies(self._root, metadata):
                os.replace(staged, target)
            sync_file_system(self._root)

    def _holds_other(self, file: str, document: Any) -> bool:
        try:
            return self._store.find(file) != layout.to_json(document)
        except DatasetError:
            return True


def _chunk_bytes(info: ArrayInfo) -> int:
    return np.dtype(info.dtype).itemsize * info.chunk_rows * int(np.prod(info.row_shape, dtype=np.int64))
