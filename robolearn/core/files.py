"""Files by their names: small ones are written whole (results, pages, configurations), open ones found again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file in place of what was there. A full disk or the end of the process leaves what was there.

    Raises OSError, always with the name of the file.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        error.filename, error.filename2 = str(path), None
        raise


def is_still_named(path: Path, descriptor: int, follow_links: bool = True) -> bool:
    """Whether `path` names the open file behind `descriptor`: it may have been removed, or replaced, meanwhile."""
    try:
        there = os.stat(path, follow_symlinks=follow_links)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
