"""What a converter is: a module with `detect`, `describe` and `convert`, listed by name in `registry.py`.

A converter opens the source, maps its keys to features and writes through `DatasetWriter`, one episode at a
time, so that its memory does not grow with the size of the source. It imports the packages it needs (pyarrow,
h5py, a simulator) inside its functions: `detect` must be cheap and must work without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from robolearn.core.feature import Features

ImageCodec = Literal["jpeg", "png"]
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """The default of `ConvertOptions.progress`: say nothing."""


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert; a converter ignores what does not apply to its format.

    Attributes:
        fps: rate of the steps in Hz, for sources that do not store it.
        rename: source key -> feature name, over the converter's own table.
        image_codec: `jpeg` (lossy) or `png` (lossless).
        jpeg_quality: 1 to 100.
        task: task text for sources that have none.
        cameras: cameras to render, for sources that hold simulator states instead of images.
        image_size: height and width in pixels of rendered images.
        max_episodes: stop after this many episodes.
        progress: called after every episode with (episodes done, episodes in all).
    """

    fps: float | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    image_codec: ImageCodec = "jpeg"
    jpeg_quality: int = 95
    task: str | None = None
    cameras: tuple[str, ...] = ()
    image_size: int = 96
    max_episodes: int | None = None
    progress: Progress = no_progress


@dataclass(frozen=True)
class ConvertReport:
    """What was written, and in `notes` one line for each thing that could not be carried over."""

    source_format: str
    output: Path
    num_episodes: int
    num_steps: int
    notes: tuple[str, ...] = ()


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


class Converter(Protocol):
    """The functions of a converter module."""

    @staticmethod
    def detect(source: Path) -> bool:
        """Whether `source` looks like this format. Reads names and small headers only; never raises."""
        ...

    @staticmethod
    def describe(source: Path) -> SourceDescription:
        """Raises DatasetError when the source is damaged."""
        ...

    @staticmethod
    def convert(source: Path, output: Path, options: ConvertOptions) -> ConvertReport:
        """Write `output` (a new dataset). Raises DatasetError when the source is damaged or `output` exists."""
        ...
