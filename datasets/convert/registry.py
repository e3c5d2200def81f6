"""Formats that can be read, by name. An entry names `open_source`; `detect` and `describe` live next to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.core.registry import Registry
from robolearn.datasets import layout
from robolearn.datasets.convert.protocol import Converter

CONVERTERS = Registry(
    "dataset format",
    {
        "lerobot_v3": "robolearn.datasets.convert.lerobot_v3:open_source",
        "lerobot_v2": "robolearn.datasets.convert.lerobot_v2:open_source",
        "diffusion_policy_zarr": "robolearn.datasets.convert.diffusion_policy_zarr:open_source",
        "rlds": "robolearn.datasets.convert.rlds:open_source",
        "robomimic_hdf5": "robolearn.datasets.convert.robomimic_hdf5:open_source",
        "robosuite_hdf5": "robolearn.sim.adapters.robosuite_demos:open_source",
    },
    extra="convert",
)


def load_converter(name: str) -> Converter:
    """The module of format `name`. Raises ConfigError for an unknown name."""
    function = CONVERTERS.resolve(name)
    return cast(Converter, sys.modules[function.__module__])


def detect_format(source: Path) -> str:
    """Name of the format of `source`.

    Raises DatasetError when the path does not exist or no format recognises it.
    """
    if not source.exists():
        raise DatasetError(f"{source} does not exist; give the folder or file of an existing dataset.")
    if layout.is_ours(source):
        raise DatasetError(f"{source} is in our own format already; --to writes it in another one.")
    for name in CONVERTERS:
        try:
            if load_converter(name).detect(source):
                return name
        except MissingDependencyError:
            continue
    raise DatasetError(f"{source} is not in a format that can be read. Known: {', '.join(CONVERTERS)}.")
