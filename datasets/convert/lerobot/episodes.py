"""What LeRobot's formats v2 and v3 have in common: episodes of parquet columns, embedded images and videos.

Low-dimensional features keep their names. The columns that count (episode, frame, index, task) become episode ends and
records. `timestamp` (float32 seconds, nominal in most datasets) becomes the time of each step, counted from the first
step of its episode: in some datasets it runs on from episode to episode, or begins late. Image `observation.image`
becomes `observation.images.image`, others keep their names. Texts go to the episode's record.
"""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.array_features import SourceArray, decide
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.lerobot.info import Info
from robolearn.datasets.convert.lerobot.true_features import Looked, column_dtype, picture_kinds, video_feature
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, PartialEpisode
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.convert.video import Video, is_half_colour
from robolearn.datasets.convert.witness import Label, claim
from robolearn.datasets.convert.wording import changes, rate_note, spelt
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json

LATE_START = "timestamp does not begin at 0: times are counted from the first step of the episode"
LOOKED_AT = 64  # episodes of which pictures in lists of numbers are looked at
OPENED = 4  # episodes of which encoded pictures are looked at
LONGEST_CUT_S = 1.0  # an episode that lacks more at its end is left out


@dataclass(frozen=True)
class Place:
    """Where the frames of an episode and camera are.

    Attributes:
        start_s, stop_s: the times in the file between which they lie; None for its end.
        trouble: why they cannot be told, or "".
    """

    file: Path
    start_s: float = 0.0
    stop_s: float | None = None
    trouble: str = ""


class LeRobotSource(EpisodeSource):
    """An opened dataset of either version; the versions differ in where rows and frames are.

    Args:
        info: of the dataset.
        options: of the conversion.
        tasks: task index -> text.
        videos: keys of the videos that are there.
        notes: what is missing.
        numbers: of the episodes that are whole, in the order of `read_episode`.
        listed: number of every episode -> task texts that `meta/` gives it.
        named: episodes that are left out, as `notes` say.
    """

    def __init__(
        self, info: Info, options: ConvertOptions, tasks: Mapping[int, str], videos: Sequence[str],
        notes: Sequence[str], numbers: Sequence[int], listed: Mapping[int, Sequence[str]], named: Collection[int],
    ):  # fmt: skip
        super().__init__()
        self.numbers = list(numbers)
        self.num_episodes = len(self.numbers)
        self.left_out = sorted(named)
        self.info, self.options, self.tasks, self.listed = info, options, tasks, listed
        self.path = info.path
        looked = self._looked(videos)
        arrays = [info.source_array(key, item.feature, item.dtype) for key, item in looked.items()]
        decision = decide(arrays, options, self._look)
        self.names, self.features, self.pixels = decision.names, decision.features, decision.pixels
        self._scaled = {key: item.pixels for key, item in looked.items() if item.pixels and key in self.names}
        self.claims = {}
        for key, name in self.names.items():
            self.claims[name] = claim(key, pixels=self.pixels.get(name), channels=self._channels(key))
            if key in self._scaled:
                self.claims[name] = replace(self.claims[name], range=self._scaled[key].range)
        self.fps = info.fps
        self.format_version = str(info.raw.get("codebase_version"))
        self.notes = [*notes, *(item.note for item in looked.values() if item.note), *decision.notes]
        self.subsampled = bool(videos) and all(is_half_colour(info.raw["features"][key]) for key in videos)
        self._videos: dict[str, Video] = {}
        self.has_videos = bool(videos)
        self.metadata = {"robot": info.raw.get("robot_type"), "lerobot_stats": _stats(self.path)}
        if info.origin:
            self.metadata = info.origin.imported_metadata
            place = {number: index for index, number in enumerate(self.numbers)}
            self.masks = {
                name: [place[n] for n in members if n in place] for name, members in info.origin.masks.items()
            }

    def label(self, index: int) -> Label:
        return self.numbers[index]

    @abstractmethod
    def rows(self, index: int, columns: Sequence[str], if_there: Sequence[str] = ()) -> Any:
        """pyarrow table of an episode's rows. Raises DatasetError when its file is damaged."""

    @abstractmethod
    def row_file(self, index: int, step: int) -> Path:
        """The parquet file in which a step is."""

    @abstractmethod
    def video(self, index: int, key: str) -> Place:
        """Where the frames of an episode are."""

    # what is declared and what is there

    def _looked(self, videos: Sequence[str]) -> dict[str, Looked]:
        """Every key that is carried over, as it is and not only as `info.json` says."""
        info = self.info
        found = {}
        for key, feature in info.all.items():
            if key in info.columns:
                found[key] = column_dtype(key, feature, self._schema, info)
            elif info.origin is not None:
                found[key] = Looked(feature)
            elif key in info.embedded:
                found[key] = picture_kinds(key, feature, self._first_pictures(key))
            elif key in videos:
                found[key] = video_feature(key, feature, (self.video(i, key).file for i in range(self.num_episodes)))
        return {key: item for key, item in found.items() if key not in info.videos or key in videos}

    @property
    def _schema(self) -> Any:
        """The arrow schema of the first episode that can be read; None when none can."""
        if not hasattr(self, "_found_schema"):
            self._found_schema = None
            for index in range(min(OPENED, self.num_episodes)):
                with contextlib.suppress(DatasetError):
                    self._found_schema = self.rows(index, ["timestamp"], tuple(self.info.columns)).schema
                    break
        return self._found_schema

    def _first_pictures(self, key: str) -> Iterator[bytes]:
        """Encoded pictures of a few episodes all over the dataset: first, middle and last."""
        for index in spread(self.num_episodes, OPENED):
            with contextlib.suppress(DatasetError):
                cells = self.rows(index, [key])[key]
                for step in first_middle_last(len(cells)):
                    yield self._image_bytes(key, cells[step].as_py())

    def _look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last row of episodes all over the dataset; those that cannot be read are left out."""
        for index in spread(self.num_episodes, LOOKED_AT):
            with contextlib.suppress(DatasetError):
                rows = to_numpy("", array.key, self.rows(index, [array.key])[array.key], array.shape)
                yield rows[first_middle_last(len(rows))]

    def _channels(self, key: str) -> int | None:
        """Of the pictures in videos, which are decoded in colour, those that a grey feature holds."""
        feature = self.features[self.names[key]]
        return 1 if key in self.info.videos and feature.shape[2:] == (1,) else None

    # episodes

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `EpisodeSource.read_episode`."""
        info, number = self.info, self.numbers[index]
        where = f"{self.path}: episode {number}"
        low = [key for key in info.columns if key in self.names]
        embedded = [key for key in info.embedded if key in self.names]
        clock = info.origin.timestamp if info.origin else "timestamp"
        wanted = ["timestamp", clock, *low, *embedded, *info.texts]
        table = self.rows(index, list(dict.fromkeys(wanted)), ("task_index",))
        if not len(table):
            raise DatasetError(f"{where}: it has no steps.")
        nominal = to_numpy(where, "timestamp", table["timestamp"], ()).astype(np.float64)
        frames = {key: self._frames(where, key, index, nominal) for key in info.videos if key in self.names}
        held = len(table)
        count = min([held, *(len(found) for found in frames.values())])
        notes = list(self._cut(where, index, frames, count, held))
        table = table.slice(0, count)
        times = to_numpy(where, clock, table[clock], ()).astype(np.float64)
        if not info.origin and times[0] != 0.0:
            times = times - times[0]
            notes.append(LATE_START)
        if not info.origin and (otherwise := rate_note(times, info.frame_rate)):
            notes.append(otherwise)
        values = {}
        for key in low:
            rows = to_numpy(where, key, table[key], info.columns[key].shape)
            if pixels := self.pixels.get(self.names[key]):
                self._read_pictures(where, pixels, self.names[key], rows, spool)
            else:
                values[self.names[key]] = rows
        for key in embedded:
            self._read_embedded(where, key, index, table[key], spool)
        for key, found in frames.items():
            self._read_video(where, key, found[:count], spool)
        record = self._record(number, table, values)
        return PartialEpisode(times, values, spool.frames(), record, cut=held - count, notes=tuple(notes))

    def _record(self, number: int, table: Any, values: Mapping[str, np.ndarray]) -> Json:
        origin = self.info.origin
        if origin and number < len(origin.episodes):
            record = dict(origin.episodes[number])
            return {**record, "task": self.options.task} if self.options.task else record
        record = {"source_episode": number}
        for key in self.info.texts:
            said = changes(table[key].to_pylist())
            record[key] = said[0][1] if len(said) == 1 else said
        tasks = self._tasks_of(number, table)
        record["task"] = self.options.task or (tasks[0][1] if tasks else None)
        if len(tasks) > 1:
            record["tasks"] = tasks
        success = values.get(self.names.get("next.success", ""))
        if success is not None:
            record["success"] = bool(success.any())
        return record

    def _tasks_of(self, number: int, table: Any) -> list[tuple[int, str | None]]:
        """(Step, text) for each change of the task; by the row's `task_index`, else as `meta/` lists the episode."""
        if "task_index" in table.column_names and self.tasks:
            found = [(step, self.tasks.get(task)) for step, task in changes(table["task_index"].to_pylist())]
            if any(text for _, text in found):
                return found
        return [(0, text) for text in self.listed.get(number, ())[:1]]

    def _image_bytes(self, key: str, data: Any) -> bytes:
        """The encoded image of a cell: inside it, or in a file that it names."""
        if isinstance(data, Mapping):
            if data.get("bytes"):
                return bytes(data["bytes"])
            name = Path(str(data.get("path") or ".."))
            # by its name: downloads of the Hugging Face hub are links to files elsewhere
            if not name.is_absolute() and ".." not in name.parts and (self.path / name).is_file():
                return (self.path / name).read_bytes()
        elif isinstance(data, bytes):
            return data
        raise DatasetError(f"column {key!r} holds neither an image nor the name of a file in the dataset.")

    def _read_embedded(self, where: str, key: str, index: int, column: Any, spool: FrameSpool) -> None:
        for step, data in enumerate(column.to_pylist()):
            try:
                spool.add_encoded(self.names[key], self._image_bytes(key, data), self._scaled.get(key))
            except DatasetError as error:
                raise DatasetError(f"{where}, step {step} ({self.row_file(index, step)}): {error}") from error

    def _read_pictures(self, where: str, pixels: Pixels, name: str, rows: np.ndarray, spool: FrameSpool) -> None:
        """Pictures that are stored as lists of numbers."""
        reader = pixels.reader()
        try:
            for image in reader(rows):
                spool.add(name, image)
            reader.finish()
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error

    # videos

    def _frames(self, where: str, key: str, index: int, nominal: np.ndarray) -> np.ndarray:
        """Numbers, in its file, of the frames of the first steps: all, or as many as the video has."""
        place = self.video(index, key)
        try:
            if place.trouble:
                raise DatasetError(place.trouble)
            video = self._videos.get(key)
            if video is None or video.path != place.file:  # episodes follow each other in a file
                video = self._videos[key] = Video(place.file)
            return video.frames_of(nominal, place.start_s, place.stop_s, self.info.frame_rate)
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error

    def _cut(self, where: str, index: int, frames: Mapping[str, np.ndarray], count: int, held: int) -> Iterator[str]:
        """Notes on steps at the end that have no frame. Raises DatasetError where the episode is left out for it."""
        for key, found in frames.items():
            if len(found) == held or len(found) > count:
                continue
            file, steps = self.video(index, key).file, spelt("step", count, held - 1)
            if self.options.short_videos == "skip":
                raise DatasetError(f"{where}: {file} has no frame for {steps}; --short-videos cut keeps the others.")
            if count == 0 or (held - count) / self.info.frame_rate > LONGEST_CUT_S:
                raise DatasetError(f"{where}: {file} has no frame for {steps} of {held}: too much to cut off.")
            yield f"{file} has no frame for {steps}, left out"

    def _read_video(self, where: str, key: str, numbers: np.ndarray, spool: FrameSpool) -> None:
        name, step = self.names[key], 0
        grey = self._channels(key) == 1
        try:
            for repeats, image in self._videos[key].decode(numbers):
                spool.add(name, image[..., :1] if grey and image.ndim == 3 else image)
                for _ in range(repeats - 1):
                    spool.repeat(name)
                step += repeats
        except DatasetError as error:
            raise DatasetError(f"{where}, step {step}: {error}") from error


def _stats(path: Path) -> Json | None:
    """`meta/stats.json`, for reference: our own statistics are computed from what is stored."""
    try:
        return parsed((path / "meta" / "stats.json").read_bytes())
    except (OSError, ValueError):
        return None


def to_numpy(where: str, key: str, column: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`(rows, *shape)` of a flat or (nested) list column. Raises DatasetError when it does not hold as much."""
    rows, flat = len(column), column.combine_chunks()
    while hasattr(flat, "flatten") and hasattr(flat.type, "value_type"):
        flat = flat.flatten()
    values = flat.to_numpy(zero_copy_only=False)
    if flat.null_count or len(values) != rows * math.prod(shape):
        raise DatasetError(f"{where}: column {key!r} does not hold {rows} values of shape {shape} without gaps.")
    return values.reshape(rows, *shape)
