"""diffusion_policy's replay buffer: a zarr v2 group with `data/<key>` (time first) and `meta/episode_ends`.

It stores no rate, times, units or task. A known set of keys (`LAYOUTS`) brings those along; other keys become
`action`, `observation.images.<key>` or `observation.<key>`, and `--rename key=feature` decides otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature, Features, features
from robolearn.datasets.codecs import register
from robolearn.datasets.convert.protocol import ConvertOptions, ConvertReport, SourceDescription
from robolearn.datasets.convert.source import check_rename, source_provenance, write_episode
from robolearn.datasets.layout import is_ours
from robolearn.datasets.writer import DatasetWriter

FORMAT = "diffusion_policy_zarr"
SMALLEST_IMAGE = 16


@dataclass(frozen=True)
class Column:
    """One feature and where it comes from: elements `first` to `stop` of the flattened rows of `data/<key>`."""

    key: str
    feature: Feature
    first: int = 0
    stop: int | None = None

    def read(self, array: Any, start: int, stop: int) -> np.ndarray:
        """`(stop - start, *shape)`. Float images hold 0 to 255, as diffusion_policy's do."""
        rows = np.asarray(array[start:stop]).reshape(stop - start, -1)[:, self.first : self.stop]
        if self.feature.kind == "image" and rows.dtype.kind == "f":
            rows = np.clip(np.rint(rows), 0, 255)
        return rows.reshape(stop - start, *self.feature.shape).astype(self.feature.dtype)


@dataclass(frozen=True)
class Layout:
    """A set of keys whose meaning is known."""

    name: str
    fps: float
    task: str
    columns: tuple[Column, ...]

    def fits(self, arrays: Mapping[str, Any]) -> bool:
        """Whether the arrays have all its keys with the right number of elements; other keys may be there too."""
        return all(c.key in arrays and _elements(arrays[c.key], c) == np.prod(c.feature.shape) for c in self.columns)


def _elements(array: Any, column: Column) -> int:
    return len(range(int(np.prod(array.shape[1:], dtype=np.int64)))[column.first : column.stop])


POSE = ("agent_x", "agent_y", "block_x", "block_y", "block_angle")


def _px(name: str, size: int, **fields: Any) -> Feature:
    return Feature(name, (size,), unit="px", frame="world", **fields)


PUSHT_KEYPOINTS = Layout(
    "pusht",
    fps=10.0,
    task="Push the T-shaped block onto the T-shaped target.",
    columns=(
        Column("keypoint", _px("observation.environment_state", 16)),
        Column("state", _px("observation.state", 2, names=POSE[:2]), stop=2),
        Column("state", Feature("observation.full_state", (5,), names=POSE, frame="world")),
        Column("action", _px("action", 2, names=POSE[:2], kind="action")),
        Column("img", Feature("observation.images.top", (96, 96, 3), "uint8", "image")),
    ),
)  # fmt: skip
LAYOUTS = (PUSHT_KEYPOINTS,)


@dataclass(frozen=True)
class Source:
    """The opened group."""

    path: Path
    arrays: dict[str, Any]
    episode_ends: np.ndarray
    layout: Layout | None
    notes: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Source:
        """Raises DatasetError when arrays are missing, damaged or of different lengths."""
        import zarr

        register()
        try:
            group = zarr.open_group(path, mode="r")
            data: Any = group["data"]
            arrays = dict(data.arrays())
            episode_ends = np.asarray(group["meta/episode_ends"][:], np.int64)  # type: ignore[index]
        except Exception as error:  # zarr has no common base of what a damaged store makes it raise
            raise DatasetError(
                f"{path} cannot be read as a replay buffer ({_reason(error)}); copy it again."
            ) from error
        if not arrays or not episode_ends.size:
            raise DatasetError(f"{path} holds no data: {len(arrays)} arrays, {episode_ends.size} episodes.")
        for key, array in arrays.items():
            steps = array.shape[0] if array.shape else "no"
            if steps != episode_ends[-1]:
                raise DatasetError(
                    f"{path}: data/{key} has {steps} steps, but meta/episode_ends ends at {episode_ends[-1]}."
                )
        if (np.diff(episode_ends, prepend=0) < 1).any():
            raise DatasetError(f"{path}: meta/episode_ends does not rise; expected cumulative ends of episodes.")
        gaps = {key: array.nchunks - array.nchunks_initialized for key, array in arrays.items()}
        notes = [f"data/{key}: {gap} chunks are not stored and read as zeros" for key, gap in gaps.items() if gap]
        layout = next((layout for layout in LAYOUTS if layout.fits(arrays)), None)
        return cls(path, arrays, episode_ends, layout, tuple(notes))

    def columns(self, rename: Mapping[str, str]) -> list[Column]:
        """What becomes of every key. A renamed key is stored whole under its new name."""
        check_rename(rename, self.arrays)
        known = [c for c in self.layout.columns if c.key not in rename] if self.layout else []
        taken = {column.key for column in known}
        return known + [_default_column(k, a, rename.get(k)) for k, a in self.arrays.items() if k not in taken]

    def read(self, column: Column, episode: int) -> np.ndarray:
        """Raises DatasetError naming the array when a chunk is damaged."""
        start, stop = int(self.episode_ends[episode - 1]) if episode else 0, int(self.episode_ends[episode])
        try:
            return column.read(self.arrays[column.key], start, stop)
        except Exception as error:  # whatever the array's compressor raises
            raise DatasetError(
                f"{self.path}: data/{column.key}, steps {start} to {stop - 1}, cannot be read ({_reason(error)}); "
                "copy it again."
            ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _default_column(key: str, array: Any, name: str | None) -> Column:
    shape = tuple(array.shape[1:]) or (1,)
    if len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= SMALLEST_IMAGE and array.dtype.kind in "uf":
        return Column(key, Feature(name or f"observation.images.{key}", shape, "uint8", "image"))
    target = name or (key if key == "action" or key == "coverage" else f"observation.{key}")
    return Column(key, Feature(target, shape, array.dtype.name, "action" if target == "action" else "state"))


def detect(source: Path) -> bool:
    """Whether `source` is a zarr v2 group with `data` and `meta/episode_ends`, and not one of ours."""
    needed = (".zgroup", "data/.zgroup", "meta/episode_ends/.zarray")
    return all((source / name).is_file() for name in needed) and not is_ours(source)


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads array descriptions and episode ends only."""
    opened = Source.open(source)
    found: Features = features(column.feature for column in opened.columns({}))
    known = opened.layout
    return SourceDescription(
        FORMAT,
        len(opened.episode_ends),
        int(opened.episode_ends[-1]),
        known.fps if known else None,
        found,
        (known.task,) if known else (),
        opened.notes,
    )


def convert(source: Path, output: Path, options: ConvertOptions) -> ConvertReport:
    """See `Converter.convert`. Streams: memory holds one episode.

    Raises ConfigError when the rate is neither known nor given.
    """
    opened = Source.open(source)
    columns = opened.columns(options.rename)
    known = opened.layout
    fps = options.fps or (known.fps if known else None)
    if fps is None:
        raise ConfigError(f"{source} does not store the rate of its steps; give it with --fps.")
    metadata = {"robot": known.name if known else None, "provenance": source_provenance(source, FORMAT, "zarr 2")}
    total = min(len(opened.episode_ends), options.max_episodes or len(opened.episode_ends))
    notes = [*opened.notes, f"the source stores no times: step k of an episode gets k / {fps:g} s"]
    with DatasetWriter.create(
        output,
        features(column.feature for column in columns),
        fps,
        metadata,
        image_codec=options.image_codec,
        jpeg_quality=options.jpeg_quality,
        durable=False,
    ) as writer:
        for episode in range(total):
            rows = {column.feature.name: opened.read(column, episode) for column in columns}
            times_s = np.arange(len(next(iter(rows.values())))) / fps
            task = options.task or (known.task if known else None)
            write_episode(writer, source, times_s, rows, {"task": task, "source_episode": episode})
            options.progress(episode + 1, total)
        return ConvertReport(FORMAT, output, writer.num_episodes, writer.num_steps, tuple(notes))
