"""What an exporter is: a function `(exported, work, options) -> notes`, listed by name in `registry.py`.

It reads through `ExportedDataset`, writes `work.result` (a file or a folder) and returns one line for each thing that
could not be carried over. Its memory does not grow with the size of the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from robolearn.core.errors import ConfigError
from robolearn.core.progress import Progress, no_progress

VideoCodec = Literal["av1", "h264", "none"]
CRF_LIMIT = {"av1": 63, "h264": 51, "none": 63}


@dataclass(frozen=True)
class ExportOptions:
    """How to export; an exporter ignores what does not apply to its format.

    Attributes:
        workers: threads that decode and encode images.
        mask: export only the episodes of this mask.
        rename: feature name -> name in the other format, over the exporter's own rule.
        video: codec of videos; `none` stores every image by itself, without loss.
        crf: quality of videos, lower is better; None: 30 for av1 (LeRobot's own setting), 23 for h264.
        compress: gzip images in HDF5: smaller and slower to read.
        next_obs: store `next_obs` in HDF5, which doubles its size and which imitation learning does not need.
        progress: called with (parts done, parts in all).
        resume: go on with what an interrupted export left.

    Raises ConfigError for values out of range.
    """

    workers: int = 1
    mask: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    video: VideoCodec = "av1"
    crf: int | None = None
    compress: bool = False
    next_obs: bool = True
    progress: Progress = no_progress
    resume: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"--workers must be at least 1, found {self.workers}.")
        if self.video not in CRF_LIMIT:
            raise ConfigError(f"--video is one of {', '.join(CRF_LIMIT)}, found {self.video!r}.")
        if self.crf is not None and not 0 <= self.crf <= CRF_LIMIT[self.video]:
            raise ConfigError(f"--crf is 0 to {CRF_LIMIT[self.video]} for {self.video}, found {self.crf}.")


@dataclass(frozen=True)
class ExportReport:
    """What was written, and in `notes` one line for each thing that could not be carried over."""

    format: str
    output: Path
    num_episodes: int
    num_steps: int
    notes: tuple[str, ...] = ()
