"""LeRobot dataset format v2.1, which many trainers still read: one parquet file and one video a camera an episode."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from robolearn.core.errors import FeatureError
from robolearn.datasets.convert.export.exported_dataset import ExportedDataset
from robolearn.datasets.convert.export.lerobot import video
from robolearn.datasets.convert.export.lerobot.folder import LeRobotExport
from robolearn.datasets.convert.export.lerobot.stats import Stats
from robolearn.datasets.convert.export.lerobot.tables import TableFile
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.work import Work
from robolearn.datasets.format.layout import Json, to_json
from robolearn.datasets.write.durable import write_file

CHUNK_EPISODES = 1000
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
STATISTICS = ("min", "max", "mean", "std", "count")
# LeRobot takes every key with this word in it for a picture, and its statistics for those of three channels
PICTURE, CHANNELS = "image", 3


class Export(LeRobotExport):
    """Episodes have files of their own."""

    version = "v2.1"

    def __init__(self, exported: ExportedDataset, work: Work, options: ExportOptions):
        super().__init__(exported, work, options)
        for name in self.rows:
            if PICTURE in self.names[name]:
                raise FeatureError(
                    f"LeRobot 2.1 takes {self.names[name]!r} for a picture because of its name, and then refuses the "
                    f"dataset; choose another with --rename {name}=NAME."
                )

    def path(self, template: str, episode: int, key: str = "") -> Path:
        """An episode's file; its folder is made."""
        name = template.format(episode_chunk=episode // CHUNK_EPISODES, episode_index=episode, video_key=key)
        path = self.work.result / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_episodes(self) -> None:
        exported, meta = self.exported, self.work.result / "meta"
        hub_types = self.hub_types()
        with open(meta / "episodes_stats.jsonl", "wb") as stats:
            for episode in range(exported.num_episodes):
                rows = self.columns(episode)
                with TableFile(self.path(DATA_PATH, episode), hub_types) as file:
                    for table in self.tables(episode, rows):
                        file.append(table)
                for name in self.videos:
                    part = video.VideoPart(self.part(name, episode), exported.length(episode))
                    video.join([part], self.path(VIDEO_PATH, episode, self.names[name]), exported.fps)
                found = {key: _statistics(key, values) for key, values in self.statistics(episode, rows)}
                stats.write(to_json({"episode_index": episode, "stats": found}) + b"\n")
                self.options.progress(episode + 1, exported.num_episodes)
        _write_lines(
            meta / "episodes.jsonl",
            (
                {"episode_index": k, "tasks": [self.texts[k]], "length": exported.length(k)}
                for k in range(len(self.texts))
            ),
        )
        _write_lines(meta / "tasks.jsonl", ({"task_index": k, "task": text} for text, k in self.tasks.items()))

    def files_info(self) -> Json:
        episodes = self.exported.num_episodes
        return {
            "total_videos": episodes * len(self.videos),
            "total_chunks": -(-episodes // CHUNK_EPISODES),
            "chunks_size": CHUNK_EPISODES,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.videos else None,
        }

    def notes(self) -> list[str]:
        limit = video.FILE_SECONDS
        long = [k for k in range(self.exported.num_episodes) if self.exported.length(k) / self.exported.fps > limit]
        if not long:
            return super().notes()
        return [
            *super().notes(),
            f"{len(long)} episodes are longer than {limit:g} s (the first is {long[0]}): LeRobot 2.1 compares "
            "float32 times to 0.1 ms and refuses them; open it with a larger tolerance_s",
        ]


def _statistics(key: str, stats: Stats) -> Stats:
    found = {name: stats[name] for name in STATISTICS}
    if PICTURE in key:
        return {name: v if name == "count" else np.broadcast_to(v, (CHANNELS, 1, 1)) for name, v in found.items()}
    return found


def _write_lines(path: Path, entries: Iterable[Json]) -> None:
    write_file(path, "".join(json.dumps(entry) + "\n" for entry in entries).encode())


def export(exported: ExportedDataset, work: Work, options: ExportOptions) -> list[str]:
    """See `protocol.py`. Raises FeatureError for arrays of too many axes and what LeRobot's reader refuses."""
    return Export(exported, work, options).run()
