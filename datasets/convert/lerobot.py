"""What LeRobot's formats v2 and v3 have in common: `meta/info.json`, parquet columns, embedded images, videos.

Low-dimensional features keep their names. The columns that count (episode, frame, index, task) become episode ends and
records; `timestamp` (float32 seconds, nominal in most datasets) becomes the time of each step as it is stored. Image
`observation.image` becomes `observation.images.image`, others keep their names. Texts go to the episode's record.
"""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError, MissingDependencyError
from robolearn.core.feature import Feature, Features
from robolearn.datasets.convert.decide import Decision, SourceArray, decide, describe_arrays
from robolearn.datasets.convert.export.origin import KEY, Origin
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions, PartialEpisode, Source, damaged
from robolearn.datasets.convert.source import changes
from robolearn.datasets.convert.spool import FrameSpool
from robolearn.datasets.convert.video import Video, is_half_colour
from robolearn.datasets.convert.witness import Label, Witness, claim
from robolearn.datasets.episode import EpisodeData
from robolearn.datasets.layout import Json

LATE_START = "timestamp does not begin at 0: times are counted from the first step of the episode"
COUNTERS = ("episode_index", "frame_index", "index", "task_index", "timestamp")
LOOKED_AT = 64  # episodes of which pictures in lists of numbers are looked at


@dataclass(frozen=True)
class Info:
    """What `meta/info.json` says, and `meta/robolearn.json` of a dataset that we exported.

    Attributes:
        raw: the whole document.
        columns: key -> low-dimensional feature in the parquet files.
        embedded: key -> image or depth feature whose encoded frames are in the parquet files.
        videos: key -> image feature in video files.
        texts: keys of text columns.
        origin: what an export of ours says of the dataset it came from.
    """

    path: Path
    raw: Mapping[str, Any]
    columns: Features = field(default_factory=dict)
    embedded: Features = field(default_factory=dict)
    videos: Features = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    origin: Origin | None = None

    @classmethod
    def read(cls, path: Path, version: str) -> Info:
        """Raises DatasetError when `meta/info.json` is missing, damaged or of another version than `v2` or `v3`."""
        file = path / "meta" / "info.json"
        origin_file = path / "meta" / f"{KEY}.json"
        try:
            raw = json.loads(file.read_bytes())
            int(raw["total_episodes"]), int(raw["total_frames"]), float(raw["fps"]), str(raw["data_path"])
            if not str(raw["codebase_version"]).startswith(version):
                raise DatasetError(f"{file} is of version {raw['codebase_version']}, expected {version}.")
            origin = None
            if origin_file.is_file():
                origin = Origin.from_json(json.loads(origin_file.read_bytes()), str(origin_file))
            info = cls(
                path, raw, texts=tuple(k for k, e in raw["features"].items() if e["dtype"] == "string"), origin=origin
            )
            for key, entry in raw["features"].items():
                if entry["dtype"] in ("image", "video"):
                    group = info.embedded if entry["dtype"] == "image" else info.videos
                    group[key] = _image_feature(key, entry)
                elif entry["dtype"] != "string" and key not in COUNTERS:
                    info.columns[key] = _feature(key, entry)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, FeatureError) as error:
            raise damaged(file, repr(error)) from error
        if origin:
            info._use(origin)
        return info

    def _use(self, origin: Origin) -> None:
        """Take over the features of the exported dataset, and drop what the exporter made up."""
        for group in (self.columns, self.embedded, self.videos):
            for key in list(group):
                if key in origin.keys:
                    group[key] = origin.features[origin.keys[key]]
                else:
                    del group[key]

    @property
    def fps(self) -> float:
        return self.origin.fps if self.origin else float(self.raw["fps"])

    def source_array(self, key: str, feature: Feature) -> SourceArray:
        """A key as it is declared to `decide`: a name that is LeRobot's own is kept, whatever it says."""
        own = self.origin is not None or key == "action" or key.partition(".")[0] in ("observation", "action", "next")
        encoded = key not in self.columns
        dtype = feature.dtype if encoded else str(self.raw["features"][key]["dtype"])
        return SourceArray(
            key, feature.shape, dtype, feature, fixed=own, encoded=encoded, known=self.origin is not None
        )

    def described(self, videos: Sequence[str]) -> Decision:
        """What becomes of the keys, without a look at any row."""
        found = {key: feature for key, feature in self.all.items() if key not in self.videos or key in videos}
        return describe_arrays([self.source_array(k, f) for k, f in found.items()], lambda array: ())

    def file(self, template: str, **fields: Any) -> Path:
        """Path of a file, from the template `data_path` or `video_path` of `info.json`.

        Raises DatasetError for a template that does not fit or leads out of the dataset.
        """
        try:
            name = str(self.raw[template]).format(**fields)
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise damaged(self.path / "meta" / "info.json", f"{template}: {error!r}") from error
        if name.startswith("/") or ".." in Path(name).parts:
            raise DatasetError(f"{self.path / 'meta' / 'info.json'}: {template} leads out of the dataset.")
        return self.path / name

    @property
    def all(self) -> Features:
        """Every key that becomes a feature, in the order of `info.json`."""
        found = {**self.columns, **self.embedded, **self.videos}
        return {key: found[key] for key in self.raw["features"] if key in found}


def _feature(key: str, entry: Mapping[str, Any]) -> Feature:
    shape = tuple(entry["shape"])
    names = _labels(entry.get("names"))
    kind = "action" if key == "action" or key.startswith("action.") else "state"
    return Feature(key, shape, entry["dtype"], kind, names if names and shape == (len(names),) else None)  # type: ignore[arg-type]


def _labels(names: Any) -> tuple[str, ...] | None:
    """A list of names, or one inside a list or mapping."""
    while isinstance(names, Mapping) or (isinstance(names, list) and names and isinstance(names[0], list)):
        names = next(iter(names.values()), None) if isinstance(names, Mapping) else names[0]
    return tuple(map(str, names)) if isinstance(names, list) else None


def _image_feature(key: str, entry: Mapping[str, Any]) -> Feature:
    shape = tuple(int(n) for n in entry["shape"])
    labels = _labels(entry.get("names")) or ()
    channels_first = labels[0].startswith("channel") if labels else shape[0] in (1, 3) and shape[-1] not in (1, 3)
    if channels_first and len(shape) == 3:
        shape = (*shape[1:], shape[0])
    details = entry.get("info") or entry.get("video_info") or {}
    if details.get("video.is_depth_map") or details.get("is_depth_map"):
        return Feature(key.replace("observation.images.", "observation.depth."), shape[:2], "uint16", "depth")
    name = f"observation.images.{key.removeprefix('observation.')}" if key.count(".") == 1 else key
    return Feature(name, shape, "uint8", "image")


class LeRobotSource(Source):
    """An opened dataset of either version; the versions differ in where rows and frames are.

    Args:
        info: of the dataset.
        options: of the conversion.
        tasks: task index -> text.
        videos: keys of the videos that are there.
        notes: what is missing.
        numbers: of the episodes that are whole, in the order of `read_episode`.
        listed: numbers of all episodes; `notes` say why the others are left out.
    """

    def __init__(
        self, info: Info, options: ConvertOptions, tasks: Mapping[int, str], videos: Sequence[str],
        notes: Sequence[str], numbers: Sequence[int], listed: Iterable[int],
    ):  # fmt: skip
        super().__init__()
        self.numbers = list(numbers)
        self.num_episodes = len(self.numbers)
        self.left_out = sorted(set(listed) - set(self.numbers))
        self.info, self.options, self.tasks = info, options, tasks
        self.path = info.path
        found = {key: f for key, f in info.all.items() if key not in info.videos or key in videos}
        decision = decide([info.source_array(key, feature) for key, feature in found.items()], options, self._look)
        self.names, self.features, self.pixels = decision.names, decision.features, decision.pixels
        self.claims = {name: claim(key, pixels=self.pixels.get(name)) for key, name in self.names.items()}
        self.fps = info.fps
        self.format_version = str(info.raw.get("codebase_version"))
        self.notes = [*notes, *decision.notes]
        self.subsampled = bool(videos) and all(is_half_colour(info.raw["features"][key]) for key in videos)
        self._videos: dict[str, Video] = {}
        self.metadata = {"robot": info.raw.get("robot_type"), "lerobot_stats": _stats(self.path)}
        if info.origin:
            self.metadata = {k: v for k, v in info.origin.metadata.items() if k != "provenance"}
            self.metadata["exported_from"] = info.origin.metadata.get("provenance")
            place = {number: index for index, number in enumerate(self.numbers)}
            self.masks = {
                name: [place[n] for n in members if n in place] for name, members in info.origin.masks.items()
            }

    def label(self, index: int) -> Label:
        return self.numbers[index]

    def _look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last row of episodes all over the dataset; those that cannot be read are left out."""
        for index in np.unique(np.linspace(0, self.num_episodes - 1, LOOKED_AT).astype(int)).tolist():
            with contextlib.suppress(DatasetError):
                rows = to_numpy("", array.key, self.rows(index, [array.key])[array.key], array.shape)
                yield rows[sorted({0, len(rows) // 2, len(rows) - 1})] if len(rows) else rows

    @abstractmethod
    def rows(self, index: int, columns: Sequence[str]) -> Any:
        """pyarrow table of an episode's rows. Raises DatasetError when its file is damaged."""

    @abstractmethod
    def video(self, index: int, key: str) -> tuple[Path, float]:
        """The file with an episode's frames and the time in it at which the episode starts."""

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `Source.read_episode`."""
        info, number = self.info, self.numbers[index]
        where = f"{self.path}: episode {number}"
        low = [key for key in info.columns if key in self.names]
        embedded = [key for key in info.embedded if key in self.names]
        clock = info.origin.timestamp if info.origin else "timestamp"
        has_task = bool(self.tasks)
        wanted = ["timestamp", clock, *low, *embedded, *info.texts, *(["task_index"] if has_task else [])]
        table = self.rows(index, list(dict.fromkeys(wanted)))
        nominal = to_numpy(where, "timestamp", table["timestamp"], ()).astype(np.float64)
        times = to_numpy(where, clock, table[clock], ()).astype(np.float64)
        values = {}
        for key in low:
            rows = to_numpy(where, key, table[key], info.columns[key].shape)
            if pixels := self.pixels.get(self.names[key]):
                self._read_pictures(where, pixels, self.names[key], rows, spool)
            else:
                values[self.names[key]] = rows
        for key in embedded:
            for data in table[key].to_pylist():
                spool.add_encoded(self.names[key], self._image_bytes(where, key, data))
        for key in info.videos:
            if key in self.names:
                self._read_video(where, key, index, nominal, spool)
        notes: tuple[str, ...] = ()
        if not info.origin and times[0] != 0.0:
            times, notes = times - times[0], (LATE_START,)
        record = self._record(number, table, values, has_task)
        return PartialEpisode(times, values, spool.frames(), record, notes=notes)

    def _record(self, number: int, table: Any, values: Mapping[str, np.ndarray], has_task: bool) -> Json:
        origin = self.info.origin
        if origin and number < len(origin.episodes):
            record = dict(origin.episodes[number])
            return {**record, "task": self.options.task} if self.options.task else record
        record = {"source_episode": number}
        for key in self.info.texts:
            said = changes(table[key].to_pylist())
            record[key] = said[0][1] if len(said) == 1 else said
        numbers = changes(table["task_index"].to_pylist()) if has_task else []
        said = [(step, self.tasks.get(task)) for step, task in numbers]
        record["task"] = self.options.task or (said[0][1] if said else None)
        if len(said) > 1:
            record["tasks"] = said
        success = values.get(self.names.get("next.success", ""))
        if success is not None:
            record["success"] = bool(success.any())
        return record

    def _image_bytes(self, where: str, key: str, data: Any) -> bytes:
        """The encoded image of a cell: inside it, or in a file that it names."""
        if isinstance(data, Mapping):
            if data.get("bytes"):
                return bytes(data["bytes"])
            file = self.path / str(data.get("path"))
            if data.get("path") and file.resolve().is_relative_to(self.path.resolve()) and file.is_file():
                return file.read_bytes()
        elif isinstance(data, bytes):
            return data
        raise DatasetError(f"{where}: column {key!r} holds neither an image nor the name of a file in the dataset.")

    def _read_pictures(self, where: str, pixels: Pixels, name: str, rows: np.ndarray, spool: FrameSpool) -> None:
        """Pictures that are stored as lists of numbers."""
        reader = pixels.reader()
        try:
            for image in reader(rows):
                spool.add(name, image)
            reader.finish()
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error

    def _read_video(self, where: str, key: str, index: int, times_s: np.ndarray, spool: FrameSpool) -> None:
        file, start_s = self.video(index, key)
        name = self.names[key]
        try:
            video = self._videos.get(key)
            if video is None or video.path != file:  # episodes follow each other in a file
                video = self._videos[key] = Video(file)
            alone = start_s == 0.0 and video.num_frames == len(times_s)
            wanted = video.frames_at(start_s + times_s, 0.5 / self.fps, by_number=alone)
            for repeats, image in video.decode(wanted):
                spool.add(name, image)
                for _ in range(repeats - 1):
                    spool.repeat(name)
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error


def _stats(path: Path) -> Json | None:
    """`meta/stats.json`, for reference: our own statistics are computed from what is stored."""
    try:
        return json.loads((path / "meta" / "stats.json").read_bytes(), parse_constant=lambda name: None)
    except (OSError, ValueError):
        return None


def to_numpy(where: str, key: str, column: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`(rows, *shape)` of a flat or (nested) list column. Raises DatasetError when it does not hold as much."""
    rows, flat = len(column), column.combine_chunks()
    while hasattr(flat, "flatten") and hasattr(flat.type, "value_type"):
        flat = flat.flatten()
    values = flat.to_numpy(zero_copy_only=False)
    if flat.null_count or len(values) != rows * int(np.prod(shape, dtype=np.int64)):
        raise DatasetError(f"{where}: column {key!r} does not hold {rows} values of shape {shape} without gaps.")
    return values.reshape(rows, *shape)


def read_parquet(file: Path, call: Callable[[Any], Any]) -> Any:
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
        raise damaged(file, error) from error


def require_columns(file: Path, parquet: Any, columns: Sequence[str]) -> None:
    """Raises DatasetError when the file lacks a column."""
    missing = [name for name in columns if name not in parquet.schema_arrow.names]
    if missing:
        raise DatasetError(f"{file} lacks the column {missing[0]!r}, which meta/info.json lists.")


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.lerobot_witness import LeRobotWitness

    return LeRobotWitness(source)


def codebase_version(source: Path) -> str:
    """What `meta/info.json` says, such as `v3.0`; empty when there is none."""
    try:
        return str(json.loads((source / "meta" / "info.json").read_bytes())["codebase_version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
