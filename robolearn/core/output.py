"""Where a command writes: found out before the work, held by one process at a time, and nothing left of what failed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robolearn.core.errors import ConfigError
from robolearn.core.lock import FileLock, HeldError, holder_of

LOCK = ".lock"


def check_output(output: Path, option: str = "--output", is_file: bool = False) -> None:
    """Raise ConfigError where a folder, or with `is_file` a file, can be neither made nor written.

    Args:
        option: how the user says where.
    """
    output = Path(output)
    there = next(path for path in (output, *output.parents, Path(".")) if os.path.lexists(path))
    other = f"choose another {option}"
    if there.is_symlink() and not there.exists():
        target = os.path.realpath(there)
        raise ConfigError(f"{there} is a link to {target}, which does not exist; make that, or {other}.")
    if there == output and is_file:
        if output.is_dir():
            raise ConfigError(f"{output} is a folder, expected the name of a file; {other}.")
    elif not there.is_dir():
        where = f"{output} is a file" if there == output else f"{output} cannot be made: {there} is a file"
        raise ConfigError(f"{where}, expected a folder; {other}.")
    if not os.access(there, os.W_OK if there.is_file() else os.W_OK | os.X_OK):
        raise ConfigError(f"{output} cannot be written: {there} is read-only, or not yours; {other}.")


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """Make a folder with those above it. When the block raises, those that were made here and are empty go again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # it holds something, or was not made yet
                path.rmdir()
        raise


@contextmanager
def held_output(output: Path, option: str = "--output", is_file: bool = False) -> Iterator[None]:
    """Make the folder of a command's output, or the one that its output file is in, and keep others from writing it.

    Raises ConfigError like `check_output`, and when another process, which is named, has it.
    """
    check_output(output, option, is_file)
    folder, lock_name = (output.parent, f".{output.name}{LOCK}") if is_file else (output, LOCK)
    with new_folders(folder):
        try:
            lock = FileLock(folder / lock_name)
        except HeldError as error:
            raise _taken(output, option, error) from error
        try:
            yield
        finally:
            lock.release(remove=True)


def refuse_held(output: Path, option: str = "--output") -> None:
    """Raise ConfigError while another process has the folder of `held_output`. Holds nothing."""
    holder = holder_of(output / LOCK)
    if holder is not None:
        raise _taken(output, option, HeldError(holder))


def _taken(output: Path, option: str, error: HeldError) -> ConfigError:
    holder = error.holder
    return ConfigError(f"{output} is being written by {holder}; {holder.remedy}, or choose another {option}.")
