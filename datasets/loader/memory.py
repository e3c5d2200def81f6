"""How much memory a loader will need, and how much there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from robolearn.core.errors import ConfigError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryEstimate:
    """In bytes.

    Attributes:
        arrays: low-dimensional features.
        cache: images that are kept, when all of them have been seen once.
        batches: the batch in use and those made ahead.
        available: what the process can still have, or None where that is unknown.
        mode: of the cache.
    """

    arrays: int
    cache: int
    batches: int
    available: int | None
    mode: str

    @property
    def total(self) -> int:
        return self.arrays + self.cache + self.batches

    def __str__(self) -> str:
        """One line: `memory 94.4 MB (arrays 2.4 MB, images decoded 71.0 MB, batches 21.0 MB) of 22.0 GB available`."""
        parts = f"arrays {_size(self.arrays)}, images {self.mode} {_size(self.cache)}, batches {_size(self.batches)}"
        end = "" if self.available is None else f" of {_size(self.available)} available"
        return f"memory {_size(self.total)} ({parts}){end}"


def plan_memory(cache: str, sizes: Mapping[str, Callable[[], int]], arrays: int, batches: int) -> MemoryEstimate:
    """Choose what to keep of the images, or check what was chosen.

    Args:
        cache: a mode in `sizes`, or `auto`: the first mode with which at most half of the free memory is needed, and
            without such the last one.
        sizes: mode -> bytes that are kept.

    Raises ConfigError when it needs more memory than is available.
    """
    available = available_bytes()
    for mode in sizes if cache == "auto" else (cache,):
        estimate = MemoryEstimate(arrays, sizes[mode](), batches, available, mode)
        if cache != "auto" or available is None or estimate.total <= available // 2:
            break
    if available is not None and estimate.total > available:
        hint = (
            "a smaller batch or fewer episodes" if cache in ("auto", "none") else "another cache mode or fewer episodes"
        )
        raise ConfigError(f"Loading needs more than there is: {estimate}; choose {hint}.")
    return estimate


def _size(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def available_bytes() -> int | None:
    """Memory this process can still take without swapping: of the machine, or of its container if that has less."""
    found = _field(MEMINFO, "MemAvailable:")
    machine = None if found is None else found * 1024
    try:
        limit = int((CGROUP / "memory.max").read_text())
    except (OSError, ValueError):
        return machine
    inside = max(0, limit - (_field(CGROUP / "memory.stat", "anon") or 0))
    return inside if machine is None else min(machine, inside)


def _field(file: Path, name: str) -> int | None:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        return next((int(line[1]) for line in lines if line[0] == name), None)
    except (OSError, ValueError, IndexError):
        return None
