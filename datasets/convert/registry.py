"""Formats that can be read, by name. An entry names the `convert` function; `detect` and `describe` live next to it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path
from typing import cast

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.core.registry import Registry
from robolearn.datasets.convert.protocol import Converter, ConvertOptions, ConvertReport
from robolearn.datasets.storage import explain_os_errors, sync_file_system

CONVERTERS = Registry(
    "dataset format",
    {
        "lerobot_v3": "robolearn.datasets.convert.lerobot_v3:convert",
        "diffusion_policy_zarr": "robolearn.datasets.convert.diffusion_policy_zarr:convert",
        "robosuite_hdf5": "robolearn.sim.adapters.robosuite_demos:convert",
    },
    extra="convert",
)


def load_converter(name: str) -> Converter:
    """The converter module of format `name`. Raises ConfigError for an unknown name."""
    function = CONVERTERS.resolve(name)
    return cast(Converter, sys.modules[function.__module__])


def detect_format(source: Path) -> str:
    """Name of the format of `source`.

    Raises DatasetError when the path does not exist or no converter recognises it.
    """
    if not source.exists():
        raise DatasetError(f"{source} does not exist; give the folder or file of an existing dataset.")
    for name in CONVERTERS:
        try:
            if load_converter(name).detect(source):
                return name
        except MissingDependencyError:
            continue
    raise DatasetError(f"{source} is not in a format that can be read. Known: {', '.join(CONVERTERS)}.")


def convert_dataset(source: Path, output: Path, options: ConvertOptions, source_format: str = "auto") -> ConvertReport:
    """Convert `source` into a new dataset `output`, which appears when it is complete, and not before.

    Raises ConfigError for an unknown format, DatasetError when the source cannot be read or `output` exists.
    """
    name = detect_format(source) if source_format == "auto" else source_format
    converter = load_converter(name)
    if not source.exists():
        raise DatasetError(f"{source} does not exist; give the folder or file of an existing dataset.")
    if output.exists():
        raise DatasetError(f"{output} exists already; choose another --output, or remove it first.")
    unfinished = output.with_name(output.name + ".unfinished")
    with explain_os_errors(f"Converting to {output}", "Free space or choose another folder."):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            report = converter.convert(source, unfinished, options)
            sync_file_system(unfinished)
            os.rename(unfinished, output)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return dataclasses.replace(report, output=output)
