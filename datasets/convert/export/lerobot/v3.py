"""LeRobot dataset format v3.0: parquet tables of many episodes each, mp4 files of many episodes each, `meta/`."""

from __future__ import annotations

import pyarrow as pa

from robolearn.datasets.convert.export.exported_dataset import ExportedDataset
from robolearn.datasets.convert.export.lerobot import video
from robolearn.datasets.convert.export.lerobot.folder import LeRobotExport
from robolearn.datasets.convert.export.lerobot.stats import Aggregate, Stats
from robolearn.datasets.convert.export.lerobot.tables import (
    FILE_BYTES,
    FILES_PER_CHUNK,
    TableFiles,
    file_name,
    place,
    write_tasks,
)
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.work import Work
from robolearn.datasets.format.layout import Json, to_json
from robolearn.datasets.write.durable import write_file

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


class Export(LeRobotExport):
    """Episodes share files."""

    version = "v3.0"

    def write_episodes(self) -> None:
        """Join the videos; write the steps, and one row an episode."""
        places = {name: self.write_videos(name) for name in self.videos}
        meta = self.work.result / "meta"
        whole: dict[str, Aggregate] = {}
        schema: pa.Schema | None = None
        with (
            TableFiles(self.work.result / "data", self.hub_types()) as data,
            TableFiles(meta / "episodes") as episodes,
        ):
            for episode in range(self.exported.num_episodes):
                file = data.next_episode()
                rows = self.columns(episode)
                for table in self.tables(episode, rows):
                    data.append(table)
                stats = dict(self.statistics(episode, rows))
                for key, found in stats.items():
                    whole.setdefault(key, Aggregate()).add(found)
                row = self.describe(episode, stats, place(file), places, place(episodes.next_episode()))
                table = pa.Table.from_pylist([row], schema)
                schema = table.schema
                episodes.append(table)
                self.options.progress(episode + 1, self.exported.num_episodes)
        write_file(meta / "stats.json", to_json({key: found.result() for key, found in whole.items()}))
        write_tasks(meta / "tasks.parquet", list(self.tasks))

    def write_videos(self, name: str) -> list[video.VideoPlace]:
        """Join the episodes' videos of one camera into files; returns where each episode is."""
        lengths = [self.exported.length(episode) for episode in range(self.exported.num_episodes)]
        parts = [video.VideoPart(self.part(name, episode), length) for episode, length in enumerate(lengths)]
        places = video.plan(parts, self.exported.fps)
        for file in range(places[-1].file + 1):
            members = [part for part, found in zip(parts, places, strict=True) if found.file == file]
            path = self.work.result / "videos" / self.names[name] / file_name(file, ".mp4")
            video.join(members, path, self.exported.fps)
        return places

    def describe(
        self,
        episode: int,
        stats: dict[str, Stats],
        data: tuple[int, int],
        places: dict[str, list[video.VideoPlace]],
        own: tuple[int, int],
    ) -> Json:
        """The episode's row in the table of episodes."""
        length, end = self.exported.length(episode), int(self.exported.ends[episode])
        row: Json = {"episode_index": episode, "tasks": [self.texts[episode]], "length": length}
        row |= {"data/chunk_index": data[0], "data/file_index": data[1]}
        row |= {"dataset_from_index": end - length, "dataset_to_index": end}
        for name, found in places.items():
            chunk, file = place(found[episode].file)
            first, key = found[episode].first, f"videos/{self.names[name]}"
            row |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file}
            row |= {f"{key}/from_timestamp": first / self.exported.fps}
            row |= {f"{key}/to_timestamp": (first + length) / self.exported.fps}
        for key, described in stats.items():
            row |= {f"stats/{key}/{name}": values.tolist() for name, values in described.items()}
        row |= {"meta/episodes/chunk_index": own[0], "meta/episodes/file_index": own[1]}
        return row

    def files_info(self) -> Json:
        return {
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": FILE_BYTES // 2**20,
            "video_files_size_in_mb": video.FILE_BYTES // 2**20,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.videos else None,
        }


def export(exported: ExportedDataset, work: Work, options: ExportOptions) -> list[str]:
    """See `protocol.py`. Raises FeatureError for arrays of too many axes and numbers that LeRobot cannot hold."""
    return Export(exported, work, options).run()
