"""What is in a dataset, as a json-ready record and as text."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.feature import Feature
from robolearn.datasets import layout
from robolearn.datasets.convert.protocol import SourceDescription
from robolearn.datasets.convert.registry import detect_format, load_converter
from robolearn.datasets.journal import find_journals
from robolearn.datasets.layout import Json
from robolearn.datasets.reader import Dataset


def describe(path: Path) -> Json:
    """Describe our dataset, or one of a format that can be converted (less is known about those).

    Raises DatasetError when there is nothing at `path`, or nothing that can be read.
    """
    empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not empty and not layout.is_ours(path):
        return _describe_source(path, load_converter(detect_format(path)).describe(path))
    return _describe_dataset(Dataset(path))


def _describe_dataset(dataset: Dataset) -> Json:
    size = size_on_disk(dataset.path)
    successes = Counter(record.get("success") for record in dataset.episodes)
    return {
        "path": str(dataset.path),
        "format": f"robolearn {dataset.attributes['robolearn_format']}",
        "episodes": dataset.num_episodes,
        "steps": dataset.num_steps,
        "duration_s": sum(record["duration_s"] for record in dataset.episodes),
        "fps": dataset.fps,
        "features": [_describe_feature(dataset, feature) for feature in dataset.features.values()],
        "tasks": dict(Counter(str(record["task"]) for record in dataset.episodes if record.get("task"))),
        "success": {"yes": successes[True], "no": successes[False], "unknown": successes[None]},
        "timing": describe_timing(dataset),
        "late_ticks": sum(int(record.get("late_ticks") or 0) for record in dataset.episodes),
        "pending": len(find_journals(dataset.path / layout.PENDING)),
        "size_bytes": size,
        "bytes_per_step": size / dataset.num_steps if dataset.num_steps else None,
        "sim_env": dataset.sim_env,
        "metadata": dataset.attributes.get("metadata", {}),
        "created_at": dataset.attributes.get("created_at"),
        "checksum": dataset.checksum(),
    }


def _describe_feature(dataset: Dataset, feature: Feature) -> Json:
    described: Json = feature.to_dict()
    if not layout.is_encoded(feature) and dataset.num_steps:
        array = dataset.array(feature.name)
        described["min"], described["max"] = array.min(axis=0).tolist(), array.max(axis=0).tolist()
    return described


def describe_timing(dataset: Dataset) -> Json | None:
    """Time between the steps of each episode against the nominal `1 / fps`, in seconds; None without two steps."""
    gaps = np.diff(dataset.timestamps)
    within = np.ones(len(gaps), bool)
    within[dataset.episode_ends[:-1] - 1] = False
    gaps = gaps[within]
    if not gaps.size:
        return None
    return {
        "nominal_s": 1 / dataset.fps,
        "median_s": float(np.median(gaps)),
        "max_s": float(gaps.max()),
        "median_jitter_s": float(np.median(np.abs(gaps - 1 / dataset.fps))),
    }


def size_on_disk(path: Path) -> int:
    """Bytes of all files below a folder, or of a file."""
    if path.is_file():
        return path.stat().st_size
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # somebody may be recording: files come and go
                size += os.stat(os.path.join(folder, name)).st_size
    return size


def _describe_source(path: Path, source: SourceDescription) -> Json:
    size = size_on_disk(path)
    return {
        "path": str(path),
        "format": source.source_format,
        "episodes": source.num_episodes,
        "steps": source.num_steps,
        "duration_s": source.num_steps / source.fps if source.fps else None,
        "fps": source.fps,
        "features": [feature.to_dict() for feature in source.features.values()],
        "tasks": list(source.tasks),
        "size_bytes": size,
        "bytes_per_step": size / source.num_steps if source.num_steps else None,
        "notes": list(source.notes),
    }


def to_text(info: Json) -> str:
    """The record of `describe` for people."""
    lines = [f"{info['path']}  ({info['format']})"]
    facts: list[tuple[str, Any]] = [
        ("episodes", info["episodes"]),
        ("steps", _steps(info)),
        ("rate", f"{info['fps']:g} Hz nominal" if info["fps"] else "not stored"),
        ("timing", _timing(info)),
        ("success", _success(info)),
        ("size", _size(info)),
        ("simulator", _environment(info)),
        ("source", _source(info)),
        (
            "pending",
            f"{info['pending']} episode(s) recorded but not saved, in pending/" if info.get("pending") else None,
        ),
        ("created", info.get("created_at")),
        ("checksum", info.get("checksum")),
    ]
    lines += [f"  {name:<10} {value}" for name, value in facts if value is not None]
    tasks = info["tasks"]
    counts = tasks.items() if isinstance(tasks, dict) else ((task, None) for task in tasks)
    lines += [f"  {'task':<10} {text}" + (f"  ({count} episodes)" if count else "") for text, count in counts]
    lines += ["", *_table(info["features"])]
    lines += [f"  note: {note}" for note in info.get("notes", [])]
    return "\n".join(lines)


def _steps(info: Json) -> str:
    duration = info["duration_s"]
    return f"{info['steps']}" + (f" ({duration / 60:.1f} min)" if duration else "")


def _timing(info: Json) -> str | None:
    timing = info.get("timing")
    if not timing:
        return None
    late = f", {info['late_ticks']} late ticks" if info["late_ticks"] else ""
    return (
        f"a step takes {timing['median_s'] * 1e3:.2f} ms (median), jitter {timing['median_jitter_s'] * 1e3:.2f} ms "
        f"(median), longest gap {timing['max_s'] * 1e3:.1f} ms{late}"
    )


def _success(info: Json) -> str | None:
    counts = info.get("success")
    if not counts or not (counts["yes"] or counts["no"]):
        return None
    return ", ".join(f"{count} {label}" for label, count in counts.items() if count)


def _size(info: Json) -> str:
    per_step = f", {info['bytes_per_step']:.0f} bytes a step" if info["bytes_per_step"] else ""
    return f"{info['size_bytes'] / 1e6:.2f} MB{per_step}"


def _environment(info: Json) -> str | None:
    env = info.get("sim_env")
    return f"{env.get('name')}, scene version {env.get('scene_version')}" if env else None


def _source(info: Json) -> str | None:
    origin = info.get("metadata", {}).get("provenance") or {}
    if "source" not in origin:
        return None
    return f"{origin['source']} ({origin.get('format')}, sha256 {str(origin.get('sha256'))[:12]})"


def _table(described: list[Json]) -> list[str]:
    rows = [("feature", "shape", "dtype", "unit", "range")]
    for feature in described:
        rows.append(
            (
                feature["name"],
                "x".join(map(str, feature["shape"])),
                feature["dtype"],
                feature.get("unit") or "",
                f"{np.min(feature['min']):.4g} to {np.max(feature['max']):.4g}" if "min" in feature else "",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
