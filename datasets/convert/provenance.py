"""Where converted data came from: path, format and sha256 of the source."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from robolearn.core.provenance import wall_time


def source_provenance(source: Path, source_format: str, format_version: str | None) -> dict[str, Any]:
    """Where converted data came from, for the new dataset's metadata."""
    return {
        "source": str(source.resolve()),
        "format": source_format,
        "format_version": format_version,
        "sha256": sha256_of(source),
        "converted_at": wall_time(),
    }


def sha256_of(source: Path) -> str:
    """sha256 of a file, or of the sorted names and sha256s of all files of a folder."""
    if source.is_file():
        digest = hashlib.sha256()
        with open(source, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    lines = [f"{p.relative_to(source).as_posix()} {sha256_of(p)}\n" for p in sorted(source.rglob("*")) if p.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
