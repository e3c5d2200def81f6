"""What exports to LeRobot's formats have in common: columns, statistics, episodes' videos, `info.json`, notes.

Their `timestamp` column has to be `frame_index / fps`, by which LeRobot finds video frames; the true times are in the
column `robolearn.timestamp`. Colour images become videos (lossy), or keep their stored bytes inside the parquet files
(`video="none"`); images that a video cannot hold (depth, grey, odd sides) always do. The versions differ in how
episodes share files.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.export.exported_dataset import TIMESTAMP, ExportedDataset
from robolearn.datasets.convert.export.lerobot import video
from robolearn.datasets.convert.export.lerobot.stats import ImageStats, Stats, of_rows, sampled_steps
from robolearn.datasets.convert.export.lerobot.tables import column, hub_type, images
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.work import Part, Work
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json, to_json
from robolearn.datasets.write.durable import sync_file, write_file

TRUE_TIME = "robolearn.timestamp"
COUNTERS = {
    name: Feature(name, (1,), dtype)
    for name, dtype in (
        ("timestamp", "float32"), ("frame_index", "int64"), ("episode_index", "int64"), ("index", "int64"),
        ("task_index", "int64"),
    )
}  # fmt: skip
TRUE_TIMES = Feature(TRUE_TIME, (1,), "float64", unit="s")
ORIGIN_FILE = "meta/robolearn.json"
ROWS_AT_ONCE = 64
MAX_AXES = 5
# LeRobot makes torch tensors of Python's integers, which are int64
LARGEST = np.iinfo(np.int64).max


class LeRobotExport(ABC):
    """One export; a version says what its files are.

    Attributes:
        names: feature -> key in LeRobot.
        videos: features that become video.
        embedded: features whose encoded images are in the parquet files.
        rows: all other features.
        texts: task of each episode.
        tasks: text -> number.
    """

    version: str

    def __init__(self, exported: ExportedDataset, work: Work, options: ExportOptions):
        self.exported, self.work, self.options = exported, work, options
        self.names = exported.keys(lambda feature: feature.name, options.rename, taken=(*COUNTERS, TRUE_TIME, "task"))
        encoded = [name for name, feature in exported.features.items() if layout.is_encoded(feature)]
        self.videos = [
            name for name in encoded
            if options.video != "none" and exported.features[name].kind == "image"
            and video.can_encode(exported.features[name].shape)
        ]  # fmt: skip
        self.embedded = [name for name in encoded if name not in self.videos]
        self.rows = [name for name in exported.features if name not in encoded]
        for name in self.rows:
            if len(exported.features[name].shape) > MAX_AXES:
                raise FeatureError(f"LeRobot holds arrays of up to {MAX_AXES} axes; {name!r} has more; drop it first.")
            if exported.features[name].dtype == "uint64":
                exported.require(name, lambda rows: rows <= LARGEST, f"LeRobot holds whole numbers up to {LARGEST}")
        self.texts = [str(record.get("task") or "") for record in exported.records]
        self.tasks = {text: number for number, text in enumerate(dict.fromkeys(self.texts))}

    def run(self) -> list[str]:
        self.make_parts()
        self.work.clear_result()
        (self.work.result / "meta").mkdir(parents=True)
        self.write_episodes()
        meta = self.work.result / "meta"
        write_file(meta / "info.json", json.dumps({**self.info(), **self.files_info()}, indent=4).encode())
        write_file(self.work.result / ORIGIN_FILE, to_json(self.exported.origin(self.names, TRUE_TIME).to_json()))
        return self.notes()

    @abstractmethod
    def write_episodes(self) -> None:
        """Write tables, videos and what `meta/` says of the episodes."""

    @abstractmethod
    def files_info(self) -> Json:
        """What `info.json` says of where episodes are."""

    def part(self, name: str, episode: int) -> Path:
        suffix = ".mp4" if name in self.videos else ".json"
        return self.work.parts / name / f"episode-{episode:06d}{suffix}"

    def make_parts(self) -> None:
        """For every image feature and episode its statistics, and its video where it has one."""
        parts = [
            Part(self.part(name, episode), partial(self.write_part, name, episode))
            for episode in range(self.exported.num_episodes)
            for name in (*self.videos, *self.embedded)
        ]
        self.work.produce(parts, self.options.workers, self.options.progress)

    def write_part(self, name: str, episode: int, path: Path) -> None:
        feature, steps = self.exported.features[name], self.exported.slice(episode)
        channels = feature.shape[2] if len(feature.shape) == 3 else 1
        stats = ImageStats(channels, 2 ** (8 * np.dtype(feature.dtype).itemsize))
        sampled = sampled_steps(steps.stop - steps.start)
        if name in self.embedded:
            for step in sampled:
                stats.add(self.exported.dataset.image(name, steps.start + int(step)))
            write_file(path, to_json(stats.result()))
            return
        wanted = set(sampled.tolist())

        def frames() -> Iterator[np.ndarray]:
            for step in range(steps.stop - steps.start):
                image = self.exported.dataset.image(name, steps.start + step)
                if step in wanted:
                    stats.add(image)
                yield image

        video.encode(path, frames(), self.exported.fps, self.options.video, self.options.crf)
        beside = self.part(name, episode).with_suffix(".json")
        write_file(beside, to_json(stats.result()))
        sync_file(beside)

    def columns(self, episode: int) -> dict[str, np.ndarray]:
        """All but images: `(T, *shape)` by column name."""
        exported = self.exported
        length, end = exported.length(episode), int(exported.ends[episode])
        frame_index = np.arange(length)
        return {
            **{self.names[name]: exported.rows(name, episode) for name in self.rows},
            TRUE_TIME: exported.rows(TIMESTAMP, episode),
            "timestamp": (frame_index / exported.fps).astype(np.float32),
            "frame_index": frame_index,
            "episode_index": np.full(length, episode),
            "index": np.arange(end - length, end),
            "task_index": np.full(length, self.tasks[self.texts[episode]]),
        }

    def tables(self, episode: int, rows: dict[str, np.ndarray]) -> Iterator[pa.Table]:
        """The episode in pieces: all at once, or a few steps at a time where there are images."""
        steps, length = self.exported.slice(episode), self.exported.length(episode)
        size = ROWS_AT_ONCE if self.embedded else length
        for start in range(0, length, size):
            stop = min(start + size, length)
            pictures = {
                self.names[name]: images(
                    [self.exported.dataset.encoded(name, steps.start + step) for step in range(start, stop)], episode
                )
                for name in self.embedded
            }
            yield pa.table(pictures | {key: column(values[start:stop]) for key, values in rows.items()})

    def hub_types(self) -> dict[str, Any]:
        """Column -> how Hugging Face's `datasets` describes it."""
        described = {self.names[name]: self.exported.features[name] for name in (*self.rows, *self.embedded)}
        embedded = {self.names[name] for name in self.embedded}
        found = {key: hub_type(feature, key in embedded) for key, feature in described.items()}
        return found | {key: hub_type(feature, False) for key, feature in (COUNTERS | {TRUE_TIME: TRUE_TIMES}).items()}

    def statistics(self, episode: int, rows: dict[str, np.ndarray]) -> Iterator[tuple[str, Stats]]:
        for name in (*self.videos, *self.embedded):
            found = json.loads(self.part(name, episode).with_suffix(".json").read_bytes())
            yield self.names[name], {key: np.asarray(values) for key, values in found.items()}
        for key, values in rows.items():
            yield key, of_rows(values)

    def info(self) -> Json:
        """`info.json`, without what `files_info` adds."""
        exported = self.exported
        robot = exported.metadata.get("robot")
        return {
            "codebase_version": self.version,
            "robot_type": robot if isinstance(robot, str) else None,
            "total_episodes": exported.num_episodes,
            "total_frames": exported.num_steps,
            "total_tasks": len(self.tasks),
            "fps": int(exported.fps) if exported.fps.is_integer() else exported.fps,
            "splits": {"train": f"0:{exported.num_episodes}"},
            "features": self.described(),
        }

    def described(self) -> Json:
        """`features` of info.json."""
        found: Json = {}
        for name, key in self.names.items():
            feature = self.exported.features[name]
            if not layout.is_encoded(feature):
                shape = list(feature.shape) or [1]
                found[key] = {"dtype": feature.dtype, "shape": shape, "names": list(feature.names or ()) or None}
                continue
            shape = [*feature.shape, 1][:3]
            found[key] = {"dtype": "image", "shape": shape, "names": ["height", "width", "channels"]}
            if name in self.videos:
                found[key] |= {"dtype": "video", "info": self.video_info(shape)}
        for key, feature in (COUNTERS | {TRUE_TIME: TRUE_TIMES}).items():
            found[key] = {"dtype": feature.dtype, "shape": [1], "names": None}
        return found

    def video_info(self, shape: list[int]) -> dict[str, Any]:
        return {
            "video.height": shape[0],
            "video.width": shape[1],
            "video.codec": self.options.video,
            "video.pix_fmt": video.PIXELS,
            "video.is_depth_map": False,
            "video.fps": float(video.frame_rate(self.exported.fps)),
            "video.channels": 3,
            "has_audio": False,
        }

    def notes(self) -> list[str]:
        notes = self.exported.notes(carries_sim=False)
        nameless = self.texts.count("")
        if nameless:
            notes.append(f"{nameless} episodes have no task text; LeRobot gets an empty one")
        for name in self.embedded if self.options.video != "none" else ():
            notes.append(f"{name} is stored as single images: a video holds colour images with even sides only")
        if self.videos:
            notes.append(f"images are {self.options.video} video, which is lossy; --video none keeps them as they are")
        return notes
