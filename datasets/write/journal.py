"""The journal of the episode being recorded: `pending/<id>/`, on disk from the first step.

    header.json          features, number of the episode, start time, process, what is known of the episode; crc32
    steps.bin            one fixed-size row a step: timestamp, values, crc32 of each frame, crc32 of the row
    <feature>/<step>     one encoded frame a file

A row is written after the frames it counts on, so every whole row with a right crc32 is a whole step, whatever
moment the process was killed at. Bytes reach the kernel with every step (they survive kill -9) and the disk when the
kernel writes them back (a power cut loses at most the last half minute of the episode in progress).
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
import zlib
from collections.abc import Mapping
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Features
from robolearn.datasets.format import layout
from robolearn.datasets.format.layout import Json, Metadata, is_encoded, sealed_json
from robolearn.datasets.format.statistics import BINS, SAMPLED_FRAMES, image_channels, pixel_histogram
from robolearn.datasets.write.chunk_staging import link_frames
from robolearn.datasets.write.commit import Content
from robolearn.datasets.write.durable import write_file

HEADER = "header.json"
STEPS = "steps.bin"
ROW_CRC = "row_crc32"
REMOVED = ".removed-"  # begins the name of a journal that is being deleted


def row_dtype(features: Features, sim_state_size: int) -> np.dtype[Any]:
    """Layout of a row of `steps.bin`. An encoded feature is there with the crc32 of its frame."""
    fields: list[Any] = [("timestamp", "<f8")]
    for name, feature in features.items():
        fields.append((name, "<u4") if is_encoded(feature) else (name, feature.dtype, feature.shape))
    if sim_state_size:
        fields.append(("sim/state", "<f8", (sim_state_size,)))
    return np.dtype([*fields, (ROW_CRC, "<u4")])


class Journal:
    """Append steps to a new pending episode; a `NewEpisode`.

    Attributes:
        id: names the journal, and later the episode's record.
        num_steps: steps so far.

    Args:
        root: the dataset's `pending` directory.
        features: what a step holds.
        sim_state_size: numbers in a simulator state, 0 for none.
        header: json-ready facts kept for whoever salvages the journal after a crash.
    """

    def __init__(self, root: Path, features: Features, sim_state_size: int, header: Json):
        self.id = uuid.uuid4().hex
        self.path = root / self.id
        self.num_steps = 0
        self.sim_state_size = sim_state_size
        self._row = np.zeros(1, row_dtype(features, sim_state_size))
        self._row_bytes = self._row.view(np.uint8).data
        self._payload = self._row.dtype.itemsize - 4
        self._encoded = {name: feature for name, feature in features.items() if is_encoded(feature)}
        self._histograms = {
            name: np.zeros((image_channels(feature), BINS), np.uint32) for name, feature in self._encoded.items()
        }
        self.path.mkdir(parents=True)
        for name in self._encoded:
            (self.path / name).mkdir()
        write_header(self.path, features, {**header, "sim_state_size": sim_state_size})
        self._steps = os.open(self.path / STEPS, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def append(
        self,
        timestamp_s: float,
        values: Mapping[str, np.ndarray],
        frames: Mapping[str, bytes],
        images: Mapping[str, np.ndarray],
    ) -> None:
        """Add a step: low-dimensional values, encoded frames, and the images that they were encoded from.

        After an OSError the journal is as it was before, and the step can be given again.
        """
        for name, data in frames.items():
            write_file(self.frame_file(name, self.num_steps), data)
            self._row[name] = zlib.crc32(data)
        self._row["timestamp"] = timestamp_s
        for name, value in values.items():
            self._row[name] = value
        self._row[ROW_CRC] = zlib.crc32(self._row_bytes[: self._payload])
        size = self._row.dtype.itemsize
        written = os.pwrite(self._steps, self._row_bytes, self.num_steps * size)
        if written != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / STEPS))
        if self.num_steps % SAMPLED_FRAMES == 0:
            for name, image in images.items():
                self._histograms[name] += pixel_histogram(self._encoded[name], image)
        self.num_steps += 1

    def rows(self) -> np.ndarray:
        """All steps, read back from disk and checked. Raises DatasetError when a row is damaged."""
        rows = np.fromfile(self.path / STEPS, self._row.dtype, self.num_steps)
        if len(rows) == self.num_steps and right_rows(rows).all():
            return rows
        raise DatasetError(f"{self.path / STEPS} does not hold what was written to it; check the disk.")

    def place(self, root: Path, metadata: Metadata) -> Content:
        """See `NewEpisode`."""
        rows = self.rows()
        content = Content({layout.TIMESTAMP: np.ascontiguousarray(rows["timestamp"])})
        for name in metadata.features:
            key = layout.data_key(name)
            column = np.ascontiguousarray(rows[name])
            if name not in self._encoded:
                content.columns[key] = column
                continue
            files = (f"{self.path}/{name}/{step}" for step in range(self.num_steps))
            link_frames(root / key, metadata.arrays[key], files)
            content.frames[key] = self.num_steps
            content.columns[layout.crc_key(name)] = column
            content.columns[layout.histogram_key(name)] = self._histograms[name][None]
        if self.sim_state_size:
            content.columns[layout.SIM_STATE] = np.ascontiguousarray(rows[layout.SIM_STATE])
        return content

    def frame_file(self, name: str, step: int) -> Path:
        """Where the encoded frame of a step is."""
        return self.path / name / str(step)

    def close(self) -> None:
        """Stop writing; the directory stays."""
        if self._steps >= 0:
            os.close(self._steps)
            self._steps = -1

    def remove(self) -> None:
        """Stop writing and delete the directory."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)


def write_header(path: Path, features: Features, facts: Json) -> None:
    """What a reader of the journal at `path` has to know."""
    described = {"features": [feature.to_dict() for feature in features.values()]}
    write_file(path / HEADER, sealed_json({**facts, **described, "id": path.name, "pid": os.getpid()}))


def right_rows(rows: np.ndarray) -> np.ndarray:
    """bool `(M,)`: whether each row has the crc32 that it ends with."""
    payload = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)[:, :-4]
    return np.fromiter(map(eq, map(zlib.crc32, payload), rows[ROW_CRC].tolist()), bool, len(rows))


def find_journals(root: Path) -> list[Path]:
    """Journals in a `pending` directory that hold at least the beginning of a step."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and not _is_empty(p))


def _is_empty(journal: Path) -> bool:
    """Every file of rows ends in `.bin`: one for all steps, or one a stream."""
    return not any(file.stat().st_size for file in journal.glob("*.bin"))
