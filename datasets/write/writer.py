"""`DatasetWriter`: record episodes so that a committed one is never lost and an uncommitted one never visible."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature, Features
from robolearn.core.provenance import wall_time
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec, codec_from_config
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json, Metadata
from robolearn.datasets.write.chunk_staging import RecordLog
from robolearn.datasets.write.commit import NewEpisode, checked_facts, commit_episode, write_copies, write_metadata
from robolearn.datasets.write.creation import Subsampling, codecs_for, make_dataset
from robolearn.datasets.write.durable import WriterLock, explain_os_errors
from robolearn.datasets.write.journal import REMOVED, Journal, find_journals
from robolearn.datasets.write.sim_models import check_sim_env, store_sim_model, with_sim_env
from robolearn.datasets.write.whole_episode import WholeEpisode

LOG = logging.getLogger(__name__)


class DatasetWriter:
    """Appends episodes to one dataset. Make it with `create` or `append_to`; it is a context manager.

    One episode: `start_episode`, `append` for every step, then `commit` or `discard`. A step that is refused
    (FeatureError) leaves the episode as it was. An episode that is neither committed nor discarded when the writer
    closes, or when its process dies, stays in `pending/`.

    Attributes:
        path: of the dataset.
        durable: whether a commit waits for the disk.
        active_journal: of the episode being recorded.
        sim_model: sha256 of the simulator model of episodes recorded from now on, or None.
    """

    def __init__(self, path: Path, metadata: Metadata, log: RecordLog, lock: WriterLock, durable: bool = True):
        self.path = path
        self.durable = durable
        self._metadata = metadata
        self._log = log
        self._lock = lock
        self._recording = False
        self._started_at: str | None = None
        self._facts: Json = {}
        self._journal: Journal | None = None
        self.active_journal: Path | None = None
        self._last_timestamp_s = -np.inf
        self.sim_model: str | None = log.last.get("sim_model") if log.last else None
        self._features = metadata.features
        self._codecs: dict[str, ImageCodec] = {
            name: codec_from_config(metadata.arrays[layout.data_key(name)].compressor or {})
            for name, feature in metadata.grid.items()
            if layout.is_encoded(feature)
        }

    @classmethod
    def create(
        cls,
        path: Path,
        features: Features,
        fps: float,
        metadata: Mapping[str, Any] | None = None,
        *,
        recorded: Literal["steps", "streams"] = "steps",
        image_codec: Literal["jpeg", "png"] = "jpeg",
        jpeg_quality: int = 95,
        jpeg_subsampling: Subsampling = "444",
        codecs: Mapping[str, ImageCodec] | None = None,
        durable: bool = True,
    ) -> DatasetWriter:
        """Start a new dataset.

        Args:
            path: folder to make, by habit `NAME.zarr`.
            features: what every step holds. Images are uint8 `(H, W, 3)` RGB or `(H, W, 1)`; depth is uint16.
            fps: nominal rate of the steps in Hz; true times are stored with every step.
            metadata: json-ready facts about the whole: robot, cameras, operator station.
            recorded: `steps` for `append`, or `streams` for `StreamRecorder`: every feature at its own `rate_hz`, and
                events; `fps` is then the rate of the aligned grid.
            image_codec: `jpeg` (at `jpeg_quality`, colour stored as `jpeg_subsampling` says) or `png` (lossless).
                Depth is always png.
            codecs: of single features, instead.
            durable: whether every commit waits for the disk. Without, a power cut can damage the whole dataset until
                something flushes the file system: for copies of data that exists elsewhere.

        Raises DatasetError when the path is taken, FeatureError for a feature that cannot be stored.
        """
        path, own = Path(path), codecs_for(features, image_codec, jpeg_quality, jpeg_subsampling)
        started, lock = make_dataset(path, features, fps, recorded, {**own, **(codecs or {})}, metadata or {})
        return cls(path, started, RecordLog(), lock, durable)

    @classmethod
    def append_to(cls, path: Path, durable: bool = True) -> DatasetWriter:
        """Add episodes to an existing dataset; `durable` as for `create`.

        Raises DatasetError when it is missing or damaged, or when another process is writing it.
        """
        path = Path(path)
        metadata = Metadata.read(path)
        with explain_os_errors(f"Opening {path} for writing", "Check its permissions."):
            (path / layout.PENDING).mkdir(exist_ok=True)
            lock = WriterLock(path / layout.LOCK, path)
        try:
            metadata = Metadata.read(path)
            with explain_os_errors(f"Opening {path} for writing", "Check its permissions."):
                writer = cls(path, metadata, RecordLog.read(path, metadata), lock, durable)
                writer._tidy_up()
        except BaseException:
            lock.release()
            raise
        return writer

    def _tidy_up(self) -> None:
        """Finish what an interrupted commit left to do, and tell of episodes that were never committed."""
        shutil.rmtree(self.path / layout.STAGING, ignore_errors=True)
        (self.path / layout.STAGING).mkdir()
        write_copies(self.path, self._metadata)
        committed = self._log.last.get("journal") if self._log.last else None
        # by folder name: a removal that was interrupted may have taken the header already
        for journal in (self.path / layout.PENDING).iterdir():
            if journal.name == committed or journal.name.startswith(REMOVED):
                shutil.rmtree(journal, ignore_errors=True)
        left = self.leftover_journals
        if left:
            LOG.warning(
                "%s holds %d episode%s that %s recorded but neither saved nor discarded; kept in %s.",
                self.path, len(left), "s" * (len(left) > 1), "were" if len(left) > 1 else "was", left[0].parent,
            )  # fmt: skip

    @property
    def features(self) -> Features:
        return dict(self._features)

    @property
    def fps(self) -> float:
        return float(self._metadata.attributes["fps"])

    @property
    def recorded(self) -> str:
        """`steps` or `streams`."""
        return self._metadata.recorded

    @property
    def num_episodes(self) -> int:
        """Committed episodes."""
        return self._metadata.num_episodes

    @property
    def num_steps(self) -> int:
        """Steps of all committed episodes."""
        return self._metadata.num_steps

    @property
    def num_pending_steps(self) -> int:
        """Steps of the episode being recorded."""
        return self._journal.num_steps if self._journal else 0

    @property
    def leftover_journals(self) -> list[Path]:
        """Episodes in `pending/` that a crashed or closed writer left behind."""
        return [path for path in find_journals(self.path / layout.PENDING) if path != self.active_journal]

    def journal_header(self, started_at: str | None, facts: Json) -> Json:
        """What a journal says of its episode, for whoever salvages it."""
        self._require_open()
        return {
            "recorded": self.recorded,
            "fps": self.fps,
            "codecs": {name: codec.get_config() for name, codec in self._codecs.items()},
            "episode_index": self.num_episodes,
            "started_at": started_at,
            "sim_model": self.sim_model,
            "facts": facts,
        }

    def start_episode(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Begin an episode.

        Args:
            metadata: what is known of it already, see `commit`: kept with its steps, so that an episode that is never
                committed has it, too.

        Raises DatasetError when one is being recorded, or the metadata cannot be stored.
        """
        self._require_open()
        if self._metadata.recorded == "streams":
            raise DatasetError(f"{self.path} is recorded as streams; record into it with StreamRecorder.")
        if self._recording:
            raise DatasetError("An episode is being recorded already; commit or discard it first.")
        self._facts = checked_facts(metadata)
        self._recording = True
        self._started_at = wall_time()
        self._last_timestamp_s = -np.inf

    def append(self, timestamp_s: float, values: Mapping[str, np.ndarray], sim_state: np.ndarray | None = None) -> None:
        """Add one step to the episode being recorded; it is in the journal's files when this returns.

        Args:
            timestamp_s: when the step was taken, in seconds since the episode started; later than the previous one.
            values: a value for every feature of the dataset.
            sim_state: `(S,)` full simulator state; for all steps of a dataset or for none.

        Raises FeatureError for wrong values and DatasetError for wrong times or files that cannot be written. Either
        way the steps given before are kept, and recording can go on.
        """
        if not self._recording:
            raise DatasetError("No episode is being recorded; call start_episode first.")
        timestamp_s = float(timestamp_s)
        if not timestamp_s > self._last_timestamp_s or not np.isfinite(timestamp_s):
            raise DatasetError(
                f"Step {self.num_pending_steps} has timestamp {timestamp_s} s, "
                f"expected a time later than the previous step's {self._last_timestamp_s} s."
            )
        plain, images = self._checked(values)
        frames = {name: self._codecs[name].encode(image) for name, image in images.items()}
        size = self._checked_sim_state(plain, sim_state)
        with explain_os_errors(
            f"Recording step {self.num_pending_steps}",
            "The steps before it are kept; free space, then go on or commit.",
        ):
            if self._journal is None:
                header = self.journal_header(self._started_at, self._facts)
                self._journal = Journal(self.path / layout.PENDING, self._features, size, header)
                self.active_journal = self._journal.path
            self._journal.append(timestamp_s, plain, frames, images)
        self._last_timestamp_s = timestamp_s

    def _checked(self, values: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The low-dimensional values and the images of a step."""
        where = f"step {self.num_pending_steps}"
        if values.keys() != self._features.keys():
            for name in values.keys() - self._features.keys():
                raise FeatureError(f"{where}: " + unknown_name("feature", name, self._features))
            missing = sorted(self._features.keys() - values.keys())
            raise FeatureError(f"{where}: feature {missing[0]!r} is missing; expected {', '.join(self._features)}.")
        checked = {name: feature.check(values[name], where) for name, feature in self._features.items()}
        images = {name: checked.pop(name) for name in self._codecs}
        return checked, images

    def _checked_sim_state(self, plain: dict[str, np.ndarray], sim_state: np.ndarray | None) -> int:
        """Add the simulator state to `plain`; returns its size. All steps of a dataset have one, or none has."""
        stored = self._metadata.arrays.get(layout.SIM_STATE)
        if self._journal:
            expected = self._journal.sim_state_size
        elif self.num_steps:
            expected = stored.row_shape[0] if stored else 0
        else:
            expected = np.size(sim_state) if sim_state is not None else 0
        found = np.shape(sim_state) if sim_state is not None else ()
        if found != ((expected,) if expected else ()):
            raise FeatureError(
                f"step {self.num_pending_steps}: the simulator state has shape {found or 'none'}, "
                f"expected {(expected,) if expected else 'none'} as in the steps before."
            )
        if expected:
            state = Feature(layout.SIM_STATE, (expected,), "float64")
            plain[layout.SIM_STATE] = state.check(sim_state, f"step {self.num_pending_steps}")
        return expected

    def commit(self, metadata: Mapping[str, Any]) -> int:
        """Make the episode part of the dataset, in one atomic step, and return its index.

        Args:
            metadata: json-ready facts about the episode: task, success, operator, seed, init_state, late_ticks, ...;
                they go over those that `start_episode` was given.

        Raises DatasetError when there is nothing to commit, the metadata cannot be stored or the disk is full; the
        episode is then still pending and `commit` can be called again.
        """
        if not self._recording or self._journal is None:
            raise DatasetError("There is no recorded step to commit; record an episode first, or discard this one.")
        before = self.num_episodes
        facts = {"started_at": self._started_at, **self._facts, **metadata}
        try:
            return self.commit_new(self._journal, facts, self.sim_model)
        finally:
            if self.num_episodes > before:  # also when an interrupt came right after the commit point
                self._end_episode()

    def commit_new(self, episode: NewEpisode, facts: Json, sim_model: str | None = None) -> int:
        """Append an episode from wherever it is; what `commit`, `write_episode` and `StreamRecorder` share.

        Args:
            facts: the episode's record; see `commit`.
            sim_model: sha256 of its simulator model.

        Returns its index. Raises DatasetError or FeatureError; the dataset is then as it was.
        """
        self._require_open()
        facts = checked_facts(facts)
        if sim_model:
            facts["sim_model"] = sim_model
        try:
            with explain_os_errors("Saving the episode", "It is kept in pending/; free space and save again."):
                self._metadata, self._log = commit_episode(
                    self.path, self._metadata, self._log, episode, facts, flush=self.durable
                )
        except BaseException:
            # an interrupt may come right after the commit point: believe the disk
            found = Metadata.read(self.path)
            if found.num_episodes > self.num_episodes:
                self._metadata, self._log = found, RecordLog.read(self.path, found)
            raise
        return self.num_episodes - 1

    def codec(self, name: str) -> ImageCodec:
        """How frames of an image or depth feature are encoded. Raises FeatureError for any other name."""
        if name not in self._codecs:
            raise FeatureError(f"{self.path}: " + unknown_name("image feature", name, self._codecs))
        return self._codecs[name]

    def write_episode(self, episode: EpisodeData) -> int:
        """Append and commit a whole episode; returns its index.

        Frames are stored as they are given, and must be encoded as `codec(name)` does; each is asked for once, in
        order. Raises FeatureError and DatasetError naming feature and step of what is wrong; the dataset is then as
        it was.
        """
        self._require_open()
        if self._recording:
            raise DatasetError("An episode is being recorded; commit or discard it first.")
        model = None
        if episode.sim_model is not None:
            with explain_os_errors("Storing the simulator model", "Free space and try again."):
                model = store_sim_model(self.path, episode.sim_model, flush=False)  # the commit flushes
        facts = {"started_at": None, **episode.record}
        return self.commit_new(WholeEpisode(episode, self._codecs), facts, model)

    def discard(self) -> None:
        """Throw away the episode being recorded. Does nothing when there is none."""
        self._end_episode()

    def _end_episode(self) -> None:
        if self._journal:
            self._journal.remove()
        self._journal = self.active_journal = None
        self._recording = False

    def set_sim_model(self, xml: str | None, env: Mapping[str, Any]) -> None:
        """Keep what is needed to re-render or re-run the episodes committed from now on.

        Args:
            xml: simulator model; equal texts are stored once.
            env: `{"name": ..., "scene_version": ..., ...}`, json-ready.

        Raises DatasetError when the dataset holds episodes of another environment or scene version, or without
        simulator states.
        """
        self._require_open()
        check_sim_env(self.path, self._metadata, env)
        with explain_os_errors("Storing the simulator model", "Free space and try again."):
            if xml is not None:
                self.sim_model = store_sim_model(self.path, xml, self.durable)
            told = with_sim_env(self._metadata, env)
            if told is not self._metadata:
                self._metadata = told
                write_metadata(self.path, told, self.durable)

    def close(self) -> None:
        """Let go of the dataset. An episode with steps that was not committed stays in `pending/`.

        Raises DatasetError when the copies of array descriptions cannot be brought up to date.
        """
        if self._journal:
            self._journal.close()
        self._journal = self.active_journal = None
        self._recording = False
        try:
            if not self.durable and not self._lock.released:
                with explain_os_errors(f"Closing {self.path}", "Free space and open it for writing once more."):
                    write_copies(self.path, self._metadata)
        finally:
            self._lock.release()

    def _require_open(self) -> None:
        if self._lock.released:
            raise DatasetError(f"The writer of {self.path} is closed; open it again with DatasetWriter.append_to.")

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
