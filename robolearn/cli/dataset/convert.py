"""`robolearn dataset convert`: make a dataset from one of another format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robolearn.core.config import main_stderr, parse, to_dict
from robolearn.core.errors import ConfigError
from robolearn.datasets.convert.protocol import ConvertOptions, ImageCodec


@dataclass(frozen=True)
class ConvertCommand:
    """Options of `robolearn dataset convert`."""

    input: Path
    """Folder or file to read: LeRobot v3, diffusion_policy zarr, robosuite HDF5."""
    output: Path
    """Dataset to make, by habit NAME.zarr; must not exist."""
    format: str = "auto"
    """Format of the input; found out by default."""
    rename: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """KEY=FEATURE: name of a feature in the new dataset; give it once for each key."""
    fps: float | None = None
    """Rate of the steps in Hz, where the input does not store it."""
    task: str | None = None
    """Task text for all episodes, in place of what the input says."""
    image_codec: ImageCodec = "jpeg"
    """How images are stored: jpeg, or png without loss."""
    jpeg_quality: int = 95
    """1 to 100."""
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A camera to render from simulator states, where the input holds states; give it once for each camera."""
    image_size: int = 96
    """Height and width in pixels of rendered images."""
    num_episodes: int | None = None
    """Convert the first so many episodes only."""
    json: bool = False
    """Print a machine-readable report."""

    def options(self) -> ConvertOptions:
        """Raises ConfigError for values out of range."""
        pairs = [entry.partition("=") for entry in self.rename]
        if not all(key and equals and name for key, equals, name in pairs):
            raise ConfigError(f"--rename takes KEY=FEATURE, found {' '.join(self.rename)}.")
        if self.fps is not None and not self.fps > 0:
            raise ConfigError(f"--fps must be positive, found {self.fps}.")
        if self.num_episodes is not None and self.num_episodes < 1:
            raise ConfigError(f"--num-episodes must be at least 1, found {self.num_episodes}.")
        return ConvertOptions(
            self.fps, {key: name for key, _, name in pairs}, self.image_codec, self.jpeg_quality, self.task,
            self.camera, self.image_size, self.num_episodes,
        )  # fmt: skip


def main(argv: list[str]) -> int:
    """Make a dataset from one of another format."""
    command = parse(ConvertCommand, argv, "robolearn dataset convert", "Make a dataset from one of another format.")
    options = command.options()
    import dataclasses

    from rich.console import Console
    from rich.progress import Progress

    from robolearn.datasets.convert.registry import convert_dataset

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task(f"Converting {command.input.name}", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(job, completed=done, total=total)

        options = dataclasses.replace(options, progress=progress)
        report = convert_dataset(command.input, command.output, options, command.format)
    for note in report.notes:
        main_stderr(f"note: {note}")
    if command.json:
        print(json.dumps(to_dict(report)))
    else:
        print(f"Wrote {report.num_episodes} episodes, {report.num_steps} steps to {report.output}.")
    return 0
