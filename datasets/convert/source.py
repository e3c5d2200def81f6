"""What converters share: provenance of a source and renaming of its keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, FeatureError, unknown_name
from robolearn.core.provenance import wall_time
from robolearn.datasets.writer import DatasetWriter


def source_provenance(source: Path, source_format: str, format_version: str | None) -> dict[str, Any]:
    """Where converted data came from, for the new dataset's metadata."""
    return {
        "source": str(source.resolve()),
        "format": source_format,
        "format_version": format_version,
        "sha256": sha256_of(source),
        "converted_at": wall_time(),
    }


def sha256_of(source: Path) -> str:
    """sha256 of a file, or of the sorted names and sha256s of all files of a folder."""
    if source.is_file():
        digest = hashlib.sha256()
        with open(source, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    lines = [f"{p.relative_to(source).as_posix()} {sha256_of(p)}\n" for p in sorted(source.rglob("*")) if p.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_rename(rename: Mapping[str, str], keys: Iterable[str]) -> None:
    """Raises ConfigError when a renamed key is not in the source, or two keys get one name."""
    known = list(keys)
    for key in rename:
        if key not in known:
            raise ConfigError("--rename: " + unknown_name("key", key, known))
    if len(set(rename.values())) < len(rename):
        raise ConfigError(f"--rename gives two keys one name: {', '.join(f'{k}={v}' for k, v in rename.items())}.")


def write_episode(
    writer: DatasetWriter,
    source: Path,
    times_s: np.ndarray,
    columns: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
    sim_states: np.ndarray | None = None,
) -> None:
    """Append and commit one episode given as columns, feature name -> `(T, *shape)`, at `(T,)` times.

    Raises DatasetError naming source and episode for what the writer refuses (times that stand still, NaN).
    """
    writer.start_episode()
    try:
        for step, time_s in enumerate(times_s):
            values = {name: column[step] for name, column in columns.items()}
            writer.append(float(time_s), values, None if sim_states is None else sim_states[step])
    except (DatasetError, FeatureError) as error:
        raise DatasetError(f"{source}: episode {record.get('source_episode', writer.num_episodes)}, {error}") from error
    writer.commit({"started_at": None, **record})
