"""What the user says about features: `--rename`, `--kind`, `--names`, `--drop`, `--range`.

All but `--rename` take the name of the feature, or the key of the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.feature import Kind
from robolearn.datasets.convert.pictures import Range

if TYPE_CHECKING:
    from robolearn.datasets.convert.protocol import ConvertOptions

KINDS: tuple[Kind, ...] = ("state", "action", "image", "depth")


@dataclass(frozen=True)
class Wishes:
    """The options, checked by themselves.

    Attributes:
        rename: key of the source -> name of the feature.
        kinds: feature -> kind.
        names: feature -> names of its elements.
        drop: features to leave out.
        ranges: feature -> values that become black and white.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drop: Sequence[str] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @classmethod
    def of(cls, options: ConvertOptions) -> Wishes:
        """Raises ConfigError for two keys of one name, an unknown kind, or a range that is none."""
        rename = options.rename
        if len(set(rename.values())) < len(rename):
            raise ConfigError(f"--rename gives two keys one name: {', '.join(f'{k}={v}' for k, v in rename.items())}.")
        names = {key: tuple(labels) for key, labels in options.names.items()}
        ranges = {key: _range(key, value) for key, value in options.ranges.items()}
        return cls(dict(rename), check_kinds(options.kinds), names, tuple(options.drop), ranges)

    def check_keys(self, keys: Iterable[str]) -> None:
        """Raises ConfigError when a renamed key is not in the source."""
        known = list(keys)
        for key in self.rename:
            if key not in known:
                raise ConfigError("--rename: " + unknown_name("key", key, known))

    def resolved(self, called: Sequence[Sequence[str]]) -> list[Wish]:
        """What is wished of each array, by its key and the names that it may get: the key first, then the likely one.

        Raises ConfigError with the closest match and the list for what is none of them.
        """
        wished = [Wish() for _ in called]
        for said, kind in self.kinds.items():
            for place in _places("kind", said, called):
                wished[place] = replace(wished[place], kind=kind)
        for said, labels in self.names.items():
            for place in _places("names", said, called):
                wished[place] = replace(wished[place], names=labels)
        for said, ends in self.ranges.items():
            for place in _places("range", said, called):
                wished[place] = replace(wished[place], range=ends)
        for said in self.drop:
            for place in _places("drop", said, called):
                wished[place] = replace(wished[place], drop=True)
        return wished


def _places(option: str, said: str, called: Sequence[Sequence[str]]) -> list[int]:
    keys = [place for place, names in enumerate(called) if said == names[0]]
    places = keys or [place for place, names in enumerate(called) if said in names]
    if not places:
        known = {name for names in called for name in names[:2]}
        raise ConfigError(f"--{option}: " + unknown_name("feature", said, known))
    return places


@dataclass(frozen=True)
class Wish:
    """What is wished of one array; None where nothing is."""

    kind: Kind | None = None
    names: tuple[str, ...] | None = None
    range: Range | None = None
    drop: bool = False


def check_kinds(kinds: Mapping[str, str]) -> dict[str, Kind]:
    """Raises ConfigError for an unknown kind, and for events: those are streams, and imports hold steps."""
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise ConfigError(f"--kind {name}: " + unknown_name("kind", kind, KINDS))
    return cast("dict[str, Kind]", dict(kinds))


def _range(key: str, value: Any) -> Range:
    low, high = (float(number) for number in value)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"--range {key}={low:g},{high:g}: the first number must be smaller than the second.")
    return low, high
