"""LeRobot dataset format v3.0: `meta/info.json`, parquet tables of many episodes each, `meta/tasks.parquet`.

Low-dimensional features keep their names. The columns that count (episode, frame, index, task) become episode ends and
records; `timestamp` (float32 seconds, nominal in most datasets) becomes the time of each step. Videos are not decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, MissingDependencyError
from robolearn.core.feature import Feature, Features, features
from robolearn.datasets.convert.protocol import ConvertOptions, ConvertReport, SourceDescription
from robolearn.datasets.convert.source import check_rename, source_provenance, write_episode
from robolearn.datasets.writer import DatasetWriter

FORMAT = "lerobot_v3"
COUNTERS = ("episode_index", "frame_index", "index", "task_index", "timestamp")
BATCH_ROWS = 8192


@dataclass(frozen=True)
class Source:
    """What the small files of `meta/` say."""

    path: Path
    info: Mapping[str, Any]
    columns: Features
    skipped: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Source:
        """Raises DatasetError when `meta/info.json` is missing or damaged."""
        file = path / "meta" / "info.json"
        try:
            info = json.loads(file.read_bytes())
            columns, skipped = [], []
            for name, entry in info["features"].items():
                if entry["dtype"] in ("video", "image", "string"):
                    skipped.append(f"{name} ({entry['dtype']}) is not carried over")
                elif name not in COUNTERS:
                    columns.append(_feature(name, entry))
            int(info["total_episodes"]), int(info["total_frames"]), float(info["fps"]), str(info["data_path"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, FeatureError) as error:
            raise DatasetError(f"{file} is missing or damaged ({error!r}); copy the whole dataset again.") from error
        return cls(path, info, features(columns), tuple(skipped))

    @property
    def fps(self) -> float:
        return float(self.info["fps"])

    def data_files(self) -> list[Path]:
        """Parquet files of the steps, in order. Raises DatasetError when there is none."""
        files = sorted((self.path / "data").glob("**/*.parquet"))
        if not files:
            raise DatasetError(f"{self.path / 'data'} holds no parquet file; copy the whole dataset again.")
        return files

    def tasks(self) -> dict[int, str]:
        """Task texts by index; none when the file is absent. Raises DatasetError when it is damaged."""
        file = self.path / "meta" / "tasks.parquet"
        if not file.is_file():
            return {}
        table = _read(file, lambda parquet: parquet.read_table(file))
        texts = [name for name in table.column_names if name != "task_index"]
        if "task_index" not in table.column_names or len(texts) != 1:
            raise DatasetError(f"{file} has columns {table.column_names}, expected task_index and one of texts.")
        return dict(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True))


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    shape = tuple(entry["shape"])
    labels = entry.get("names")
    if isinstance(labels, Mapping):
        labels = next(iter(labels.values()), None)
    names = tuple(map(str, labels)) if isinstance(labels, list | tuple) and shape == (len(labels),) else None
    return Feature(name, shape, entry["dtype"], "action" if name == "action" else "state", names)


def detect(source: Path) -> bool:
    """Whether `source` is a folder whose `meta/info.json` is of version 3."""
    try:
        info = json.loads((source / "meta" / "info.json").read_bytes())
        return str(info["codebase_version"]).startswith("v3")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`; reads `meta/` only."""
    opened = Source.open(source)
    return SourceDescription(
        FORMAT,
        int(opened.info["total_episodes"]),
        int(opened.info["total_frames"]),
        opened.fps,
        opened.columns,
        tuple(opened.tasks().values()),
        opened.skipped,
    )


def convert(source: Path, output: Path, options: ConvertOptions) -> ConvertReport:
    """See `Converter.convert`. Streams: memory holds one episode and one batch of rows."""
    opened = Source.open(source)
    check_rename(options.rename, opened.columns)
    files, tasks = opened.data_files(), opened.tasks()
    names = {key: options.rename.get(key, key) for key in opened.columns}
    renamed = features(Feature.from_dict({**f.to_dict(), "name": names[key]}) for key, f in opened.columns.items())
    metadata = {
        "robot": opened.info.get("robot_type"),
        "provenance": source_provenance(source, FORMAT, opened.info["codebase_version"]),
        "lerobot_info": dict(opened.info),
    }
    total = min(int(opened.info["total_episodes"]), options.max_episodes or int(opened.info["total_episodes"]))
    with DatasetWriter.create(output, renamed, opened.fps, metadata, durable=False) as writer:
        for columns in _episodes(files, opened.columns):
            if writer.num_episodes == options.max_episodes:
                break
            record: dict[str, Any] = {
                "task": options.task or tasks.get(int(columns["task_index"][0])),
                "source_episode": int(columns["episode_index"][0]),
            }
            if "next.success" in columns:
                record["success"] = bool(columns["next.success"].any())
            values = {name: columns[key] for key, name in names.items()}
            write_episode(writer, source, columns["timestamp"].astype(np.float64), values, record)
            options.progress(writer.num_episodes, total)
        notes = list(opened.skipped)
        if writer.num_episodes < total:
            notes.append(f"meta/info.json lists {total} episodes, the parquet files hold {writer.num_episodes}")
        return ConvertReport(FORMAT, output, writer.num_episodes, writer.num_steps, tuple(notes))


def _episodes(files: list[Path], columns: Features) -> Iterator[dict[str, np.ndarray]]:
    """The columns of one episode after the other, in file order."""
    held: list[dict[str, np.ndarray]] = []
    for rows in (rows for file in files for rows in _batches(file, columns)):
        numbers = rows["episode_index"]
        for part in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers)) + 1):
            piece = {key: column[part] for key, column in rows.items()}
            if held and held[-1]["episode_index"][-1] != piece["episode_index"][0]:
                yield _joined(held)
                held = []
            held.append(piece)
    if held:
        yield _joined(held)


def _joined(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def _batches(file: Path, columns: Features) -> Iterator[dict[str, np.ndarray]]:
    wanted = {"episode_index": (), "task_index": (), "timestamp": ()} | {k: f.shape for k, f in columns.items()}
    parquet = _read(file, lambda parquet: parquet.ParquetFile(file))
    missing = sorted(wanted.keys() - set(parquet.schema_arrow.names))
    if missing:
        raise DatasetError(f"{file} lacks the column {missing[0]!r}, which meta/info.json lists.")
    batches = parquet.iter_batches(BATCH_ROWS, columns=list(wanted))
    while (batch := _read(file, lambda _: next(batches, None))) is not None:
        if batch.num_rows:
            yield {key: _to_numpy(file, key, batch.column(key), shape) for key, shape in wanted.items()}


def _to_numpy(file: Path, key: str, column: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`(rows, *shape)` of a flat or (nested) list column."""
    rows, flat = len(column), column
    while hasattr(flat, "flatten") and hasattr(flat.type, "value_type"):
        flat = flat.flatten()
    values = flat.to_numpy(zero_copy_only=False)
    if flat.null_count or len(values) != rows * int(np.prod(shape, dtype=np.int64)):
        raise DatasetError(f"{file}: column {key!r} does not hold {rows} values of shape {shape} without gaps.")
    return values.reshape(rows, *shape)


def _read(file: Path, call: Any) -> Any:
    """`call(pyarrow.parquet)`, with its errors naming the file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {file.name} needs pyarrow ({error}). Install it with: pip install '.[convert]' -c constraints.txt"
        ) from error
    try:
        return call(parquet)
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{file} is missing or damaged ({reason}); copy the whole dataset again.") from error
