"""Where a result came from: package versions, git revision, machine and time, for datasets, checkpoints and figures."""

from __future__ import annotations

import datetime
import functools
import getpass
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from robolearn.core.process import usable_cores

PACKAGES = (
    "robolearn", "numpy", "torch", "mujoco", "robosuite", "gymnasium", "gym-pusht", "zarr", "numcodecs",
    "opencv-python", "diffusers", "av", "websockets", "msgpack", "safetensors", "pyrealsense2",
)  # fmt: skip


@functools.cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a result; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_revision() -> str | None:
    """Commit of the source tree, with `+dirty` when files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+dirty" if changed else "")


@functools.cache
def machine() -> str:
    """Processor, usable cores and memory, in words."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    return f"{model}, {usable_cores()} cores{memory}, {platform.system()}"


def wall_time() -> str:
    """Date and time for people, UTC, ISO 8601. Never used to schedule anything."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Everything above in one json-ready record."""
    return {
        "versions": package_versions(),
        "git_revision": git_revision(),
        "machine": machine(),
        "date": wall_time(),
    }


def user_name() -> str:
    """Who runs this; a number where the system knows no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
