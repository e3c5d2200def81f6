"""What robomimic's and robosuite's HDF5 files have in common: `data/demo_<k>` groups and filter keys in `mask/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError

HDF5_SUFFIXES = (".hdf5", ".h5")
DEMO = re.compile(r"demo_[0-9]+")
SHOWN = 5
MAGIC = b"\x89HDF\r\n\x1a\n"


def file_of(source: Path) -> Path:
    """The HDF5 file that `source` is, or `demo.hdf5` in the folder that it is."""
    return source / "demo.hdf5" if source.is_dir() else source


def is_hdf5(path: Path) -> bool:
    """Whether the file begins like HDF5. Never raises."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def open_hdf5(path: Path) -> Any:
    """The opened `h5py.File`. Raises DatasetError when it is damaged, MissingDependencyError without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "Reading hdf5 needs h5py. Install it with: pip install '.[convert]' -c constraints.txt"
        ) from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} is a damaged or truncated HDF5 file ({_line(error)}); copy it again.") from error


def demo_names(data: Any) -> tuple[str, ...]:
    """Names of the demonstrations, `demo_<number>`, in the order of their numbers."""
    return tuple(sorted((key for key in data if DEMO.fullmatch(key)), key=lambda key: int(key[5:])))


def other_names(data: Any) -> list[str]:
    """A line, where something in `data` is called otherwise and is left out."""
    others = sorted(key for key in data if not DEMO.fullmatch(key))
    shown = ", ".join(others[:SHOWN]) + ", ..." * (len(others) > SHOWN)
    return [f"data/{shown}: not called demo_<number>, and left out"] if others else []


def read_array(path: Path, demo: Any, name: str) -> np.ndarray:
    """A whole array of a demonstration. Raises DatasetError when it is missing or damaged."""
    try:
        return np.asarray(demo[name][()])
    except (KeyError, OSError, TypeError, ValueError, RuntimeError) as error:
        where = demo.name.rpartition("/")[2]
        raise DatasetError(f"{path}: {name!r} of {where} is missing or damaged ({_line(error)}).") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_masks(file: Any, demos: Sequence[str]) -> tuple[Mapping[str, list[int]], list[str]]:
    """(Filter key -> indices in `demos`, notes on those that name demonstrations which are not there)."""
    masks: dict[str, list[int]] = {}
    notes: list[str] = []
    if "mask" not in file:
        return masks, notes
    place = {name: index for index, name in enumerate(demos)}
    for name in file["mask"]:
        try:
            members = [
                m.decode() if isinstance(m, bytes) else str(m) for m in np.asarray(file["mask"][name][()]).ravel()
            ]
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            notes.append(f"mask {name!r} is not carried over: it cannot be read ({_line(error)})")
            continue
        label = re.sub(r"^[.-]|[^\w.-]", "_", name)
        if label != name:
            label += "_" * (label in file["mask"])
            notes.append(f"mask {name!r} is called {label!r}")
        masks[label] = sorted(place[m] for m in members if m in place)
        absent = sum(m not in place for m in members)
        if absent:
            notes.append(f"mask {name!r} names {absent} demonstrations that are not in the file")
    return masks, notes


def model_text(demo: Any) -> str:
    """The model (XML) of a demonstration; empty without one. Older files hold only the name of a file."""
    value = demo.attrs.get("model_file", "")
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if text.lstrip().startswith("<") else ""
