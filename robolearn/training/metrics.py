"""Metrics of a run: `metrics.jsonl` always, TensorBoard beside it where the package is installed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from robolearn.core.errors import DatasetError
from robolearn.core.files import write_text


class MetricsWriter:
    """Appends one json line per call; survives kill -9 up to the last line.

    Args:
        directory: of the run.
        resume_step: lines of later steps, written by a run that was cut off after its last checkpoint, are dropped.
    """

    def __init__(self, directory: Path, resume_step: int = 0, tensorboard: bool = True):
        self.path = directory / "metrics.jsonl"
        kept = [line for line in read_metrics(self.path) if line["step"] <= resume_step] if resume_step else []
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        # unbuffered: what a full disk did not take must not come up again at the end
        self._file = self.path.open("ab", buffering=0)
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            # TensorBoard drops the purge step itself too
            self._board = SummaryWriter(
                str(directory / "tensorboard"), purge_step=resume_step + 1 if resume_step else None
            )

    def write(self, step: int, **values: float) -> None:
        """Raises OSError when the disk is full."""
        line = (json.dumps({"step": step, **values}) + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Lines of a metrics.jsonl; a last line cut off by a crash is left out.

    Raises DatasetError when it holds something else.
    """
    if not path.is_file():
        return []
    lines = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            if number == 1:
                raise _no_metrics(path, number, line) from None
            break
        if not isinstance(found, dict) or not isinstance(found.get("step"), int):
            raise _no_metrics(path, number, line)
        lines.append(found)
    return lines


def _no_metrics(path: Path, number: int, line: str) -> DatasetError:
    return DatasetError(f"{path} does not hold the metrics of a training run: line {number} is {line[:80]!r}.")
