"""The journal of the episode being recorded: `pending/<id>/`, on disk from the first step.

    header.json          features, number of the episode, start time, process
    steps.bin            one fixed-size row a step: timestamp, low-dimensional values, checksums, crc32 of the row
    <feature>/<step>     one encoded frame a file, under the name it gets in the dataset minus its number

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
from robolearn.datasets.layout import Json, is_encoded, to_json
from robolearn.datasets.storage import write_file

HEADER = "header.json"
STEPS = "steps.bin"
ROW_CRC = "row_crc32"


def row_dtype(features: Features, sim_state_size: int) -> np.dtype[Any]:
    """Layout of a row of `steps.bin`. An encoded feature is there with the running crc32 of its frames."""
    fields: list[Any] = [("timestamp", "<f8")]
    for name, feature in features.items():
        fields.append((name, "<u4") if is_encoded(feature) else (name, feature.dtype, feature.shape))
    if sim_state_size:
        fields.append(("sim/state", "<f8", (sim_state_size,)))
    return np.dtype([*fields, (ROW_CRC, "<u4")])


class Journal:
    """Append steps to a new pending episode.

    Attributes:
        id: names the journal, and later the episode's record.
        num_steps: steps so far.
        frame_crcs: crc32 over all frames of each encoded feature, in the order of the steps.

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
        self.frame_crcs = {name: 0 for name, feature in features.items() if is_encoded(feature)}
        self.path.mkdir(parents=True)
        for name in self.frame_crcs:
            (self.path / name).mkdir()
        layout = {"features": [f.to_dict() for f in features.values()], "sim_state_size": sim_state_size}
        write_file(self.path / HEADER, to_json({**header, **layout, "id": self.id, "pid": os.getpid()}))
        self._steps = os.open(self.path / STEPS, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def append(self, timestamp_s: float, values: Mapping[str, np.ndarray], frames: Mapping[str, bytes]) -> None:
        """Add a step. After an OSError the journal is as it was before, and the step can be given again."""
        crcs = dict(self.frame_crcs)
        for name, data in frames.items():
            write_file(self.frame_file(name, self.num_steps), data)
            crcs[name] = zlib.crc32(data, crcs[name])
        self._row["timestamp"] = timestamp_s
        for name, value in values.items():
            self._row[name] = value
        for name, crc in crcs.items():
            self._row[name] = crc
        self._row[ROW_CRC] = zlib.crc32(self._row_bytes[: self._payload])
        size = self._row.dtype.itemsize
        written = os.pwrite(self._steps, self._row_bytes, self.num_steps * size)
        if written != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / STEPS))
        self.frame_crcs = crcs
        self.num_steps += 1

    def rows(self) -> np.ndarray:
        """All steps, read back from disk and checked. Raises DatasetError when a row is damaged."""
        rows = np.fromfile(self.path / STEPS, self._row.dtype, self.num_steps)
        payload = rows.view(np.uint8).reshape(len(rows), -1)[:, : self._payload]
        if len(rows) == self.num_steps and all(map(eq, map(zlib.crc32, payload), rows[ROW_CRC].tolist())):
            return rows
        raise DatasetError(f"{self.path / STEPS} does not hold what was written to it; check the disk.")

    @property
    def columns(self) -> list[str]:
        """Names of what a row holds: `timestamp`, every feature, `sim/state` where there is one."""
        return [name for name in self._row.dtype.names or () if name != ROW_CRC]

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


def find_journals(root: Path) -> list[Path]:
    """Journals in a `pending` directory that hold at least the beginning of a step."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and not _is_empty(p))


def _is_empty(journal: Path) -> bool:
    try:
        return (journal / STEPS).stat().st_size == 0
    except FileNotFoundError:
        return True
