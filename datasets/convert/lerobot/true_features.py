"""What LeRobot's columns, pictures and videos are, where `info.json` says something else of them.

`info.json` is written by hand as often as not. Numbers keep the type that the parquet files hold where the declared one
is narrower; pictures of 16 bits in one channel are depth, whatever they are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert.lerobot.info import Info
from robolearn.datasets.convert.picture_file import DEEP, PictureFile
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.video import VideoKind

ARROW = {"float": "float32", "double": "float64", "halffloat": "float16"}  # whose other names are numpy's


@dataclass(frozen=True)
class Looked:
    """A key as it is.

    Attributes:
        feature: what becomes of it.
        dtype: of a column, in the files; None for what is declared.
        pixels: how its encoded pictures of 16 bits become those of 8.
        note: what differs from what is declared, or "".
    """

    feature: Feature
    dtype: str | None = None
    pixels: Pixels | None = None
    note: str = ""


def column_dtype(key: str, feature: Feature, schema: Any, info: Info) -> Looked:
    """A column of numbers, in the wider of the declared type and that of the files."""
    if schema is None or key not in schema.names:
        return Looked(feature)
    found = schema.field(key).type
    while hasattr(found, "value_type"):
        found = found.value_type
    try:
        held = np.dtype(ARROW.get(str(found), str(found)))
        declared = np.dtype(str(info.raw["features"][key]["dtype"]))
    except TypeError:
        return Looked(feature)
    if info.origin or held.kind not in "biuf" or np.can_cast(held, declared, "safe"):
        return Looked(feature)
    note = f"{key}: info.json says {declared.name}, the parquet files hold {held.name}: carried over as {held.name}"
    return Looked(replace(feature, dtype=held.name), held.name, note=note)


def picture_kinds(key: str, feature: Feature, pictures: Iterable[bytes]) -> Looked:
    """Pictures in parquet files, by the headers of some: most decide."""
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    try:
        for data in pictures:
            file = PictureFile.read(data)
            found[file.shape, file.bits] += 1
    except DatasetError:  # named when its episode is read
        pass
    if not found or feature.kind == "depth":
        return Looked(feature)
    (shape, bits), _ = found.most_common(1)[0]
    return _as_found(key, feature, shape, bits)


def video_feature(key: str, feature: Feature, files: Iterable[Path]) -> Looked:
    """Pictures in video files, by the first that can be opened."""
    for file in files:
        try:
            kind = VideoKind.read(file)
        except DatasetError:  # named when its episode is read
            continue
        if feature.kind == "depth":
            return Looked(feature)
        shape = (kind.height, kind.width) if kind.grey else (kind.height, kind.width, 3)
        if kind.bits > 8 and not kind.grey:
            looked = _as_found(key, feature, shape, 8)
            return replace(looked, note=looked.note or f"{key}: video of {kind.bits} bits is reduced to 8")
        return _as_found(key, feature, shape, kind.bits)
    return Looked(feature)


def _as_found(key: str, feature: Feature, shape: tuple[int, ...], bits: int) -> Looked:
    if len(shape) == 2 and bits > 8:
        name = feature.name.replace("observation.images.", "observation.depth.")
        note = (
            f"{key} is declared an image, but its pictures are grey of {bits} bits: carried over as depth (uint16), "
            "without loss"
        )
        return Looked(Feature(name, shape, "uint16", "depth"), note=note)
    ours = shape if len(shape) == 3 else (*shape, 1)
    said = [f"info.json says {_size(feature.shape)}, the pictures are {_size(ours)}"] if ours != feature.shape else []
    pixels = None
    if bits > 8:
        said.append("16 bits are reduced to 8")
        pixels = Pixels(key, ours, range=DEEP, judged=False)
    return Looked(replace(feature, shape=ours), None, pixels, f"{key}: {'; '.join(said)}" if said else "")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
