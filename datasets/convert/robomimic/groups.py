"""What robomimic's and robosuite's HDF5 files have in common: `data/demo_<k>` groups and filter keys in `mask/`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError, one_line
from robolearn.core.pins import install_line

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


def holds(source: Path, looks_right: Callable[[Any], bool]) -> bool:
    """Whether `source` is HDF5, or a folder with a `demo.hdf5`, and its group `data` looks right. Never raises."""
    path = file_of(source)
    try:
        import h5py

        if not is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            return looks_right(file["data"])
    except (OSError, ImportError, KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError):
        return False


def open_hdf5(path: Path) -> Any:
    """The opened `h5py.File`.

    Raises DatasetError when it is damaged or leads to another file, MissingDependencyError without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(f"Reading hdf5 needs h5py. Install it with: {install_line('convert')}") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} is a damaged or truncated HDF5 file ({one_line(error)}); copy it again.") from error
    if outside := next(_outside(file), None):
        file.close()
        raise DatasetError(
            f"{path}: {outside[0]} leads to another file, {outside[1]}, which is not read: it may be any file of this "
            "computer. Copy its data into the file itself, with h5py for one."
        )
    return file


def _outside(file: Any) -> Iterator[tuple[str, str]]:
    """(Name, file) of everything whose data is in another file: links, virtual arrays, arrays stored apart."""
    from h5py import h5d, h5g, h5i, h5l, h5o

    unreadable = (OSError, KeyError, RuntimeError, ValueError)  # what is damaged is named when it is read
    seen, pending = set(), [("", h5g.open(file.id, b"/"))]
    while pending:
        where, group = pending.pop()
        with contextlib.suppress(*unreadable):
            address = h5o.get_info(group).addr
            if address in seen:  # a group that is inside of itself
                continue
            seen.add(address)
            for name in group:
                inside = f"{where}{name.decode(errors='replace')}"
                with contextlib.suppress(*unreadable):
                    link = group.links.get_info(name).type
                    if link == h5l.TYPE_EXTERNAL:
                        yield inside, os.fsdecode(group.links.get_val(name)[0])
                    elif link == h5l.TYPE_HARD:
                        item = h5o.open(group, name)
                        if h5i.get_type(item) == h5i.GROUP:
                            pending.append((f"{inside}/", item))
                        elif h5i.get_type(item) == h5i.DATASET:
                            yield from ((inside, other) for other in _kept_apart(item.get_create_plist(), h5d))


def _kept_apart(kept: Any, h5d: Any) -> Iterator[str]:
    """Files, other than its own, in which the data of an array is, by its creation properties."""
    if kept.get_layout() == h5d.CONTIGUOUS:
        yield from (os.fsdecode(kept.get_external(k)[0]) for k in range(kept.get_external_count()))
    elif kept.get_layout() == h5d.VIRTUAL:
        names = (kept.get_virtual_filename(k) for k in range(kept.get_virtual_count()))
        yield from (name for name in names if name != ".")


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
        raise DatasetError(f"{path}: {name!r} of {where} is missing or damaged ({one_line(error)}).") from error


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
            notes.append(f"mask {name!r} is not carried over: it cannot be read ({one_line(error)})")
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
