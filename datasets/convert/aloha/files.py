"""What the files of ACT and ALOHA hold, found out before any episode is read: see `reader.py`."""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, one_line
from robolearn.core.feature import Feature
from robolearn.datasets.convert.array_features import SourceArray
from robolearn.datasets.convert.robomimic.groups import HDF5_SUFFIXES, is_hdf5, open_hdf5
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.convert.wording import ranges
from robolearn.datasets.format.image_header import image_header

LOOKED_AT = 100  # files, to find out what an episode holds
SHOWN = 5
LARGEST_ROW = 1 << 30  # bytes of a step of one array; what claims more is no such file
ACTION, OBSERVATIONS, IMAGES = "action", "observations", "observations/images/"
NAMES = {
    "action": "action",
    "base_action": "observation.base_velocity",
    "observations/qpos": "observation.state",
    "observations/qvel": "observation.velocity",
    "observations/effort": "observation.effort",
    "observations/env_state": "observation.environment_state",
}
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
ARMS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in JOINTS)
BASE = ("linear", "angular")
RATES = ("fps", "frequency", "hz", "control_freq")  # attributes of conversions into this layout
TEXTS = ("language_raw", "language_instruction", "instruction", "task")
_EPISODE = re.compile(r"episode_(\d+)\.(hdf5|h5)")


@dataclass(frozen=True)
class Array:
    """What is stored for each step: numbers, or encoded pictures (`shape` and `dtype` are then those of the pixels)."""

    shape: tuple[int, ...]
    dtype: str
    encoded: bool = False

    def named(self, key: str) -> SourceArray:
        """What becomes of it where nobody says otherwise."""
        if key.startswith(IMAGES) and self.dtype in ("uint8", "uint16"):
            camera, shape = key.removeprefix(IMAGES).replace("/", "."), self.shape
            feature = Feature(f"observation.images.{camera}", shape, "uint8", "image")
            if self.dtype == "uint16":
                camera = camera.removesuffix("_depth")
                feature = Feature(f"observation.depth.{camera}", shape[:2], "uint16", "depth")
            return SourceArray(key, shape, self.dtype, feature, camera=camera, encoded=self.encoded)
        name = NAMES.get(key, key.replace(f"{OBSERVATIONS}/", "observation.").replace("/", "."))
        labels = {2: BASE} if key == "base_action" else {len(ARMS): ARMS} if key in NAMES else {}
        shape = self.shape or (1,)
        feature = Feature(
            name,
            shape,
            self.dtype,
            "action" if key == ACTION else "state",
            labels.get(shape[0] if len(shape) == 1 else 0),
        )
        return SourceArray(key, self.shape, self.dtype, feature, fixed=key in NAMES)


@dataclass(frozen=True)
class Opened:
    """What the files say before any episode is read.

    Attributes:
        files: of the episodes, in the order of their numbers.
        arrays: key, such as `observations/qpos` -> what most episodes hold.
        steps: file -> steps, of those that were looked at.
        fps: where a file says it.
        sim: whether they are from a simulator; None where they do not say.
    """

    path: Path
    files: tuple[Path, ...]
    arrays: Mapping[str, Array]
    steps: Mapping[Path, int]
    fps: float | None
    sim: bool | None
    task: str | None
    notes: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Opened:
        """Raises DatasetError when there is no file of an episode, or none that can be read."""
        files, notes = episode_files(path)
        looks: dict[Path, Look] = {}
        trouble: DatasetError | None = None
        for place in spread(len(files), LOOKED_AT):
            try:
                looks[files[place]] = Look.at(files[place])
            except DatasetError as error:  # it is left out later, and named
                trouble = trouble or error
        if not looks:
            raise trouble or DatasetError(f"{path} holds no episode.")
        arrays, rare = _common([look.arrays for look in looks.values()])
        rates = sorted({look.fps for look in looks.values() if look.fps is not None})
        if len(rates) > 1:
            raise DatasetError(f"{path}: its files have {' and '.join(f'{rate:g}' for rate in rates)} Hz; convert them "
                               "apart, folder by folder.")  # fmt: skip
        said = [look.sim for look in looks.values() if look.sim is not None]
        tasks = list(dict.fromkeys(look.task for look in looks.values() if look.task))
        return cls(
            path, files, arrays, {file: look.steps for file, look in looks.items()}, rates[0] if rates else None,
            said[0] if said else None, tasks[0] if len(tasks) == 1 else None,
            (*notes, *rare, *dict.fromkeys(note for look in looks.values() for note in look.notes)),
        )  # fmt: skip

    @property
    def named(self) -> list[SourceArray]:
        return [array.named(key) for key, array in self.arrays.items()]

    def look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last row of the files that were looked at; those that cannot be read are left out."""
        for path, steps in self.steps.items():
            with contextlib.suppress(KeyError, OSError, ValueError, TypeError, DatasetError), open_hdf5(path) as file:
                item = file[array.key]
                if steps and item.shape == (steps, *array.shape):
                    yield np.stack([item[row] for row in first_middle_last(steps)])


@dataclass(frozen=True)
class Look:
    """What one file holds."""

    steps: int
    arrays: Mapping[str, Array]
    fps: float | None
    sim: bool | None
    task: str | None
    notes: tuple[str, ...]

    @classmethod
    def at(cls, path: Path) -> Look:
        """Raises DatasetError when the file is damaged or not in this layout."""
        with open_hdf5(path) as file:
            try:
                if not getattr(file[ACTION], "shape", ()):
                    raise ValueError(f"{ACTION} is no array of a row for each step")
                steps = len(file[ACTION])
                found: dict[str, Array] = {}
                notes = []
                for key, item in _datasets(file):
                    array = _array(key, item) if item.shape and len(item) == steps else None
                    if array is not None:
                        found[key] = array
                    elif key not in ("compress_len", *TEXTS):
                        notes.append(f"{key} ({item.dtype}, shape {item.shape}) is not carried over: it holds neither "
                                     "numbers nor pictures of each step")  # fmt: skip
                rate = next((float(file.attrs[name]) for name in RATES if name in file.attrs), None)
                if rate is not None and not 0 < rate < math.inf:
                    raise ValueError(f"its rate is {rate:g} Hz")
                sim = bool(file.attrs["sim"]) if "sim" in file.attrs else None
                return cls(steps, found, rate, sim, task_of(file), tuple(notes))
            except (KeyError, OSError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise damaged_file(path, error) from error


def damaged_file(path: Path, error: object) -> DatasetError:
    """The error for a file that cannot be read, on one line."""
    return DatasetError(f"{path} is damaged ({one_line(error)}).")


def episode_files(path: Path) -> tuple[tuple[Path, ...], list[str]]:
    """(Files of episodes in the order of their numbers, notes on numbers and files that are left out)."""
    if not path.is_dir():
        return (path,), []
    numbers: dict[Path, int] = {}
    others = []
    for file in sorted(path.iterdir()):
        match = _EPISODE.fullmatch(file.name)
        if match:
            numbers[file] = int(match[1])
        elif file.suffix in HDF5_SUFFIXES:
            others.append(file.name)
    if not numbers:
        raise DatasetError(f"{path} holds no file that is called episode_<number>.hdf5.")
    files = tuple(sorted(numbers, key=lambda file: (numbers[file], file.name)))
    notes = []
    if gaps := set(range(min(numbers.values()), max(numbers.values()))) - set(numbers.values()):
        notes.append(f"the numbers of the files have gaps: there is no episode {ranges(gaps)}")
    if others:
        shown = ", ".join(others[:SHOWN]) + ", ..." * (len(others) > SHOWN)
        notes.append(f"{len(others)} other HDF5 files are left out (mirrored copies and caches are called so): {shown}")
    return files, notes


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """All arrays of a file by their paths, groups in the order of the file."""
    found: list[tuple[str, Any]] = []
    file.visititems(lambda key, item: found.append((key, item)) if hasattr(item, "shape") else None)
    yield from found


def _array(key: str, item: Any) -> Array | None:
    """What a step of `item` is; None for what is neither numbers nor pictures."""
    kind = item.dtype.kind
    row = tuple(item.shape[1:])
    if math.prod(row) * item.dtype.itemsize > LARGEST_ROW:
        return None
    if key.startswith(IMAGES) and (kind in "SO" or (kind == "u" and item.dtype.itemsize == 1 and len(row) == 1)):
        for step in first_middle_last(len(item)):
            with contextlib.suppress(DatasetError):  # one that is damaged says nothing of the others
                height, width, channels, bits = image_header(encoded_row(item[step]))
                return Array((height, width, 1 if channels == 1 else 3), f"uint{bits}", encoded=True)
        return None
    return Array(row, item.dtype.name) if kind in "biuf" else None


def _common(looks: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Array], list[str]]:
    """(What more than half of the files hold, notes on what fewer hold)."""
    counts = Counter(key for look in looks for key in look)
    rare = [
        f"{key} is not carried over: {count} of the {len(looks)} files looked at have it"
        for key, count in counts.items() if 2 * count <= len(looks)
    ]  # fmt: skip
    common = {
        key: Counter(look[key] for look in looks if key in look).most_common(1)[0][0]
        for key, count in counts.items() if 2 * count > len(looks)
    }  # fmt: skip
    return common, rare


def encoded_row(row: Any) -> bytes:
    """The encoded picture in a row: padded bytes, an array of them, or one of its own length. Padding is zeros."""
    data = row if isinstance(row, bytes) else np.asarray(row, np.uint8).tobytes()
    return data.rstrip(b"\0")


def task_of(file: Any) -> str | None:
    """The instruction of an episode, where a conversion into this layout wrote one."""
    for name in TEXTS:
        value = file.attrs.get(name, file[name][()] if name in file else None)
        value = np.ravel(value)[0] if value is not None and np.size(value) else None
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and text.strip():
            return text.strip()
    return None


def is_episode(path: Path) -> bool:
    """Whether a file is in this layout. Never raises."""
    try:
        import h5py

        if not is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            return hasattr(file.get(ACTION), "shape") and hasattr(file.get(OBSERVATIONS), "keys")
    except (OSError, ImportError, KeyError, RuntimeError, ValueError):
        return False
