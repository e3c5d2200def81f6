"""What `meta/` of LeRobot's formats v2 and v3 says: features, paths, versions; and parquet files that name errors."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError, FeatureError, MissingDependencyError
from robolearn.core.feature import Feature, Features
from robolearn.core.pins import install_line
from robolearn.datasets.convert.array_features import Decision, SourceArray, describe_arrays
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.origin import KEY, Origin
from robolearn.datasets.convert.protocol import ConvertOptions, damaged
from robolearn.datasets.convert.witness import Witness

FORMAT_SPEC = re.compile(r"0?\d{0,2}[ds]?")  # of a placeholder; a width of ten digits would fill the memory
CHUNK_SIZE = 1000  # episodes in a folder, where nobody says otherwise
COUNTERS = ("episode_index", "frame_index", "index", "task_index", "timestamp")


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
            raw = parsed(file.read_bytes())
            int(raw["total_episodes"]), int(raw["total_frames"]), float(raw["fps"]), str(raw["data_path"])
            if int(raw.get("chunks_size", CHUNK_SIZE)) < 1:
                raise ValueError(f"chunks_size is {raw['chunks_size']}")
            if not str(raw["codebase_version"]).startswith(version):
                raise DatasetError(f"{file} is of version {raw['codebase_version']}, expected {version}.")
            origin = None
            if origin_file.is_file():
                origin = Origin.from_json(parsed(origin_file.read_bytes()), str(origin_file))
            info = cls(
                path, raw, texts=tuple(k for k, e in raw["features"].items() if e["dtype"] == "string"), origin=origin
            )
            for key, entry in raw["features"].items():
                if not isinstance(entry["dtype"], str):
                    raise TypeError(f"the dtype of {key} is {entry['dtype']!r}")
                if key.startswith("/") or ".." in Path(key).parts:  # it is that of a folder, too
                    raise DatasetError(f"{file}: the feature {key!r} leads out of the dataset.")
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
        return self.origin.fps if self.origin else self.frame_rate

    @property
    def frame_rate(self) -> float:
        """Of the videos, in Hz."""
        return float(self.raw["fps"])

    @property
    def chunk_size(self) -> int:
        """Episodes in a folder of v2."""
        return int(self.raw.get("chunks_size", CHUNK_SIZE))

    def source_array(self, key: str, feature: Feature, dtype: str | None = None) -> SourceArray:
        """A key as it is declared to `decide`: a name that is LeRobot's own is kept, whatever it says.

        `dtype` is that of a column, where it is another than info.json says.
        """
        own = self.origin is not None or key == "action" or key.partition(".")[0] in ("observation", "action", "next")
        encoded = key not in self.columns
        declared = feature.dtype if encoded else str(self.raw["features"][key]["dtype"])
        return SourceArray(
            key, feature.shape, dtype or declared, feature, fixed=own, encoded=encoded, known=self.origin is not None
        )

    def described(self, videos: Sequence[str]) -> Decision:
        """What becomes of the keys, without a look at any row."""
        found = {key: feature for key, feature in self.all.items() if key not in self.videos or key in videos}
        return describe_arrays([self.source_array(k, f) for k, f in found.items()], lambda array: ())

    def file(self, template: str, **fields: Any) -> Path:
        """Path of a file, from the template `data_path` or `video_path` of `info.json`.

        Raises DatasetError for a template that does not fit or leads out of the dataset.
        """
        file = self.path / "meta" / "info.json"
        try:
            written = str(self.raw[template])
            for _, _, spec, conversion in string.Formatter().parse(written):
                if conversion or not FORMAT_SPEC.fullmatch(spec or ""):
                    raise DatasetError(f"{file}: {template} {written!r} has a placeholder that is no plain number.")
            name = written.format(**fields)
        except KeyError as error:
            if template not in self.raw:
                raise damaged(file, f"{template}: {error!r}") from error
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise DatasetError(
                f"{file}: {template} {self.raw[template]!r} has the placeholder {{{error.args[0]}}}; known are {known}."
            ) from error
        except (ValueError, IndexError, AttributeError) as error:
            raise damaged(file, f"{template}: {error!r}") from error
        if name.startswith("/") or ".." in Path(name).parts:
            raise DatasetError(f"{file}: {template} leads out of the dataset.")
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


def read_parquet(file: Path, call: Callable[[Any], Any]) -> Any:
    """`call(pyarrow.parquet)`, with its errors naming the file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {file.name} needs pyarrow ({error}). Install it with: {install_line('convert')}"
        ) from error
    try:
        return call(parquet)
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # ValueError: names that are no UTF-8
        raise damaged(file, error) from error


def require_columns(info: Info, file: Path, parquet: Any, columns: Sequence[str]) -> None:
    """Raises DatasetError when the file lacks a column."""
    missing = [name for name in columns if name not in parquet.schema_arrow.names]
    if missing:
        why = "meta/info.json lists" if missing[0] in info.raw["features"] else "every LeRobot dataset has"
        raise DatasetError(f"{file} lacks the column {missing[0]!r}, which {why}.")


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.lerobot.witness import LeRobotWitness

    return LeRobotWitness(source)


def codebase_version(source: Path) -> str:
    """What `meta/info.json` says, such as `v3.0`; empty when there is none."""
    try:
        return str(parsed((source / "meta" / "info.json").read_bytes())["codebase_version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
