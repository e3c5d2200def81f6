"""What `robolearn doctor` says of one thing, and what it finds of the machine. Nothing here raises."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robolearn.core.errors import DeviceError
from robolearn.core.provenance import machine
from robolearn.core.realtime import raised_priority
from robolearn.core.shared_record import SharedRecord

Status = Literal["ok", "info", "warn", "bad"]


@dataclass(frozen=True)
class HealthCheck:
    """One finding.

    Attributes:
        status: `ok`; `info`: neither good nor bad; `warn`: works, but worse than it could; `bad`: broken.
        advice: what to type, for `warn` and `bad`.
    """

    group: str
    name: str
    status: Status
    found: str
    advice: str = ""


def machine_checks() -> Iterator[HealthCheck]:
    group = "Machine"
    yield HealthCheck(group, "python", "ok", f"{sys.version.split()[0]}, {sys.prefix}")
    yield HealthCheck(group, "hardware", "ok", machine())
    yield _shared_memory(group)
    yield _real_time_priority(group)
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    yield HealthCheck(group, "display", "info", f"{display}" if display else "none: the simulator's viewer cannot open")


def _shared_memory(group: str) -> HealthCheck:
    try:
        record = SharedRecord.create(f"robolearn_doctor_{os.getpid()}", {"x": ((), "float64")})
        record.close()
    except DeviceError as error:
        return HealthCheck(group, "shared memory", "bad", str(error), "mount a tmpfs at /dev/shm, of 256 MiB or more")
    folder = Path("/dev/shm")
    free = shutil.disk_usage(folder).free / 2**20 if folder.is_dir() else float("inf")
    if free < 256:
        return HealthCheck(
            group, "shared memory", "warn", f"{free:.0f} MiB free", "start the container with --shm-size=1g"
        )
    return HealthCheck(group, "shared memory", "ok", "works")


def _real_time_priority(group: str) -> HealthCheck:
    with raised_priority() as priority:
        pass
    if priority.startswith("SCHED_FIFO"):
        return HealthCheck(group, "real-time priority", "ok", f"allowed ({priority})")
    user = os.environ.get("USER", "USER")
    advice = f"as root: echo '{user} - rtprio 80' >> /etc/security/limits.conf, then log in again"
    return HealthCheck(group, "real-time priority", "info", f"not allowed: loops run at {priority} priority", advice)
