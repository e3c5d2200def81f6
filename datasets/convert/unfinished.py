"""`NAME.unfinished`: what a conversion has done so far, so that it can go on after a crash, and the lock of it.

    lock              held by the converting process
    conversion.json   format, source, fingerprint of the source, options
    skipped.jsonl     one line for each episode that was left out, and why
    checked.jsonl     one line for each episode that was compared with the source: what must be found in the end
    frames/           encoded frames of episodes that are not committed yet
    dataset/          the new dataset; becomes NAME when it is complete

Episodes are committed in the order of the source, and each one is either committed or skipped, so the number of both
says where to go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from robolearn.core.errors import DatasetError
from robolearn.core.output import new_folders
from robolearn.datasets.format.layout import Json, to_json
from robolearn.datasets.write.durable import WriterLock, sync_file_system, write_file
from robolearn.datasets.write.output import refuse_existing


def unfinished_path(output: Path) -> Path:
    """Where the work on `output` is kept until it is complete."""
    return output.with_name(output.name + ".unfinished")


def require_unfinished(output: Path) -> None:
    """Raises DatasetError when there is nothing that `--resume` could go on with."""
    path = unfinished_path(output)
    if not path.exists():
        raise DatasetError(f"There is no unfinished conversion {path} to go on with; leave out --resume to start it.")


class Unfinished:
    """The folder next to `output`, locked. Raises DatasetError when `output` exists or another process makes it.

    Attributes:
        state: what the interrupted conversion said of itself; None when there is nothing to go on with.
    """

    def __init__(self, output: Path):
        self._output = output
        self.path = unfinished_path(output)
        self.frames = self.path / "frames"
        self.dataset = self.path / "dataset"
        self._state_file = self.path / "conversion.json"
        self._skipped_file = self.path / "skipped.jsonl"
        self._checked_file = self.path / "checked.jsonl"
        refuse_existing(output)
        with new_folders(self.path):
            self._lock = WriterLock(self.path / "lock", output)
        try:
            refuse_existing(output)  # finished while we were waiting for our turn
        except BaseException:
            self._lock.release()
            raise
        # without a dataset it was finished, and only the removal of the rest was interrupted
        self.state: Json | None = _read_json(self._state_file) if self.dataset.exists() else None
        shutil.rmtree(self.frames, ignore_errors=True)
        if self.state is None:
            self._clear()
        self.frames.mkdir()

    def _clear(self) -> None:
        shutil.rmtree(self.dataset, ignore_errors=True)
        self._skipped_file.unlink(missing_ok=True)
        self._checked_file.unlink(missing_ok=True)

    def begin(self, state: Json) -> None:
        """Say what is being converted; called once the new dataset is there."""
        staged = self._state_file.with_suffix(".new")
        write_file(staged, to_json(state))
        os.replace(staged, self._state_file)

    def skip(self, index: int, reason: str) -> None:
        """Remember that episode `index` of the source was left out."""
        _append(self._skipped_file, {"episode": index, "reason": reason})

    def skipped(self) -> dict[int, str]:
        """Index in the source -> why it was left out."""
        return {entry["episode"]: entry["reason"] for entry in _lines(self._skipped_file)}

    def seal(self, index: int, seal: Json) -> None:
        """Remember what was found right of episode `index` of the source; called before it is committed."""
        _append(self._checked_file, {"episode": index, "seal": seal})

    def seals(self) -> dict[int, Json]:
        """Index in the source -> what was found right of it."""
        return {entry["episode"]: entry["seal"] for entry in _lines(self._checked_file)}

    def finish(self) -> None:
        """Give the dataset its name, in one step, and remove the rest."""
        sync_file_system(self.dataset)
        os.rename(self.dataset, self._output)
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def remove(self) -> None:
        """Remove everything: there is nothing worth going on with."""
        shutil.rmtree(self.path, ignore_errors=True)

    def release(self) -> None:
        """Let another process go on with it."""
        self._lock.release()


def _append(file: Path, entry: Json) -> None:
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def _lines(file: Path) -> list[Json]:
    """The whole lines of a file that may not be there; one that a crash cut short is none."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _read_json(file: Path) -> Json | None:
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DatasetError(f"{file} is damaged ({error}); remove {file.parent} and convert again.") from error
    return found if isinstance(found, dict) else None


def fingerprint(source: Path) -> str:
    """sha256 over names, sizes and times of change of all files of the source: cheap, for telling that it changed."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file.relative_to(source).as_posix()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def boot_id() -> str:
    """Changes when the machine starts; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
