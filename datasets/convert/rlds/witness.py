"""The second reader of RLDS: walks each tfrecord file from its beginning and counts the records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.convert.rlds.tfrecord import Values, parse_example
from robolearn.datasets.convert.witness import Label, Witness

HEAD, TAIL = 12, 4  # bytes before and after the content of a record: length and checksums


class RldsWitness(Witness):
    """Labels are `split/number`, keys the names of leaves in the records, such as `steps/action`."""

    def __init__(self, source: Path):
        self.path = source
        self._places: dict[str, tuple[Path, int, int]] = {}
        counts: dict[str, int] = {}
        for file in sorted(source.glob("*.tfrecord-*")):
            split = re.sub(r".*-([A-Za-z0-9_]+)\.tfrecord-.*", r"\1", file.name)
            for start, size in _walk(file):
                number = counts.get(split, 0)
                counts[split] = number + 1
                self._places[f"{split}/{number}"] = file, start, size
        try:
            tree = parsed((source / "features.json").read_bytes())["featuresDict"]["features"]["steps"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(source / "features.json", repr(error)) from error
        self._sizes = dict(_sizes(tree, "steps"))
        self._read: tuple[Label | None, dict[str, Values]] = (None, {})

    def episodes(self) -> Sequence[Label]:
        return list(self._places)

    def length(self, label: Label) -> int:
        """Values of the smallest leaf there is, by the size that `features.json` gives it."""
        lists = self._lists(label)
        sized = [(size, key) for key, size in self._sizes.items() if key in lists]
        size, key = min(sized, default=(1, ""))
        return len(lists.get(key, ())) // size

    def times(self, label: Label) -> np.ndarray | None:
        return None

    def rows(self, label: Label, key: str) -> np.ndarray:
        values, count = self._leaf(label, key), self.length(label)
        if isinstance(values, list):
            return np.stack([np.frombuffer(value, np.uint8) for value in values])
        if not count or len(values) % count:
            raise DatasetError(f"{self.path}: episode {label} has {len(values)} numbers of {key} for {count} steps.")
        return values.reshape(count, -1)

    def frames(self, label: Label, key: str, steps: Sequence[int]) -> Sequence[bytes | np.ndarray]:
        values = self._leaf(label, key)
        if not isinstance(values, list):  # pictures as lists of numbers
            return list(self.rows(label, key)[list(steps)])
        if max(steps) >= len(values):
            raise DatasetError(f"{self.path}: episode {label} has {len(values)} pictures of {key}.")
        return [values[step] for step in steps]

    def _leaf(self, label: Label, key: str) -> Values:
        lists = self._lists(label)
        if key not in lists:
            raise DatasetError(f"{self.path}: episode {label} has no {key}.")
        return lists[key]

    def _lists(self, label: Label) -> dict[str, Values]:
        if self._read[0] != label:
            file, start, size = self._place(label)
            with open(file, "rb") as stream:
                stream.seek(start)
                content = stream.read(size)
            try:
                self._read = label, parse_example(content)
            except ValueError as error:
                raise damaged(file, error) from error
        return self._read[1]

    def _place(self, label: Label) -> tuple[Path, int, int]:
        try:
            return self._places[str(label)]
        except KeyError as error:
            raise DatasetError(f"{self.path} holds no episode {label}.") from error


def _walk(file: Path) -> Iterator[tuple[int, int]]:
    """(Start, size) of the content of each whole record."""
    with open(file, "rb") as stream:
        end = stream.seek(0, 2)
        place = 0
        while place + HEAD + TAIL <= end:
            stream.seek(place)
            size = int.from_bytes(stream.read(8), "little")
            if place + HEAD + size + TAIL > end:
                return
            yield place + HEAD, size
            place += HEAD + size + TAIL


def _sizes(node: Any, key: str) -> Iterator[tuple[str, int]]:
    """(Key, numbers a step) of each leaf whose size is known: one for what is stored as bytes or text."""
    node = node.get("sequence", {}).get("feature", node)
    if "featuresDict" in node:
        for name, child in node["featuresDict"]["features"].items():
            yield from _sizes(child, f"{key}/{name}")
    elif "tensor" in node and node["tensor"].get("dtype") != "string":
        sides = [int(side) for side in node["tensor"].get("shape", {}).get("dimensions", ())]
        as_bytes = node["tensor"].get("encoding", "none") not in ("", "none")
        if as_bytes or all(side > 0 for side in sides):
            yield key, 1 if as_bytes else math.prod(sides)
    elif "image" in node or "text" in node or "tensor" in node or "classLabel" in node:
        yield key, 1
