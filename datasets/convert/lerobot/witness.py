"""The second reader of LeRobot's v2 and v3: rows by the column `index`, video frames by counting them.

    rows            those whose `index` is in the episode's range, by the lengths (and `dataset_from_index`) that
                    `meta/` lists; `episode_index` of all of them must agree (see `rows.py`)
    frames, v2      frame k of the episode's own file
    frames, v3      frame k + the lengths of the episodes that come before it in the same file

The importer finds rows by runs of `episode_index`, and frames by time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.counted_video import CountedVideo
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.lerobot.rows import RowFinder
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.witness import SEEDED, Label, Witness


@dataclass
class Listed:
    """An episode as `meta/` lists it.

    Attributes:
        length: None where it is not listed.
        first: `index` of its first row; None where it cannot be told.
        videos: key -> (chunk, file, time in it at which the episode starts).
    """

    length: int | None
    first: int | None = None
    videos: dict[str, tuple[int, int, float]] = field(default_factory=dict)


class LeRobotWitness(Witness):
    """Raises DatasetError where `meta/` cannot be read."""

    def __init__(self, source: Path):
        self.path = source
        self.info = _json(source / "meta" / "info.json")
        self.chunked = str(self.info["codebase_version"]).startswith("v2")
        exported = source / "meta" / "robolearn.json"
        document = _json(exported) if exported.is_file() else {}
        self.clock = str(document["timestamp"]) if document else None
        self.fps = float(document.get("fps", self.info["fps"]))
        self.video_keys = [key for key, entry in self.info["features"].items() if entry["dtype"] == "video"]
        self.finder = RowFinder(source / "data", by_name=self.chunked)
        self.listed = self._list_v2() if self.chunked else self._list_v3()
        self._episode: tuple[Label | None, dict[str, Any]] = (None, {})
        self._videos: dict[str, CountedVideo] = {}

    def episodes(self) -> Sequence[Label]:
        return list(self.listed)

    def length(self, label: Label) -> int:
        listed = self._of(label).length
        return self.finder.count(int(label)) if listed is None else listed

    def times(self, label: Label) -> np.ndarray | None:
        found = self.rows(label, self.clock or "timestamp").reshape(-1).astype(np.float64)
        return found if self.clock else found - found[0]

    def rate(self) -> float | None:
        return self.fps

    def rows(self, label: Label, key: str) -> np.ndarray:
        column = self._column(label, key)
        count, flat = len(column), column.combine_chunks()
        while hasattr(flat, "flatten") and hasattr(flat.type, "value_type"):
            flat = flat.flatten()
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(count, -1)

    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        if key in self.video_keys:
            video, start = self._video(label, key)
            return video.frames([start + step for step in steps])
        if self.info["features"][key]["dtype"] != "image":  # pictures as lists of numbers
            return list(self.rows(label, key)[list(steps)])
        column = self._column(label, key)
        return [self._image(column[step].as_py()) for step in steps]

    def sample(self, label: Label, key: str, count: int, rng: np.random.Generator) -> list[int]:
        if key in self.video_keys:
            video, start = self._video(label, key)
            cheap = video.cheap(start, start + count - 1) - start
            if len(cheap) >= SEEDED:
                return sorted({0, count - 1, *rng.choice(cheap, SEEDED, replace=False).tolist()})
        return super().sample(label, key, count, rng)

    def close(self) -> None:
        self.finder.close()

    def _of(self, label: Label) -> Listed:
        try:
            return self.listed[int(label)]
        except (KeyError, ValueError) as error:
            raise DatasetError(f"{self.path}: meta/ lists no episode {label}.") from error

    def _column(self, label: Label, key: str) -> Any:
        """One column of an episode's rows; those of the episode asked for last are kept."""
        if self._episode[0] != label:
            self._episode = label, {}
        kept = self._episode[1]
        if key not in kept:
            kept[key] = self.finder.column(int(label), self._of(label).first, self.length(label), key)
        return kept[key]

    def _image(self, cell: Any) -> bytes:
        if isinstance(cell, dict):
            return bytes(cell["bytes"]) if cell.get("bytes") else (self.path / str(cell["path"])).read_bytes()
        return bytes(cell)

    def _video(self, label: Label, key: str) -> tuple[CountedVideo, int]:
        """The file with an episode's frames and the number of the first one."""
        number = int(label)
        if self.chunked:
            chunk, file = number // int(self.info.get("chunks_size", 1000)), number
        elif key in self._of(label).videos:
            chunk, file, _ = self._of(label).videos[key]
        else:
            raise DatasetError(f"{self.path}: meta/episodes does not say where the video {key} of episode {label} is.")
        path = self.path / str(self.info["video_path"]).format(
            episode_chunk=chunk, episode_index=number, video_key=key, chunk_index=chunk, file_index=file
        )
        video = self._videos.get(key)
        if video is None or video.path != path:
            video = self._videos[key] = CountedVideo(path)
        return video, 0 if self.chunked else self._first_frame(video, key, chunk, file, number)

    def _first_frame(self, video: CountedVideo, key: str, chunk: int, file: int, number: int) -> int:
        """The lengths of the episodes before it in the file; where these are not what the file has, by its rate."""
        of_all, by_length, by_rate = self._starts[key, chunk, file]
        return by_length[number] if of_all == video.count else by_rate[number]

    @cached_property
    def _starts(self) -> dict[tuple[str, int, int], tuple[int, dict[int, int], dict[int, int]]]:
        """(Key, chunk, file) -> (frames by the lengths, first frame of each episode by lengths, and by the rate)."""
        shared: dict[tuple[str, int, int], list[tuple[float, int]]] = {}
        for number, entry in self.listed.items():
            for key, (chunk, file, start_s) in entry.videos.items():
                shared.setdefault((key, chunk, file), []).append((start_s, number))
        fps, found = float(self.info["fps"]), {}
        for where, starts in shared.items():
            before, by_length = 0, {}
            for _, number in sorted(starts):
                by_length[number] = before
                before += self.length(number)
            found[where] = before, by_length, {number: round(start_s * fps) for start_s, number in starts}
        return found

    def _list_v2(self) -> dict[int, Listed]:
        file = self.path / "meta" / "episodes.jsonl"
        try:
            lines = [parsed(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            return {int(entry["episode_index"]): Listed(int(entry["length"])) for entry in lines}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(file, error) from error

    def _list_v3(self) -> dict[int, Listed]:
        """Episodes of `meta/episodes`, and those of which there are rows only."""
        import pyarrow
        from pyarrow import parquet

        rows: dict[int, dict[str, Any]] = {}
        for file in sorted((self.path / "meta" / "episodes").rglob("*.parquet")):
            try:
                names = parquet.read_schema(file).names
                wanted = [n for n in names if not n.startswith("stats/") and n != "tasks"]
                rows |= {int(row["episode_index"]): row for row in parquet.read_table(file, columns=wanted).to_pylist()}
            except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
                raise damaged(file, error) from error
        listed: dict[int, Listed] = {}
        for number, row in sorted(rows.items()):
            videos = {}
            for key in self.video_keys:
                place = [row.get(f"videos/{key}/{name}") for name in ("chunk_index", "file_index", "from_timestamp")]
                if None not in place and math.isfinite(float(place[2])):  # type: ignore[arg-type]
                    videos[key] = (int(place[0]), int(place[1]), float(place[2]))  # type: ignore[arg-type]
            listed[number] = Listed(_whole(row.get("length")), _whole(row.get("dataset_from_index")), videos)
        if not rows:
            listed = {number: Listed(None) for number in sorted(self.finder.episodes())}
        self._number_rows(listed)
        return listed

    def _number_rows(self, listed: dict[int, Listed]) -> None:
        """The `index` of the first row of each episode, from the lengths where it is not listed.

        Where `index` does not count through the dataset, in some that were put together or thinned out, it tells
        nothing: there rows are found by `episode_index`.
        """
        before: int | None = 0
        for place, (number, entry) in enumerate(listed.items()):
            if place != number or entry.length is None:  # some are not listed: where the next ones begin is not known
                before = None
            if entry.first is None:
                entry.first = before
            if before is not None and entry.length is not None:
                before += entry.length
        known = [(e.first, e.first + e.length - 1) for e in listed.values() if e.first is not None and e.length]
        if known and self.finder.counted and any(self.finder.reaches(*span) for span in known):
            return
        for entry in listed.values():
            entry.first = None
        self.notes = ["no column index counts through the dataset: rows are compared by episode_index"]


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = parsed(file.read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(file, error) from error
    if not isinstance(found, dict):
        raise damaged(file, TypeError("no map"))
    return found
