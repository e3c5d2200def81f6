"""Formats that can be read, by name. An entry names `open_source`; the rest of `Converter` lives next to it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.core.failure import line_of
from robolearn.core.interrupt import StoppedError
from robolearn.core.registry import Registry
from robolearn.datasets.convert.protocol import Converter
from robolearn.datasets.convert.robomimic.groups import HDF5_SUFFIXES, file_of, is_hdf5, open_hdf5
from robolearn.datasets.format import layout

CONVERTERS = Registry(
    "dataset format",
    {
        "lerobot_v3": "robolearn.datasets.convert.lerobot.v3:open_source",
        "lerobot_v2": "robolearn.datasets.convert.lerobot.v2:open_source",
        "diffusion_policy_zarr": "robolearn.datasets.convert.diffusion_policy.reader:open_source",
        "rlds": "robolearn.datasets.convert.rlds.reader:open_source",
        "robomimic_hdf5": "robolearn.datasets.convert.robomimic.reader:open_source",
        "aloha_hdf5": "robolearn.datasets.convert.aloha.reader:open_source",
        "robosuite_hdf5": "robolearn.sim.adapters.robosuite_demos:open_source",
    },
    extra="convert",
    extras={"robosuite_hdf5": "convert,robosuite"},
    group="robolearn.importers",
)
SEARCHED, SHOWN = 100, 5  # entries of a folder that are looked into, and named


def load_converter(name: str) -> Converter:
    """The module of format `name`.

    Raises ConfigError for an unknown name, and for a module without one of the functions of `Converter`: no format is
    read without a witness.
    """
    module = CONVERTERS.module(name)
    CONVERTERS.require(name, module, Converter)
    return cast(Converter, module)


def detect_format(source: Path) -> str:
    """Name of the format of `source`.

    Raises DatasetError when the path does not exist or no format recognises it.
    """
    if not source.exists():
        raise DatasetError(f"{source} does not exist; give the folder or file of an existing dataset.")
    if layout.is_ours(source):
        raise DatasetError(f"{source} is in our own format already; --to writes it in another one.")
    found = find_format(source)
    if found is None:
        raise DatasetError(_unknown(source) + _unasked(source))
    return found


def find_format(source: Path) -> str | None:
    """Name of the format that recognises `source`; None where none does. Never raises."""
    return next((name for name in CONVERTERS if _recognises(name, source)), None)


def _recognises(name: str, source: Path) -> bool:
    """Whether a format does; one of another package that cannot be asked does not, and stands in nobody's way."""
    try:
        return load_converter(name).detect(source)
    except MissingDependencyError:
        return False
    except StoppedError:
        raise
    except (Exception, SystemExit):
        if CONVERTERS.package(name) is None:
            raise
        return False


def _unasked(source: Path) -> str:
    """A sentence for each format of another package that cannot be asked: it might have recognised `source`."""
    said = ""
    for name in CONVERTERS:
        if (package := CONVERTERS.package(name)) is not None:
            try:
                load_converter(name).detect(source)
            except StoppedError:
                raise
            except (Exception, SystemExit) as error:
                said += " " + line_of(error, f"The format {name!r} of the package {package!r} could not be asked")
    return said


def _unknown(source: Path) -> str:
    """Why no format recognises `source`, as far as can be told. Raises DatasetError for a damaged HDF5 file."""
    if file_of(source).is_file() and (is_hdf5(file_of(source)) or file_of(source).suffix in HDF5_SUFFIXES):
        with open_hdf5(file_of(source)):
            return f"{source} is a whole HDF5 file, but its groups are not robomimic's, ACT's or robosuite's."
    known = f"Known: {', '.join(CONVERTERS)}."
    entries = sorted(source.iterdir())[:SEARCHED] if source.is_dir() else []
    inside = [entry.name for entry in entries if layout.is_ours(entry) or find_format(entry)]
    if inside:
        more = ", ..." if len(inside) > SHOWN else ""
        known = f"Did you mean one inside of it: {', '.join(inside[:SHOWN])}{more}?"
    return f"{source} is not in a format that can be read. {known}"
