"""The folder for what can be had again: `ROBOLEARN_CACHE`, else `XDG_CACHE_HOME`/robolearn, else ~/.cache/robolearn."""

from __future__ import annotations

import os
from pathlib import Path

from robolearn.core.errors import ConfigError

VARIABLE = "ROBOLEARN_CACHE"


def cache_folder() -> Path:
    """It need not exist yet. Raises ConfigError where this user has no home to put it in."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # the specification says to ignore others
        return Path(shared) / "robolearn"
    try:
        return Path.home() / ".cache" / "robolearn"
    except RuntimeError as error:
        raise ConfigError(f"This user has no home folder to keep files in; set {VARIABLE} to a folder.") from error
