"""Which episodes: the one grammar of all dataset tools.

    --episodes 0-9,12,-1       indices and ranges, both ends included; -1 is the last episode
    --where success=false      a field of the episode record; = != < <= > >=; the value is json, or else text; True,
                               False and None are understood, too
    --mask NAME                a named subset

Given together they narrow each other down. Quarantined episodes are never among them.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset

RANGE = re.compile(r"(-?\d+)(?:-(-?\d+))?")
CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
PYTHON = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class Selection:
    """Some episodes of a dataset; with nothing given, all of them.

    Attributes:
        episodes: as in `0-9,12,-1`.
        where: conditions that must all hold, as in `success=true`.
        mask: name of a mask of the dataset.
    """

    episodes: str | None = None
    where: tuple[str, ...] = ()
    mask: str | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing was given that could leave out an episode."""
        return self.episodes is None and not self.where and self.mask is None

    def find(self, dataset: Dataset) -> np.ndarray:
        """`(E,)` bool: which episodes of the dataset are meant; no quarantined one.

        Raises ConfigError for a selection that cannot be understood or names what the dataset does not have,
        DatasetError for an unknown mask.
        """
        chosen = ~dataset.mask(QUARANTINE)
        if self.episodes is not None:
            listed = np.zeros(dataset.num_episodes, bool)
            listed[parse_episodes(self.episodes, dataset.num_episodes)] = True
            chosen &= listed
        for text in self.where:
            chosen &= _where(dataset, text)
        if self.mask is not None:
            chosen &= dataset.mask(self.mask)
        return chosen


def parse_episodes(text: str, num_episodes: int) -> list[int]:
    """Indices named by `text` (`0-9,12,-1`), as non-negative numbers in the order given.

    Raises ConfigError for text that is not a list of indices and ranges, or an index out of range.
    """
    found: list[int] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"--episodes takes indices and ranges, such as 0-9,12,-1; found {text!r}.")
        first = _index(int(match[1]), num_episodes)
        last = first if match[2] is None else _index(int(match[2]), num_episodes)
        if last < first:
            raise ConfigError(f"--episodes: the range {part.strip()} runs backwards; write the smaller index first.")
        found += range(first, last + 1)
    return found


def _index(index: int, num_episodes: int) -> int:
    if not -num_episodes <= index < num_episodes:
        has = f"0 to {num_episodes - 1}, or -1 for the last one" if num_episodes else "none"
        raise ConfigError(f"--episodes: there is no episode {index}; the dataset has {has}.")
    return index % num_episodes


def parse_value(text: str) -> Any:
    """A value as typed: json (`true`, `null`, `3`, `"3"`), True, False, None, or else the text itself."""
    if text in PYTHON:
        return PYTHON[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_fields(pairs: tuple[str, ...], option: str) -> Json:
    """`("task=push the T", "success=true")` as a mapping. Raises ConfigError for what is not KEY=VALUE."""
    fields: Json = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{option} takes KEY=VALUE, such as success=true; found {pair!r}.")
        if key.strip() in fields:
            raise ConfigError(f"{option} gives {key.strip()!r} two values.")
        fields[key.strip()] = parse_value(value)
    return fields


def _where(dataset: Dataset, text: str) -> np.ndarray:
    match = CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(f"--where takes a condition, such as success=false or num_steps>=50; found {text!r}.")
    key, sign, wanted = match[1], match[2], match[3].strip()
    records = dataset.episodes
    if records and not any(key in record for record in records):
        raise ConfigError(f"--where: {unknown_name('field', key, _plain_fields(records))}")
    return np.array([_holds(record.get(key), sign, wanted) for record in records], bool)


def _plain_fields(records: list[Json]) -> set[str]:
    return {key for record in records for key, value in record.items() if not isinstance(value, Mapping | list)}


def _holds(found: Any, sign: str, text: str) -> bool:
    wanted = parse_value(text)
    if isinstance(found, str) and not isinstance(wanted, str):
        wanted = text  # a text field may well hold "12"
    if isinstance(found, bool) != isinstance(wanted, bool):
        return sign == "!="  # to Python, True is 1
    try:
        return COMPARE[sign](found, wanted)
    except TypeError:  # nothing, or text against a number: neither smaller nor larger
        return False
