"""Small files that are written whole: results, pages, configurations."""

from __future__ import annotations

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
