"""Conversion of any source into a dataset: one order of things, whatever the format.

Episodes are read and encoded by worker processes, committed in the order of the source, and counted in
`NAME.unfinished` until the dataset is complete; then it gets its name. A damaged episode is left out and named in the
report, and so is one that differs from what a second reader finds in the source (`check.py`). Memory holds the
low-dimensional values of the few episodes in flight; their encoded frames are on disk.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.process import usable_cores
from robolearn.core.progress import no_progress
from robolearn.datasets.convert import lfs
from robolearn.datasets.convert.check import check_episodes, check_seals
from robolearn.datasets.convert.protocol import Converter, ConvertOptions, ConvertReport, EpisodeSource
from robolearn.datasets.convert.provenance import source_provenance
from robolearn.datasets.convert.registry import detect_format, find_format, load_converter
from robolearn.datasets.convert.unfinished import Unfinished, boot_id, fingerprint, require_unfinished
from robolearn.datasets.convert.witness import Witness
from robolearn.datasets.convert.wording import listed
from robolearn.datasets.convert.workers import Outcome, ReadJob, read_in_order
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import refuse_url
from robolearn.datasets.write.durable import explain_os_errors
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.output import refuse_existing
from robolearn.datasets.write.writer import DatasetWriter

LOG = logging.getLogger(__name__)
NOTES = "import_notes"  # in an episode's record
HOW_NOT_WHAT = ("resume", "workers", "progress")


def convert_dataset(
    source: Path, output: Path, options: ConvertOptions | None = None, source_format: str = "auto"
) -> ConvertReport:
    """Convert `source` into a new dataset `output`, which appears when it is complete, and not before.

    What an interrupted conversion has done stays in `OUTPUT.unfinished`, and `options.resume` goes on with it.

    Raises ConfigError for an unknown format and options that do not fit it; DatasetError when `output` exists or is
    being made by another process, when there is an unfinished conversion and `resume` is not given or the source or
    the options have changed since, when there is none and `resume` is given, and when no episode of the source can be
    read.
    """
    options = options or ConvertOptions()
    refuse_url(source, "other formats are read from local folders only")
    refuse_existing(output)
    pointers = lfs.pointers(source) if source.exists() else []
    with lfs.blamed(source, pointers):
        name = detect_format(source) if source_format == "auto" else source_format
    module = load_converter(name)
    if not source.exists():
        raise DatasetError(f"{source} does not exist; give the folder or file of an existing dataset.")
    if options.resume:
        require_unfinished(output)
    remedy = "Free space or choose another folder; --resume goes on with what is done."
    with explain_os_errors(f"Converting to {output}", remedy), contextlib.ExitStack() as stack:
        with lfs.blamed(source, pointers):
            opened = stack.enter_context(contextlib.closing(_open(module, source, name, options)))
            _check_options(source, opened, options)
            witness = stack.enter_context(contextlib.closing(module.open_witness(source, options)))
            opened.notes = [*opened.notes, *check_episodes(source, opened, witness)]
        opened.notes = [*opened.notes, *([lfs.told(source, pointers)] if pointers else [])]
        unfinished = Unfinished(output)
        stack.callback(unfinished.release)
        conversion = _Conversion(source, name, output, options, opened, witness, unfinished, pointers)
        return conversion.run()


def _open(module: Converter, source: Path, name: str, options: ConvertOptions) -> EpisodeSource:
    """Raises DatasetError that blames a wrong `--from` rather than the data, where the source looks otherwise."""
    try:
        return module.open_source(source, options)
    except DatasetError as error:
        if module.detect(source):
            raise
        if other := find_format(source):
            raise DatasetError(f"{source} is in {other}, not in {name}: leave out --from.") from error
        raise DatasetError(
            f"{source} does not look like {name}: leave out --from to have its format found out. ({error})"
        ) from error


def _check_options(source: Path, opened: EpisodeSource, options: ConvertOptions) -> None:
    """Raises ConfigError for an option that would have no effect."""
    if options.fps is not None and opened.fps != options.fps:
        raise ConfigError(
            f"{source} stores its rate, {opened.fps:g} Hz: leave out --fps, and change the rate with: "
            "robolearn dataset resample"
        )
    for camera in options.cameras:
        if f"observation.images.{camera}" not in opened.features:
            raise ConfigError(f"--camera {camera}: {source} holds no simulator states to render it from.")
    if options.short_videos != ConvertOptions.short_videos and not opened.has_videos:
        raise ConfigError(f"--short-videos {options.short_videos}: {source} holds no videos; leave it out.")
    if options.swap_colours and not opened.swaps_colours:
        raise ConfigError(f"--swap-colours: the order of colours in {source} is known; leave it out.")


class _Conversion:
    def __init__(
        self, source: Path, name: str, output: Path, options: ConvertOptions, opened: EpisodeSource,
        witness: Witness, unfinished: Unfinished, pointers: Sequence[Path],
    ):  # fmt: skip
        self.source, self.format, self.output = source, name, output
        self.options, self.opened, self.witness, self.unfinished = options, opened, witness, unfinished
        limit = options.max_episodes or opened.num_episodes
        self.total = min(opened.num_episodes, limit)
        self.skipped: dict[int, str] = {}
        self.pointers = pointers  # files of the source that have not been downloaded

    def run(self) -> ConvertReport:
        committed = 0
        try:
            if self.total == 0:
                raise DatasetError(f"{self.source} holds no episode that can be read.{self._first_note()}")
            with self._writer() as writer:
                committed = writer.num_episodes
                for index, outcome in self._outcomes(writer):
                    self._take(writer, index, outcome)
                    committed = writer.num_episodes
                    self.options.progress(index + 1, self.total)
                report = self._report(writer)
            self._check_seals()
            self._set_masks()
            self.unfinished.finish()
        except BaseException:
            if committed:
                LOG.warning(
                    "%s keeps %d of %d episodes; the same command with --resume goes on from there.",
                    self.unfinished.path, committed, self.total,
                )  # fmt: skip
            elif not self.unfinished.state:
                self.unfinished.remove()
            raise
        return report

    def _first_note(self) -> str:
        return f" {self.opened.notes[0]}." if self.opened.notes else ""

    def _writer(self) -> DatasetWriter:
        """A writer of the dataset in the making: a new one, or that of the conversion to go on with."""
        state = self._state()
        if self.unfinished.state is not None:
            self._check_resume(self.unfinished.state, state)
            writer = DatasetWriter.append_to(self.unfinished.dataset, durable=False)
            for journal in writer.leftover_journals:
                shutil.rmtree(journal)
            self.skipped = self.unfinished.skipped()
            return writer
        options, opened = self.options, self.opened
        subsampling = options.jpeg_subsampling
        if subsampling == "auto":
            subsampling = "420" if opened.subsampled else "444"
        metadata = {
            **opened.metadata,
            "provenance": {
                **source_provenance(self.source, self.format, opened.format_version),
                "notes": list(opened.notes),
                "options": state["options"],
            },
        }
        writer = DatasetWriter.create(
            self.unfinished.dataset, opened.features, opened.fps, metadata,
            image_codec=options.image_codec,
            jpeg_quality=options.jpeg_quality or (90 if opened.subsampled else 95),
            jpeg_subsampling=subsampling,
            durable=False,
        )  # fmt: skip
        try:
            if opened.sim_env is not None:
                writer.set_sim_model(None, opened.sim_env)
            self.unfinished.begin(state)
        except BaseException:
            writer.close()
            raise
        return writer

    def _state(self) -> layout.Json:
        values = {f.name: getattr(self.options, f.name) for f in fields(self.options) if f.name not in HOW_NOT_WHAT}
        return {
            "format": self.format,
            "source": str(self.source.resolve()),
            "fingerprint": fingerprint(self.source),
            "boot": boot_id(),
            "options": json.loads(layout.to_json(values)),
        }

    def _check_resume(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        path = self.unfinished.path
        if not self.options.resume:
            raise DatasetError(
                f"{path} holds an unfinished conversion; go on with it with --resume, or remove it to start again."
            )
        differing = [key for key in ("format", "source", "fingerprint") if before.get(key) != now[key]]
        if differing:
            what = "content of the source" if differing[0] == "fingerprint" else differing[0]
            raise DatasetError(f"{path} cannot be gone on with: the {what} has changed; remove it to start again.")
        old = before.get("options", {})
        changed = [key for key, value in now["options"].items() if old.get(key) != value]
        if changed:
            key = changed[0]
            raise DatasetError(
                f"{path} was begun with {key} {old.get(key)!r}, found {now['options'][key]!r}; "
                "give the same options, or remove it to start again."
            )
        if before.get("boot") != now["boot"]:
            self._verify()

    def _verify(self) -> None:
        """Check everything that is there: commits of a conversion do not wait for the disk, and power was off."""
        dataset = Dataset(self.unfinished.dataset)
        try:
            for index in range(dataset.num_episodes):
                dataset.verify_episode(index)
        except DatasetError as error:
            raise DatasetError(
                f"{self.unfinished.path} was damaged when the machine stopped; remove it to start again."
            ) from error

    def _outcomes(self, writer: DatasetWriter) -> Iterator[tuple[int, Outcome]]:
        done = writer.num_episodes + len(self.skipped)
        indices = range(done, self.total)
        codecs = {name: writer.codec(name) for name, f in writer.features.items() if layout.is_encoded(f)}
        workers = self.options.workers
        if workers is None:
            workers = usable_cores() if codecs and self.opened.parallel else 1
        options = replace(self.options, progress=no_progress)  # a callback stays in its process
        job = ReadJob(self.format, self.source, options, self.unfinished.frames, codecs)
        for index, outcome in read_in_order(job, self.opened, self.witness, indices, workers):
            yield index, outcome
            job.spool_file(index).unlink(missing_ok=True)

    def _take(self, writer: DatasetWriter, index: int, outcome: Outcome) -> None:
        """Commit an episode, or note why it is left out."""
        if isinstance(outcome, DatasetError):
            self._skip(index, str(outcome))
            return
        episode = outcome.episode
        if outcome.notes:
            episode.record = {**episode.record, NOTES: list(outcome.notes)}
        try:
            self.unfinished.seal(index, outcome.seal.to_json())
            writer.write_episode(episode)
        except (DatasetError, FeatureError) as error:
            if isinstance(error.__cause__, OSError):  # the disk is full: not the fault of the episode
                raise
            self._skip(index, f"{self.source}: episode {self.opened.label(index)}, {error}")

    def _skip(self, index: int, reason: str) -> None:
        reason = lfs.without_copying(reason) if self.pointers else reason
        self.unfinished.skip(index, reason)
        self.skipped[index] = reason

    def _report(self, writer: DatasetWriter) -> ConvertReport:
        if not writer.num_episodes:
            first = next(iter(self.skipped.values()))
            if len(self.skipped) > 1:
                first = f"None of {len(self.skipped)} episodes can be read: {first}"
            self.unfinished.state = None
            with lfs.blamed(self.source, self.pointers):
                raise DatasetError(first)
        skipped = tuple(self.skipped[index] for index in sorted(self.skipped))
        return ConvertReport(
            self.format, self.output, writer.num_episodes, writer.num_steps,
            (*self.opened.notes, *self._episode_notes()), skipped,
        )  # fmt: skip

    def _episode_notes(self) -> list[str]:
        """The notes of episodes, equal ones together."""
        episodes: dict[str, list[str]] = {}
        labels = [self.opened.label(index) for index in self._kept]
        for label, record in zip(labels, Dataset(self.unfinished.dataset).recorded_episodes, strict=True):
            for note in record.get(NOTES, ()):
                episodes.setdefault(note, []).append(str(label))
        return [f"{note} (episode{'s' * (len(found) > 1)} {listed(found)})" for note, found in episodes.items()]

    @property
    def _kept(self) -> list[int]:
        """Index in the source of each episode of the new dataset."""
        return [index for index in range(self.total) if index not in self.skipped]

    def _check_seals(self) -> None:
        """Raises DatasetError when the dataset does not hold what was compared with the source."""
        seals = self.unfinished.seals()
        try:
            check_seals(Dataset(self.unfinished.dataset), [seals.get(index) for index in self._kept])
        except DatasetError as error:
            raise DatasetError(
                f"{self.unfinished.path} does not hold what was read: {error} Remove it and convert again."
            ) from error

    def _set_masks(self) -> None:
        place = {index: number for number, index in enumerate(self._kept)}
        for name, episodes in self.opened.masks.items():
            set_mask(self.unfinished.dataset, name, [place[index] for index in episodes if index in place])
