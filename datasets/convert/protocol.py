"""What reading a foreign format takes: a module with the functions of `Converter`, listed in `registry.py`.

A module maps the keys of its format to features and gives one episode after the other as `EpisodeData`, and it makes a
`Witness`, a second reader by which `check.py` compares what is stored with what the source holds. Writing, progress,
resuming, parallel workers and what happens to damaged episodes are the business of `engine.py`. A module
imports the packages it needs (pyarrow, h5py, a simulator) inside its functions: `detect` must be cheap and must work
without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from robolearn.core.errors import DatasetError, one_line
from robolearn.core.feature import Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.witness import Claim, Label, Witness
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json

ImageCodec = Literal["jpeg", "png"]
ShortVideos = Literal["cut", "skip"]
Subsampling = Literal["auto", "444", "420"]


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert; a source ignores what does not apply to its format.

    Attributes:
        fps: rate of the steps in Hz, for sources that do not store it.
        rename: source key -> feature name, over the format's own table.
        image_codec: `jpeg` (lossy) or `png` (lossless).
        jpeg_quality: 1 to 100; None is 90 for images whose colour the source subsampled already (video), else 95.
        jpeg_subsampling: `444` (full colour resolution), `420` (half), or `auto`: as the source.
        task: task text in place of the source's.
        cameras: cameras to render, for sources that hold simulator states instead of images.
        image_size: height and width in pixels of rendered images.
        max_episodes: stop after this many episodes of the source.
        resume: go on with an unfinished conversion of the same source with the same options, if there is one.
        workers: processes that read and encode; the result does not depend on it. None is one for each usable core
            where images are read, else one. More than one needs an importable main module (`multiprocessing`).
        progress: called after every episode with (episodes done, episodes in all).
        missing_as_zeros: a chunk of a zarr array that is not stored holds zeros, as zarr has it, and is no damage.
        kinds: feature or source key -> kind, in place of what it would be.
        names: feature or source key -> names of its elements.
        drop: features or source keys to leave out.
        ranges: feature or source key of pictures that are not uint8 -> the values that are black and white.
        swap_colours: red and blue of the pictures are the other way round than the format has them.
        short_videos: what becomes of an episode whose video ends up to a second early: `cut` leaves out the steps
            without a frame, `skip` the episode.
    """

    fps: float | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    image_codec: ImageCodec = "jpeg"
    jpeg_quality: int | None = None
    jpeg_subsampling: Subsampling = "auto"
    task: str | None = None
    cameras: tuple[str, ...] = ()
    image_size: int = 96
    max_episodes: int | None = None
    resume: bool = False
    workers: int | None = 1
    progress: Progress = no_progress
    missing_as_zeros: bool = False
    kinds: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    swap_colours: bool = False
    short_videos: ShortVideos = "cut"


@dataclass(frozen=True)
class ConvertReport:
    """What was written.

    Attributes:
        notes: one line for each thing that could not be carried over.
        skipped: one line for each episode that was left out because it is damaged.
    """

    source_format: str
    output: Path
    num_episodes: int
    num_steps: int
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceDescription:
    """What is in a foreign dataset, without converting it. `fps` is None where the source does not say."""

    source_format: str
    num_episodes: int
    num_steps: int
    fps: float | None
    features: Features
    tasks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class PartialEpisode(EpisodeData):
    """An episode of which something is left out or changed, as its notes say.

    Attributes:
        cut: steps at its end that are left out.
        notes: one line for each thing; equal ones of several episodes are told together.
    """

    cut: int = 0
    notes: tuple[str, ...] = ()


class EpisodeSource(ABC):
    """An opened foreign dataset, as the engine sees it. A worker process opens one of its own.

    Attributes:
        features: of the new dataset.
        fps: nominal rate in Hz.
        num_episodes: how many `read_episode` can be asked for.
        claims: feature (and `sim/state`, where there are simulator states) -> where its values come from.
        left_out: episodes of the source that cannot be asked for, as `notes` say.
        format_version: of the source, for provenance.
        metadata: json-ready facts about the whole: robot, operator, ...
        notes: one line for each thing that is not carried over.
        masks: name -> indices (of `read_episode`) of the episodes in it.
        sim_env: name and options of the simulated environment that episodes with simulator states come from.
        parallel: whether several processes are faster than one.
        subsampled: whether all images come from video with half the colour resolution (4:2:0).
        has_videos: whether `ConvertOptions.short_videos` is heeded.
        swaps_colours: whether `ConvertOptions.swap_colours` is heeded.
    """

    features: Features
    fps: float
    num_episodes: int
    claims: dict[str, Claim]
    left_out: Sequence[Label] = ()
    format_version: str | None = None
    metadata: Json
    notes: Sequence[str] = ()
    masks: Mapping[str, Sequence[int]]
    sim_env: Json | None = None
    parallel: bool = True
    subsampled: bool = False
    has_videos: bool = False
    swaps_colours: bool = False

    def __init__(self) -> None:
        self.claims = {}
        self.metadata = {}
        self.masks = {}

    @abstractmethod
    def label(self, index: int) -> Label:
        """What the source calls episode `index`: how its witness is asked for it."""

    @abstractmethod
    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """Episode `index`; images go to `spool` one by one and come back as `frames=spool.frames()`.

        `record["source_episode"]` is what the source calls the episode. Raises DatasetError naming file and episode
        when it is damaged. An episode of which something is left out is a `PartialEpisode`.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Let go of files and simulators."""


class Converter(Protocol):
    """The functions of a format's module."""

    @staticmethod
    def detect(source: Path) -> bool:
        """Whether `source` looks like this format. Reads names and small headers only; never raises."""
        ...

    @staticmethod
    def describe(source: Path) -> SourceDescription:
        """Raises DatasetError when the source is damaged."""
        ...

    @staticmethod
    def open_source(source: Path, options: ConvertOptions) -> EpisodeSource:
        """Raises DatasetError when the source is damaged as a whole, ConfigError for options that do not fit it."""
        ...

    @staticmethod
    def open_witness(source: Path, options: ConvertOptions) -> Witness:
        """A second reader of the same source; see `witness.py`. Raises DatasetError as `open_source` does."""
        ...


def damaged(where: object, error: object) -> DatasetError:
    """The error for something that cannot be read, on one line."""
    return DatasetError(f"{where} is missing or damaged ({one_line(error)}); copy it again.")


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "Source":
            raise ImportError(f"{__name__}.Source is now EpisodeSource; import that.")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
