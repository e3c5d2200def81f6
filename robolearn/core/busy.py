"""Whether other programs use the processor that work is about to start on: `/proc/stat`, read twice (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROC_STAT = Path("/proc/stat")
BUSY_SHARE = 0.3
"""Of the usable cores: when others use as much, it is said."""
WINDOW_S = 0.2
"""Shortest time between two readings: the kernel counts in steps of 10 ms."""


@dataclass(frozen=True)
class CpuReading:
    """What the cores that this process may use have done since the machine was started.

    Attributes:
        at_s: when it was read, on a monotonic clock.
        cores: how many they are.
        used_s: core seconds that were not idle, by anybody.
        stolen_s: of these, what the machine's host gave to other virtual machines.
        own_s: core seconds of this process, all threads.
    """

    at_s: float
    cores: int
    used_s: float
    stolen_s: float
    own_s: float


def read_cpu(stat: Path = PROC_STAT, ticks_per_s: float | None = None) -> CpuReading | None:
    """Read the counters now; None where there are none."""
    ticks_per_s = ticks_per_s or os.sysconf("SC_CLK_TCK")
    usable = {f"cpu{core}" for core in os.sched_getaffinity(0)} if hasattr(os, "sched_getaffinity") else None
    cores, used, stolen = 0, 0, 0
    try:
        for line in stat.read_text().splitlines():
            name, *counters = line.split()
            if name == "cpu" or not name.startswith("cpu") or (usable is not None and name not in usable):
                continue
            user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, counters[:8])
            cores += 1
            used += user + nice + system + irq + softirq + steal
            stolen += steal
    except (OSError, ValueError):
        return None
    if not cores:
        return None
    return CpuReading(time.monotonic(), cores, used / ticks_per_s, stolen / ticks_per_s, time.process_time())


def busy_line(first: CpuReading, second: CpuReading, consequence: str) -> str | None:
    """One line when, between two readings, others used much of the cores; else None.

    Args:
        consequence: what that means for the work that starts.
    """
    elapsed_s = second.at_s - first.at_s
    if elapsed_s <= 0:
        return None
    own = second.own_s - first.own_s
    # the kernel counts in ticks and own use exactly, so the difference may be below 0
    others = min(max(0.0, (second.used_s - first.used_s - own) / elapsed_s), float(second.cores))
    if others < BUSY_SHARE * second.cores:
        return None
    stolen = (second.stolen_s - first.stolen_s) / elapsed_s
    share = f" ({stolen:.1f} of it by other virtual machines)" if stolen >= 0.05 * second.cores else ""
    cores = f"{second.cores} cores are" if second.cores > 1 else "1 core is"
    return f"this machine is busy: {others:.1f} of {cores} used by other programs{share}; {consequence}."


class BusyWatch:
    """Looks at the processor from now on.

    Args:
        read, sleep: tests pass their own.
    """

    def __init__(
        self,
        read: Callable[[], CpuReading | None] = read_cpu,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._read, self._sleep = read, sleep
        self._first = read()

    def line(self, consequence: str) -> str | None:
        """See `busy_line`. Waits for what is missing of 0.2 s since the watch began; loading has mostly filled them."""
        if self._first is None or (now := self._read()) is None:
            return None
        missing_s = WINDOW_S - (now.at_s - self._first.at_s)
        if missing_s > 0:
            self._sleep(missing_s)
            now = self._read()
        return None if now is None else busy_line(self._first, now, consequence)
