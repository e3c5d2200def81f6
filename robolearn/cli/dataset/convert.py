"""`robolearn dataset convert`: make a dataset from one of another format, or the other way round."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from robolearn.cli.dataset.making import element_names, pairs, progress_bar, ranges, wrote
from robolearn.core.config import main_stderr, parse, to_dict
from robolearn.core.errors import ConfigError
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.convert.export.protocol import ExportOptions, ExportReport, VideoCodec
from robolearn.datasets.convert.protocol import ConvertOptions, ConvertReport, ImageCodec, ShortVideos, Subsampling

OURS = "robolearn"
SUMMARY = "Make a dataset from one of another format, or the other way round."
SHOWN = 20
IMPORT_ONLY = (
    "source_format", "fps", "task", "image_codec", "jpeg_quality", "jpeg_subsampling", "camera", "image_size",
    "num_episodes", "missing_as_zeros", "kind", "names", "drop", "range",
    "swap_colours", "short_videos",
)  # fmt: skip
EXPORT_ONLY = {
    "lerobot_v3": ("mask", "video", "crf"),
    "lerobot_v2": ("mask", "video", "crf"),
    "robomimic_hdf5": ("mask", "compress", "next_obs"),
    "diffusion_policy_zarr": ("mask",),
}


@dataclass(frozen=True)
class ConvertCommand:
    """Options of `robolearn dataset convert`."""

    input: Path
    """Folder or file to read."""
    output: Path
    """What to make, by habit NAME.zarr; must not exist."""
    source_format: Annotated[str, tyro.conf.arg(name="from", aliases=["--format"])] = "auto"
    """Format of the input: lerobot_v3, lerobot_v2, diffusion_policy_zarr, rlds, robomimic_hdf5, aloha_hdf5,
    robosuite_hdf5, or one of an installed package; found out by default."""
    to: str = OURS
    """Format of the output: robolearn, or lerobot_v3, lerobot_v2 (v2.1), robomimic_hdf5, diffusion_policy_zarr, or one
    of an installed package."""
    resume: bool = False
    """Go on with OUTPUT.unfinished, which an interrupted conversion left."""
    workers: int | None = None
    """Processes (threads when exporting) that read and encode; by default one for each core where images are
    involved."""
    rename: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """KEY=NAME: name of a feature in the output; give it once for each key."""
    kind: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=KIND: state, action, image or depth, in place of what a feature would be; once for each."""
    names: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=A,B,C: names of the elements of a vector; once for each vector."""
    drop: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A feature to leave out; once for each."""
    range: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FEATURE=LOW,HIGH: the values of black and white, for pictures that are not stored in 8 bits; by default judged
    from the values."""
    swap_colours: bool = False
    """Red and blue of pictures are the other way round than ACT's recorder stores them (aloha_hdf5)."""
    fps: float | None = None
    """Rate of the steps in Hz, where the input does not store it."""
    task: str | None = None
    """Task text for all episodes, in place of what the input says."""
    image_codec: ImageCodec = "jpeg"
    """How images are stored: jpeg, or png without loss."""
    jpeg_quality: int | None = None
    """1 to 100; by default 95, or 90 for video."""
    jpeg_subsampling: Subsampling = "auto"
    """Colour resolution: 444 (full), 420 (half), or as the input stores it."""
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A camera to render from simulator states, where the input holds states; give it once for each camera."""
    image_size: int = 96
    """Height and width in pixels of rendered images."""
    num_episodes: int | None = None
    """Convert the first so many episodes only."""
    missing_as_zeros: bool = False
    """A chunk of a zarr array that is not stored holds zeros; by default it is damage."""
    short_videos: ShortVideos = "cut"
    """An episode whose video ends up to a second early: cut leaves out the steps without a frame, skip the episode."""
    mask: str | None = None
    """Export the episodes of this mask only."""
    video: VideoCodec = "av1"
    """Codec of exported videos; none stores every image by itself, without loss."""
    crf: int | None = None
    """Quality of exported videos, lower is better; by default 30 for av1, 23 for h264."""
    compress: bool = False
    """Compress images in exported HDF5: smaller, slower to read."""
    next_obs: bool = True
    """Store next_obs in exported HDF5."""
    json: bool = False
    """Print a machine-readable report."""

    def __post_init__(self) -> None:
        self.import_options(no_progress)  # what cannot be understood is said before anything is opened
        if self.fps is not None and not self.fps > 0:
            raise ConfigError(f"--fps must be positive, found {self.fps}.")
        for option, value in (("num-episodes", self.num_episodes), ("workers", self.workers)):
            if value is not None and value < 1:
                raise ConfigError(f"--{option} must be at least 1, found {value}.")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"--jpeg-quality is 1 to 100, found {self.jpeg_quality}.")
        known = {OURS: IMPORT_ONLY, **EXPORT_ONLY}
        others = {name for names in known.values() for name in names} - set(known.get(self.to, ()))
        for field in fields(self) if self.to in known else ():
            if field.name in others and getattr(self, field.name) != field.default:
                flag = {"source_format": "from", "next_obs": "no-next-obs"}.get(field.name, field.name)
                raise ConfigError(
                    f"--{flag.replace('_', '-')} says nothing about a conversion to {self.to}; leave it out."
                )

    @property
    def renamed(self) -> dict[str, str]:
        """What `--rename` says."""
        return pairs(self.rename, "rename", "KEY=FEATURE")

    @property
    def kinds(self) -> dict[str, str]:
        """What `--kind` says."""
        return pairs(self.kind, "kind", "FEATURE=KIND")

    def import_options(self, progress: Progress) -> ConvertOptions:
        return ConvertOptions(
            self.fps, self.renamed, self.image_codec, self.jpeg_quality, self.jpeg_subsampling, self.task, self.camera,
            self.image_size, self.num_episodes, self.resume, self.workers, progress,
            self.missing_as_zeros, self.kinds, element_names(self.names), self.drop,
            ranges(self.range), self.swap_colours, self.short_videos,
        )  # fmt: skip

    def export_options(self, progress: Progress) -> ExportOptions:
        from robolearn.core.process import usable_cores

        return ExportOptions(
            self.workers or usable_cores(), self.mask, self.renamed, self.video, self.crf, self.compress, self.next_obs,
            progress, self.resume,
        )  # fmt: skip


def main(argv: list[str]) -> int:
    """Make a dataset from one of another format, or one of another format from a dataset."""
    command = parse(ConvertCommand, argv, "robolearn dataset convert", SUMMARY)
    report: ConvertReport | ExportReport
    with progress_bar(f"Converting {command.input.name}") as progress:
        if command.to == OURS:
            from robolearn.datasets.convert.engine import convert_dataset

            options = command.import_options(progress)
            report = convert_dataset(command.input, command.output, options, command.source_format)
        else:
            from robolearn.datasets.convert.export.registry import export_dataset

            report = export_dataset(command.input, command.output, command.to, command.export_options(progress))
    for note in report.notes:
        main_stderr(f"note: {note}")
    for line in _shortened(report.skipped) if isinstance(report, ConvertReport) else ():
        main_stderr(line)
    if command.json:
        print(json.dumps(to_dict(report)))
    else:
        print(wrote(report.num_episodes, report.num_steps, report.output))
    return 0


def _shortened(skipped: tuple[str, ...]) -> list[str]:
    """One line for each episode that was left out, up to a number that still can be read."""
    more = len(skipped) - SHOWN
    lines = [f"left out: {reason}" for reason in skipped[:SHOWN]]
    return [*lines, f"left out: {more} more episodes; --json lists them all"] if more > 0 else lines
