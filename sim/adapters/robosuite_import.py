"""Import robosuite without its side effects (warnings on the terminal, a changed MUJOCO_GL) and check versions."""

from __future__ import annotations

import functools
import logging
import os
import re
import warnings
from importlib import metadata
from types import ModuleType

from robolearn.core.errors import MissingDependencyError

MUJOCO_RANGE = ((3, 3), (3, 10))
_TABLE = "robosuite 1.5.2 runs on mujoco 3.3 to 3.9 and fails on 3.10 and later"


def check_mujoco(version: str) -> None:
    """Raises MissingDependencyError when robosuite cannot run on this version of mujoco."""
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    low, high = MUJOCO_RANGE
    if not low <= found < high:
        raise MissingDependencyError(
            f"mujoco {version} is installed, but {_TABLE}. Install one that fits: pip install 'mujoco>=3.3,<3.10'"
        )


@functools.cache
def import_robosuite() -> ModuleType:
    """The package `robosuite`.

    Raises MissingDependencyError when it is not installed or the installed mujoco does not fit it.
    """
    try:
        metadata.version("robosuite")
        check_mujoco(metadata.version("mujoco"))
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"robosuite environments need the package {error.name!r}, which is not installed. Install it with: "
            "pip install '.[robosuite]' -c constraints.txt; where something else needs numpy 2 or mujoco 3.10, in a "
            "virtual environment of its own."
        ) from error
    gl = os.environ.get("MUJOCO_GL")
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # its logger prints to the terminal while it is being imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import robosuite
    finally:
        logging.disable(disabled)
        if gl is None:
            os.environ.pop("MUJOCO_GL", None)  # robosuite asks for EGL even where there is no GPU
        else:
            os.environ["MUJOCO_GL"] = gl
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    return robosuite
