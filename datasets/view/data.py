"""`ViewedDataset`: what the page asks about a dataset, as json-ready records, bytes of frames and packed curves."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.edits import QUARANTINE, edited_records, masks_of, read_edits
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.streams import Stream
from robolearn.datasets.view import series
from robolearn.datasets.view.paths import describe_paths
from robolearn.datasets.write.edits import edit_episodes, set_mask

MAX_ELEMENTS = 256
MAX_POINTS = 8192
_LABELS = ("task", "success", "notes")
_HIDDEN = ("index", "start_step", "checksums", "journal", "streams", "timing", "crc32")
_DEPTH_SAMPLES = 5


class ViewedDataset:
    """A dataset that may grow and whose labels change while it is looked at. Safe for several threads.

    Args:
        location: a path, or a URL; only what lies on this machine can be edited.

    Raises DatasetError when it cannot be opened.
    """

    def __init__(self, location: str | Path):
        self.location = location
        self._lock = threading.RLock()
        self._seen: object = None
        self._depth_ranges: dict[tuple[str, int], list[float]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Open the dataset anew when an episode was committed since, and read the edits."""
        with self._lock:
            seen = self._state(layout.METADATA)
            if self._seen is None or seen != self._seen:
                self.dataset = Dataset(self.location)
                self._seen = seen
            self._read_edits()

    def _state(self, name: str) -> object:
        try:
            found = os.stat(os.path.join(self.location, name))
        except OSError:  # a URL: shown as it was when opened
            return "remote"
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read_edits(self) -> None:
        dataset = self.dataset
        try:
            found, self.problem = read_edits(self.location), None
        except DatasetError as error:
            found, self.problem = [], str(error)
        self.edits = found
        self.episodes = edited_records(dataset.recorded_episodes, found)
        self.masks = masks_of(found, dataset.num_episodes)

    # --- overview ------------------------------------------------------------------------------------------

    def summary(self) -> Json:
        dataset = self.dataset
        streams = dataset.streams
        return {
            "name": Path(dataset.name).name,
            "location": dataset.name,
            "fps": dataset.fps,
            "num_episodes": dataset.num_episodes,
            "num_steps": dataset.num_steps,
            "editable": dataset.is_local and self.problem is None,
            "problem": self.problem,
            "features": [_described(feature, name in streams) for name, feature in self._shown().items()],
            "masks": self._mask_ranges(),
        }

    def _shown(self) -> dict[str, Feature]:
        """Features of the grid, and streams that are on no grid (events)."""
        return {**self.dataset.streams, **self.dataset.features}

    def _mask_ranges(self) -> Json:
        return {name: _runs(np.flatnonzero(mask)) for name, mask in self.masks.items()}

    def columns(self) -> Json:
        """One list a fact, one entry an episode, and each task text once."""
        tasks: dict[str, int] = {}
        columns: Json = {
            name: [] for name in ("steps", "duration", "task", "success", "dropped", "late", "repeats", "jitter_ms")
        }
        notes = {}
        for index, record in enumerate(self.episodes):
            counts = (record.get("streams") or {}).values()
            columns["steps"].append(record["num_steps"])
            columns["duration"].append(round(record["duration_s"], 3))
            columns["task"].append(tasks.setdefault(str(record.get("task") or ""), len(tasks)))
            columns["success"].append(record.get("success"))
            columns["dropped"].append(sum(item.get("dropped", 0) for item in counts))
            columns["late"].append(sum(item.get("late", 0) for item in counts) + int(record.get("late_ticks") or 0))
            columns["repeats"].append(sum(item.get("repeats", 0) for item in counts))
            jitter = (record.get("timing") or {}).get("jitter_s")
            columns["jitter_ms"].append(None if jitter is None else 1e3 * jitter)
            if record.get("notes"):
                notes[index] = str(record["notes"])
        return {**columns, "tasks": list(tasks), "notes": notes, "masks": self._mask_ranges()}

    # --- one episode ---------------------------------------------------------------------------------------

    def episode(self, index: int) -> Json:
        """Record, cameras with their first rows and history of one episode."""
        dataset = self.dataset
        steps = dataset.episode_slice(index)
        record = self.episodes[index]
        cameras = []
        for name, feature in self._shown().items():
            if not layout.is_encoded(feature):
                continue
            source = "stream" if name in dataset.streams else "grid"
            rows = dataset.stream(name).episode_slice(index) if source == "stream" else steps
            camera = {"name": name, "source": source, "kind": feature.kind, "first": rows.start, "shape": feature.shape}
            if feature.kind == "depth":
                camera["range"] = self._depth_range(name, source, index, rows)
            cameras.append(camera)
        return {
            "index": index,
            "start": steps.start,
            "steps": steps.stop - steps.start,
            "duration": record["duration_s"],
            "record": {key: value for key, value in record.items() if key not in (*_HIDDEN, *_LABELS)},
            "labels": {name: record.get(name) for name in _LABELS},
            "recorded_labels": {name: dataset.recorded_episodes[index].get(name) for name in _LABELS},
            "masks": [name for name, mask in self.masks.items() if mask[index]],
            "history": self._history(index),
            "cameras": cameras,
        }

    def _history(self, index: int) -> list[Json]:
        """The edits that changed this episode, newest first."""
        history: list[Json] = []
        inside: dict[str, bool] = {}
        for edit in self.edits:
            touched = any(start <= index < stop for start, stop in edit.episodes or ())
            about: Json = {"at": edit.at, "by": edit.by}
            if edit.labels is not None and touched:
                history.append({**about, "labels": edit.labels})
            elif edit.mask is not None and touched != inside.get(edit.mask, False):
                inside[edit.mask] = touched
                history.append({**about, "mask": edit.mask, "added": touched})
        return history[::-1]

    def _depth_range(self, name: str, source: str, index: int, rows: slice) -> list[float]:
        """Least and greatest distance to colour: the same for all frames of an episode, so that they do not flicker."""
        key = (name, index)
        if key not in self._depth_ranges:
            seen = []
            for row in np.unique(np.linspace(rows.start, rows.stop - 1, _DEPTH_SAMPLES).astype(int)):
                try:
                    image = self._frames(name, source).image(row)
                except DatasetError:  # told where the frame itself is shown
                    continue
                seen.append(image[::4, ::4][image[::4, ::4] > 0])
            values = np.concatenate(seen) if seen else np.empty(0)
            low, high = np.percentile(values, [1, 99]) if values.size else (0, 1)
            self._depth_ranges[key] = [float(low), float(max(high, low + 1))]
        return self._depth_ranges[key]

    def times(self, index: int, name: str | None = None) -> bytes:
        """float64 seconds of the grid's steps, or of the rows of a stream."""
        return self._times(index, name).astype("<f8").tobytes()

    def _times(self, index: int, name: str | None) -> np.ndarray:
        if name is None:
            steps = self.dataset.episode_slice(index)
            return self.dataset.rows("timestamp", steps.start, steps.stop)
        return self.dataset.stream(name).read_episode(index).timestamp

    def curves(
        self, index: int, name: str, source: str, elements: Sequence[int], start: float, stop: float, points: int
    ) -> bytes:
        """Some elements of a low-dimensional feature from `start` to `stop` seconds, thinned; see `series.packed`."""
        feature = self._require(name, encoded=False)
        size = int(np.prod(feature.shape, dtype=np.int64))
        if not elements or len(elements) > MAX_ELEMENTS or not all(0 <= k < size for k in elements):
            raise FeatureError(f"{name} has elements 0 to {size - 1}; ask for 1 to {MAX_ELEMENTS} of them.")
        if source == "stream":
            stream = self.dataset.stream(name).read_episode(index)
            times, rows = stream.timestamp, stream.values
        else:
            steps = self.dataset.episode_slice(index)
            times, rows = self._times(index, None), self.dataset.rows(name, steps.start, steps.stop)
        # one more row on either side, so that lines run on to the border
        low = max(int(np.searchsorted(times, start)) - 1, 0)
        high = int(np.searchsorted(times, stop, "right")) + 1
        chosen = np.asarray(rows)[low:high].reshape(-1, size)[:, list(elements)].astype(np.float32)
        thin = series.thinned(times[low:high], chosen, min(max(points, 16), MAX_POINTS))
        return series.packed(*thin, {"elements": list(elements), "total": len(chosen)})

    def paths(self, index: int) -> Json:
        """Where the tool of each arm went; see `paths.describe_paths`."""
        return describe_paths(self.dataset, index)

    def timing(self, index: int) -> Json:
        """How regularly the samples of an episode came, and where steps are late or show a sample again."""
        dataset, record = self.dataset, self.episodes[index]
        times = self._times(index, None)
        grid = series.regularity(times, dataset.fps) | {"name": "grid", "late": record.get("late_ticks")}
        rows = [grid]
        repeats = []
        for name, feature in dataset.streams.items():
            stream = dataset.stream(name).read_episode(index)
            found = series.regularity(stream.timestamp, feature.rate_hz)
            rows.append({**found, **stream.counts, **found, "name": name})
            if stream.frames is not None and stream.at_step is not None:
                repeats.append({"name": name, "marks": series.repeat_marks(times, stream.at_step)})
        return {"streams": rows, "gaps": series.gap_marks(times, dataset.fps), "repeats": repeats}

    # --- frames --------------------------------------------------------------------------------------------

    def _require(self, name: str, encoded: bool) -> Feature:
        known = {n: f for n, f in self._shown().items() if layout.is_encoded(f) == encoded}
        if name not in known:
            raise FeatureError(unknown_name("camera" if encoded else "plot", name, known))
        return known[name]

    def _frames(self, name: str, source: str) -> _GridFrames | Stream:
        return self.dataset.stream(name) if source == "stream" else _GridFrames(self.dataset, name)

    def frame(self, name: str, source: str, row: int, depth_range: tuple[float, float] | None) -> tuple[bytes, str]:
        """One frame and its content type: the stored bytes, or depth in colours.

        Raises FeatureError for what is not an image, DatasetError for a row out of range or a damaged frame.
        """
        feature = self._require(name, encoded=True)
        frames = self._frames(name, source)
        if feature.kind == "depth":
            return coloured(frames.image(row), *(depth_range or (0.0, 65535.0))), "image/png"
        data = frames.encoded(row)
        return data, "image/jpeg" if data.startswith(b"\xff\xd8") else "image/png"

    # --- edits ---------------------------------------------------------------------------------------------

    def edit_labels(self, index: int, fields: Json) -> None:
        """Journal new labels of one episode. Raises DatasetError for what cannot be a label."""
        unknown = next((name for name in fields if name not in _LABELS), None)
        if unknown is not None:
            raise DatasetError(unknown_name("label", unknown, _LABELS))
        with self._lock:
            edit_episodes(self.location, [index], fields)
            self._read_edits()

    def change_mask(self, name: str, add: Sequence[int], remove: Sequence[int]) -> None:
        """Journal that episodes join and leave a mask, which is made where there is none of that name.

        Raises DatasetError for an episode that does not exist and a name that cannot be used.
        """
        if name == QUARANTINE:
            raise DatasetError(f"The mask {name!r} is kept by robolearn dataset repair; choose another name.")
        with self._lock:
            self.refresh()  # other editors, and episodes recorded meanwhile, which the mask may hold
            mask = self.masks.get(name, np.zeros(self.dataset.num_episodes, bool)).copy()
            for episodes, value in ((add, True), (remove, False)):
                for episode in episodes:
                    self.dataset.episode_slice(episode)  # refuses what does not exist
                    mask[episode] = value
            set_mask(self.location, name, np.flatnonzero(mask).tolist())
            self._read_edits()


class _GridFrames:
    """The frames of a grid feature, with the methods of a stream."""

    def __init__(self, dataset: Dataset, name: str):
        self._dataset, self._name = dataset, name

    def encoded(self, row: int) -> bytes:
        return self._dataset.encoded(self._name, row)

    def image(self, row: int) -> np.ndarray:
        return self._dataset.image(self._name, row)


def coloured(depth: np.ndarray, low: float, high: float) -> bytes:
    """A depth image `(H, W)` or `(H, W, 1)` as a PNG: near is red, far is blue, black where nothing was measured."""
    plane = depth.reshape(depth.shape[:2])
    share = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
    colours = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)
    colours[plane == 0] = 0
    done, data = cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise DatasetError(f"OpenCV cannot encode an image of shape {depth.shape} as PNG.")
    return data.tobytes()


def _described(feature: Feature, stream: bool) -> Json:
    size = int(np.prod(feature.shape, dtype=np.int64))
    return {
        **feature.to_dict(),
        "source": "stream" if stream else "grid",
        "encoded": layout.is_encoded(feature),
        "size": size,
        "labels": list(feature.names) if feature.names else [],
    }


def _runs(indices: np.ndarray) -> list[list[int]]:
    """Sorted indices as ranges [start, stop)."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1) if indices.size else []
    return [[int(run[0]), int(run[-1]) + 1] for run in runs]
