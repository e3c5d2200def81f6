"""What is in a dataset, as a json-ready record and as text. Never reads the data: records and statistics say it all."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.feature import Feature
from robolearn.datasets.convert.protocol import SourceDescription
from robolearn.datasets.convert.registry import detect_format, load_converter
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import as_url
from robolearn.datasets.tools.layouts import describe_layouts, layouts_text, robots_text
from robolearn.datasets.write.journal import find_journals

# of a feature with names, but no common unit, so many elements are listed one by one
LISTED_ELEMENTS = 16
LISTED_UNITS = 64  # where it is known what each is
LISTED_TASKS = 20
STREAM_COUNTS = ("expected", "received", "dropped", "late", "spooled")


def describe(location: str | Path) -> Json:
    """Describe our dataset, at a path or URL, or a path of a format that can be converted (less is known about those).

    Raises DatasetError when there is nothing at `location`, or nothing that can be read.
    """
    path = Path(location)
    foreign = as_url(location) is None and path.exists() and not layout.is_ours(path)
    if foreign and (path.is_file() or any(path.iterdir())):
        return _describe_source(path, load_converter(detect_format(path)).describe(path))
    return _describe_dataset(Dataset(location))


def _describe_dataset(dataset: Dataset) -> Json:
    records = dataset.episodes
    local = dataset.is_local
    size = size_on_disk(dataset.path) if local else None
    successes = [record.get("success") for record in records]
    yes, no = (sum(success is outcome for success in successes) for outcome in (True, False))
    return {
        "path": dataset.name,
        "format": f"robolearn {dataset.attributes['robolearn_format']}",
        "recorded": dataset.attributes.get("recorded"),
        "episodes": dataset.num_episodes,
        "steps": dataset.num_steps,
        "duration_s": sum(record.get("duration_s") or 0.0 for record in records),
        "fps": dataset.fps,
        "features": [_describe_feature(dataset, feature) for feature in dataset.features.values()],
        **describe_layouts({**dataset.streams, **dataset.features}.values(), dataset.sim_env),
        "streams": [_describe_stream(dataset, name) for name in dataset.streams],
        "tasks": dict(Counter(str(record["task"]) for record in records if record.get("task"))),
        "success": {"yes": yes, "no": no, "unknown": len(records) - yes - no},
        "timing": describe_timing(dataset),
        "late_ticks": sum(int(record.get("late_ticks") or 0) for record in records),
        "slow": _describe_slow(records),
        "pending": len(find_journals(dataset.path / layout.PENDING)) if local else None,
        "masks": {name: int(mask.sum()) for name, mask in dataset.masks.items()},
        "label_edits": sum(edit.labels is not None for edit in dataset.edits),
        "size_bytes": size,
        "bytes_per_step": size / dataset.num_steps if size and dataset.num_steps else None,
        "sim_env": dataset.sim_env,
        "metadata": dataset.attributes.get("metadata", {}),
        "created_at": dataset.attributes.get("created_at"),
        "checksum": dataset.checksum(),
    }


def _describe_feature(dataset: Dataset, feature: Feature) -> Json:
    described: Json = feature.to_dict()
    if not layout.is_encoded(feature) and dataset.intact_episodes.size:
        found = dataset.statistics(feature.name)
        for name in ("min", "max", "mean", "std"):
            described[name] = getattr(found, name).reshape(feature.shape).tolist()
    return described


def _describe_stream(dataset: Dataset, name: str) -> Json:
    stream = dataset.stream(name)
    counts = {key: sum(int(episode.get(key) or 0) for episode in stream.counts) for key in STREAM_COUNTS}
    measured = None if layout.is_event(stream.feature) else _measured_rate(stream.counts)
    return {**stream.feature.to_dict(), "rows": len(stream), "measured_hz": measured, **counts}


def _measured_rate(counts: list[Json]) -> float | None:
    """Gaps between samples per second of all episodes; None where no rate was recorded.

    From the rates of the episodes, because the rows of a stream begin before the grid and end after it.
    """
    rated = [(int(count.get("received") or 0) - 1, count.get("rate_hz")) for count in counts]
    measured = [(gaps, float(rate)) for gaps, rate in rated if gaps > 0 and rate]
    return sum(gaps for gaps, _ in measured) / sum(gaps / rate for gaps, rate in measured) if measured else None


def describe_timing(dataset: Dataset) -> Json | None:
    """Time between the steps of an episode against the nominal `1 / fps`, in seconds; None without two steps.

    Median and jitter are medians of those of the episodes, `max_s` is the longest gap of all.
    """
    timings = [record["timing"] for record in dataset.recorded_episodes if record.get("timing")]
    if not timings:
        return None
    return {
        "nominal_s": 1 / dataset.fps,
        "median_s": float(np.median([timing["median_s"] for timing in timings])),
        "max_s": float(max(timing["max_s"] for timing in timings)),
        "median_jitter_s": float(np.median([timing["jitter_s"] for timing in timings])),
    }


def _describe_slow(records: Sequence[Json]) -> Json | None:
    """Episodes that were recorded more slowly than they should have been, and what held them up; None without any."""
    slow = [record for record in records if record.get("slowed_by")]
    if not slow:
        return None
    return {
        "episodes": len(slow),
        "slowest_hz": min(float(record.get("rate_hz") or 0) for record in slow),
        "by": dict(Counter(str(record["slowed_by"]) for record in slow)),
    }


def size_on_disk(path: Path) -> int:
    """Bytes of all files below a folder, or of a file."""
    if path.is_file():
        return path.stat().st_size
    size = 0
    folders = [str(path)]
    while folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # somebody may be recording: files come and go
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat().st_size
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
        **describe_layouts(source.features.values()),
        "tasks": list(source.tasks),
        "size_bytes": size,
        "bytes_per_step": size / source.num_steps if source.num_steps else None,
        "notes": list(source.notes),
    }


def to_text(info: Json) -> str:
    """The record of `describe` for people."""
    lines = [f"{info['path']}  ({info['format']})"]
    facts: list[tuple[str, str | None]] = [
        ("episodes", str(info["episodes"])),
        ("steps", _steps(info)),
        ("rate", f"{info['fps']:g} Hz nominal" if info["fps"] else "not stored"),
        ("timing", _timing(info)),
        ("slow", _slow(info)),
        ("success", _success(info)),
        ("masks", _masks(info)),
        ("edits", _edits(info)),
        ("size", _size(info)),
        ("robots", robots_text(info["robots"])),
        ("simulator", _environment(info)),
        ("source", _source(info)),
        ("pending", _pending(info)),
        ("created", info.get("created_at")),
        ("checksum", info.get("checksum")),
    ]
    lines += [f"  {name:<10} {value}" for name, value in facts if value is not None]
    meanings = layouts_text(info["path"], info["layouts"])
    lines += [f"  {'' if k else 'layouts':<10} {line}" for k, line in enumerate(meanings)]
    lines += _tasks(info["tasks"])
    lines += ["", *_table(("feature", "shape", "dtype", "unit", "range"), _feature_rows(info))]
    if info.get("streams"):
        title = ("stream", "rate", "measured", "rows", "dropped", "late", "spooled")
        lines += ["", *_table(title, map(_stream_row, info["streams"]))]
    lines += [f"  note: {note}" for note in info.get("notes", [])]
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _steps(info: Json) -> str:
    seconds = info["duration_s"]
    if not seconds:
        return str(info["steps"])
    for unit, length in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length or length == 1:
            return f"{info['steps']} ({seconds / length:.1f} {unit})"
    raise AssertionError


def _slow(info: Json) -> str | None:
    slow = info.get("slow")
    if not slow:
        return None
    return (
        f"{_counted(slow['episodes'], 'episode')}, the slowest recorded at {slow['slowest_hz']:.1f} of "
        f"{info['fps']:g} Hz; held up by: {', '.join(slow['by'])}"
    )


def _timing(info: Json) -> str | None:
    timing = info.get("timing")
    if not timing:
        return None
    late = f", {_counted(info['late_ticks'], 'late tick')}" if info["late_ticks"] else ""
    return (
        f"a step takes {timing['median_s'] * 1e3:.2f} ms (median), jitter {timing['median_jitter_s'] * 1e3:.2f} ms "
        f"(median), longest gap {timing['max_s'] * 1e3:.1f} ms{late}"
    )


def _success(info: Json) -> str | None:
    counts = info.get("success")
    if not counts or not (counts["yes"] or counts["no"]):
        return None
    return ", ".join(f"{count} {label}" for label, count in counts.items() if count)


def _masks(info: Json) -> str | None:
    masks = info.get("masks")
    return ", ".join(f"{name} ({_counted(count, 'episode')})" for name, count in masks.items()) if masks else None


def _edits(info: Json) -> str | None:
    return f"{_counted(info['label_edits'], 'change')} of labels" if info.get("label_edits") else None


def _size(info: Json) -> str | None:
    size = info["size_bytes"]
    if size is None:
        return None
    text = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
    return text + (f", {info['bytes_per_step']:.0f} bytes a step" if info["bytes_per_step"] else "")


def _environment(info: Json) -> str | None:
    env = info.get("sim_env")
    return f"{env.get('name')}, scene version {env.get('scene_version')}" if env else None


def _source(info: Json) -> str | None:
    origin = info.get("metadata", {}).get("provenance") or {}
    if "tool" in origin:
        parents = (Path(str(parent.get("path"))).name for parent in origin.get("parents", []))
        return f"made by {origin['tool']} of {', '.join(parents)}"
    if "source" in origin:
        return f"{origin['source']} ({origin.get('format')}, sha256 {str(origin.get('sha256'))[:12]})"
    return None


def _pending(info: Json) -> str | None:
    pending = info.get("pending")
    return f"{_counted(pending, 'episode')} recorded but not saved, in pending/" if pending else None


def _tasks(tasks: dict[str, int] | list[str]) -> list[str]:
    counts = list(tasks.items()) if isinstance(tasks, dict) else [(task, 0) for task in tasks]
    lines = [
        f"  {'task':<10} {text}" + (f"  ({_counted(count, 'episode')})" if count else "")
        for text, count in counts[:LISTED_TASKS]
    ]
    more = len(counts) - LISTED_TASKS
    return [*lines, f"  {'':<10} and {_counted(more, 'other task')}"] if more > 0 else lines


def _feature_rows(info: Json) -> Iterable[tuple[str, ...]]:
    for feature in info["features"]:
        names = feature.get("names") or ()
        units = info["layouts"].get(feature["name"], {}).get("units")
        few = len(names) <= (LISTED_ELEMENTS if units is None else LISTED_UNITS)
        one_by_one = "min" in feature and not feature.get("unit") and len(names) > 1 and few
        span = _range(feature["min"], feature["max"]) if "min" in feature and not one_by_one else ""
        shape = "x".join(map(str, feature["shape"]))
        yield feature["name"], shape, feature["dtype"], feature.get("unit") or "", span
        if one_by_one:
            for name, unit, low, high in zip(
                names, units or [""] * len(names), feature["min"], feature["max"], strict=True
            ):
                yield f"  {name}", "", "", unit, _range(low, high)


def _range(low: Any, high: Any) -> str:
    return f"{np.min(low):.4g} to {np.max(high):.4g}"


def _stream_row(stream: Json) -> tuple[str, ...]:
    nominal, measured = stream.get("rate_hz"), stream["measured_hz"]
    return (
        stream["name"],
        f"{nominal:g} Hz" if nominal else "events",
        f"{measured:.4g} Hz" if measured else "",
        *(str(stream[key]) for key in ("rows", "dropped", "late", "spooled")),
    )


def _table(title: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [title, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(title))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
