"""Git LFS pointers: files of a few lines that stand for large ones which were not downloaded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from robolearn.core.errors import DatasetError

START = b"version https://git-lfs.github.com/spec/"
COPY = re.compile(r"; copy (it|the file|the whole dataset) again")
LARGEST = 1024  # bytes, by the specification


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer. Never raises."""
    try:
        if path.stat().st_size >= LARGEST or not path.is_file():
            return False
        with open(path, "rb") as stream:
            return stream.read(len(START)) == START
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Whether a file is there, and not only a pointer to it."""
    return path.is_file() and not is_pointer(path)


def pointers(source: Path) -> list[Path]:
    """All pointers among the files of a source."""
    files = [source] if source.is_file() else sorted(source.rglob("*"))
    return [file for file in files if is_pointer(file)]


def told(source: Path, found: Sequence[Path]) -> str:
    """What they are and what to do, in one sentence without a full stop."""
    first = found[0] if found[0] == source else found[0].relative_to(source)
    many = f"{len(found)} files of {source}, {first} for one, are Git LFS pointers" if len(found) > 1 else (
        f"{found[0]} is a Git LFS pointer"
    )  # fmt: skip
    return f"{many}, whose content was not downloaded: run `git lfs pull` in the repository, then convert again"


@contextlib.contextmanager
def blamed(source: Path, found: Sequence[Path]) -> Iterator[None]:
    """Says of what cannot be opened that pointers are the reason, where there are any."""
    try:
        yield
    except DatasetError as error:
        if not found:
            raise
        named = any(str(file) in str(error) for file in found)
        rest = "" if named else f" ({without_copying(str(error))})"
        raise DatasetError(f"{told(source, found)}.{rest}") from error


def without_copying(reason: str) -> str:
    """A reason that does not tell to copy a file that has to be downloaded in another way."""
    return COPY.sub("", reason)
