"""What an array of a source is: the one place that decides name, kind, dtype, layout and range, for every importer.

An importer lists what it found (`SourceArray`) and gets back what becomes of it (`Taken`), and a line for each thing
that is not plainly as the source says. The order of belief: the user's options, what the format itself says, the name,
the shape and type, and for the range of pictures the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.core.feature import Feature, Features
from robolearn.core.feature import features as indexed
from robolearn.datasets.convert.naming import called_picture, kind_of, picture_name, recognised
from robolearn.datasets.convert.overrides import Wish, Wishes
from robolearn.datasets.convert.pictures import FLOAT_RANGES, Pixels, Span, joined, judge
from robolearn.datasets.format.layout import is_encoded

if TYPE_CHECKING:
    from robolearn.datasets.convert.protocol import ConvertOptions

SMALLEST = 16  # pixels along a side, where nothing but the shape says that it is a picture
CHANNELS = (1, 3, 4)
MANY = 1024  # numbers a step from which on it is worth a line that an array is no picture


@dataclass(frozen=True)
class SourceArray:
    """An array with a row for each step, or a column of encoded images, as the source declares it.

    Attributes:
        key: what the source calls it.
        shape: of one row.
        dtype: of the source.
        feature: what it is where nothing better is known; a kind of image or depth is what the format says.
        fixed: the format itself says the name; else it is a default, which a name that is known replaces.
        camera: of a picture, where it is called otherwise than the key.
        encoded: the rows are JPEG, PNG or video frames, which are decoded elsewhere.
        known: all of it is known (a dataset of ours, or an export of one): only what the user says changes it.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    feature: Feature
    fixed: bool = False
    camera: str | None = None
    encoded: bool = False
    known: bool = False

    @property
    def declared(self) -> bool:
        """Whether the format says that it is a picture."""
        return is_encoded(self.feature)


@dataclass(frozen=True)
class Taken:
    """What becomes of an array; `pixels` is there for arrays of numbers that become pictures."""

    array: SourceArray
    feature: Feature
    pixels: Pixels | None = None


Look = Callable[[SourceArray], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Decision:
    """What is taken over, in the order of the source, and what there is to say about it."""

    taken: tuple[Taken, ...]
    notes: tuple[str, ...]

    @property
    def features(self) -> Features:
        return indexed(taken.feature for taken in self.taken)

    @property
    def names(self) -> dict[str, str]:
        """Key -> name of the feature."""
        return {taken.array.key: taken.feature.name for taken in self.taken}

    @property
    def pixels(self) -> dict[str, Pixels]:
        """Name of the feature -> what is done to its pictures, where numbers become pictures."""
        return {taken.feature.name: taken.pixels for taken in self.taken if taken.pixels}


def describe_arrays(arrays: Sequence[SourceArray], look: Look) -> Decision:
    """What `decide` says without any option; pictures of no known range are a note, and no error."""
    return _decided(arrays, Wishes(), look, strict=False)


def decide(arrays: Sequence[SourceArray], options: ConvertOptions, look: Look) -> Decision:
    """What is taken over of `arrays`.

    Args:
        arrays: all that the source has.
        options: `rename`, `kinds`, `names`, `drop` and `ranges` are the user's.
        look: gives `(n, *shape)` rows of an array, of one episode after the other; called for arrays whose values
            decide what they are.

    Raises ConfigError for an option that names nothing that is there, does not fit, or leaves nothing, and for
    pictures whose range is none that is known.
    """
    wishes = Wishes.of(options)
    wishes.check_keys([array.key for array in arrays])
    return _decided(arrays, wishes, look, strict=True)


def _decided(arrays: Sequence[SourceArray], wishes: Wishes, look: Look, strict: bool) -> Decision:
    numbers, pictures = _names(arrays, wishes.rename)
    wished = wishes.resolved([
        (array.key, *((picture, number) if _may_be_picture(array) else (number, picture)))
        for array, number, picture in zip(arrays, numbers, pictures, strict=True)
    ])  # fmt: skip
    if all(wish.drop for wish in wished):
        raise ConfigError(f"--drop {' '.join(wishes.drop)}: all features would be left out; nothing would remain.")
    taken: list[Taken] = []
    notes: list[str] = []
    for array, number, picture, wish in zip(arrays, numbers, pictures, wished, strict=True):
        if not wish.drop:
            given = array.fixed or array.key in wishes.rename
            deciding = _Deciding(array, number, picture, given, wish, look, strict)
            taken.append(deciding.taken())
            notes += deciding.notes
    _refuse_same_names(taken)
    return Decision(tuple(taken), (*_name_notes(taken, wishes.rename), *notes))


def _names(arrays: Sequence[SourceArray], rename: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The name of each array as numbers, and as a picture. What the user or the format says is never guessed away."""
    given = [rename.get(a.key) or (a.feature.name if a.fixed else None) for a in arrays]
    flat = [a.key for a, name in zip(arrays, given, strict=True) if name is None and not _may_be_picture(a)]
    known = recognised(flat, [name for name in given if name])
    plain = [a.feature.name.replace("/", ".") for a in arrays]  # a name is that of a folder, too
    numbers = [name or known.get(a.key, own) for a, name, own in zip(arrays, given, plain, strict=True)]
    pictures = [name or picture_name(a.camera or a.key, a.feature.kind) for a, name in zip(arrays, given, strict=True)]
    return numbers, pictures


def _may_be_picture(array: SourceArray) -> bool:
    return array.declared or _layout(array.shape, called_picture(array.key) is True) is not None


def _refuse_same_names(taken: Sequence[Taken]) -> None:
    seen: dict[str, str] = {}
    for item in taken:
        key, name = item.array.key, item.feature.name
        if name in seen:
            raise ConfigError(
                f"{seen[name]} and {key} would both be called {name!r}; --rename KEY=FEATURE gives one of them another "
                "name, --drop KEY leaves it out."
            )
        seen[name] = key


def _name_notes(taken: Sequence[Taken], rename: Mapping[str, str]) -> list[str]:
    guessed = [
        f"{item.array.key} is {item.feature.name}"
        for item in taken
        if item.array.key not in rename and not item.array.fixed and not _as_expected(item)
    ]
    return [f"names: {', '.join(guessed)}; --rename KEY=FEATURE says otherwise"] if guessed else []


def _as_expected(item: Taken) -> bool:
    """Whether the name is the key's own, in the group where its kind belongs."""
    ours, default = item.feature.name, item.array.feature.name
    return ours == default or (is_encoded(item.feature) and default.startswith("observation."))


def _layout(shape: tuple[int, ...], named: bool) -> tuple[bool, int] | None:
    """(Channels first, channels) of a row that may be a picture; None where the shape is that of none."""
    smallest = 2 if named else SMALLEST
    if len(shape) == 2 and min(shape) >= smallest:
        return False, 1
    if len(shape) != 3:
        return None
    if shape[2] in CHANNELS and min(shape[:2]) >= smallest:
        return False, shape[2]
    return (True, shape[0]) if shape[0] in CHANNELS and min(shape[1:]) >= smallest else None


def looks_like_pictures(feature: Feature) -> bool:
    """Whether a feature of numbers has shape, type and name of pictures."""
    said = called_picture(feature.name)
    found = _layout(feature.shape, named=said is True)
    return found is not None and said is not False and (found[1] >= 3 or said is True) and feature.dtype != "bool"


class _Deciding:
    """Kind, layout and range of one array whose name is known."""

    def __init__(
        self, array: SourceArray, number: str, picture: str, given: bool, wish: Wish, look: Look, strict: bool
    ):  # fmt: skip
        self.array, self.number, self.picture, self.given = array, number, picture, given
        self.wish, self.look, self.strict = wish, look, strict
        self.dtype = np.dtype(array.dtype)
        self.notes: list[str] = []

    def taken(self) -> Taken:
        if self.array.encoded:
            return Taken(self.array, self._labelled(self._encoded()))
        pixels = self._pixels()
        if self.wish.range and (pixels is None or pixels.judged):
            raise ConfigError(
                f"--range {self.array.key}: there is nothing to scale; {self._found()} "
                f"{'are pictures of 8 bits' if pixels else 'are no pictures'}."
            )
        return Taken(self.array, self._labelled(self._pictured(pixels) if pixels else self._numbers()), pixels)

    def _found(self) -> str:
        return f"rows of shape {self.array.shape}, {self.array.dtype},"

    def _labelled(self, feature: Feature) -> Feature:
        labels = self.wish.names
        if labels is None:
            return feature
        if feature.shape != (len(labels),):
            raise ConfigError(
                f"--names {feature.name}: {len(labels)} names for an array of shape {feature.shape}; "
                "names are for vectors, one per element."
            )
        # other names are another meaning than the source's
        layout = feature.layout if feature.layout is not None and feature.layout.names == tuple(labels) else None
        return replace(feature, names=labels, layout=layout)

    def _encoded(self) -> Feature:
        kind, wish = self.array.feature.kind, self.wish.kind
        if self.wish.range:
            raise ConfigError(f"--range {self.array.key}: there is nothing to scale; it is stored as pictures.")
        if wish not in (None, kind):
            raise ConfigError(f"--kind {self.picture}={wish}: {self.array.key} is stored as pictures, kind {kind}.")
        return replace(self.array.feature, name=self.picture)

    def _numbers(self) -> Feature:
        return replace(
            self.array.feature, name=self.number, kind=self.wish.kind or kind_of(self.number, self.array.feature.kind)
        )

    def _pictured(self, pixels: Pixels) -> Feature:
        shape = pixels.placed_shape
        feature = replace(self.array.feature, names=None, layout=None)
        if self.array.declared and feature.shape in (shape[:2], shape):  # depth with or without an axis of 1
            return replace(feature, name=self.picture)
        if pixels.dtype == "uint16":
            name = self.picture if self.given else self.picture.replace(".images.", ".depth.")
            return replace(feature, name=name, shape=shape[:2], dtype="uint16", kind="depth")
        return replace(feature, name=self.picture, shape=shape, dtype="uint8", kind="image")

    def _pixels(self) -> Pixels | None:
        """What is done to make pictures of the array; None where it is none."""
        array, wish = self.array, self.wish.kind
        if array.known and wish is None and not array.declared:
            return None
        said = called_picture(array.key)
        wanted = wish in ("image", "depth") or (wish is None and array.declared)
        layout = _layout(array.shape, named=said is True or wanted)
        if layout is None or self.dtype.kind not in "uif":
            if wanted:
                raise ConfigError(
                    f"--kind {self.number}={wish}: {array.key} has {self._found()} and a "
                    "picture is (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels."
                )
            self._say_numbers(maybe=False)
            return None
        if wish is not None and not wanted:
            return None
        first, channels = layout
        pixels = Pixels(array.key, array.shape, channels_first=first, alpha=channels == 4)
        if wish == "depth" or (wish is None and self._is_depth(channels)):
            return self._depth(pixels, channels)
        if wanted or self._is_picture(channels, said):
            return self._colour(pixels, must=wanted or said is True)
        self._say_numbers(maybe=True)
        return None

    def _is_depth(self, channels: int) -> bool:
        if self.array.declared:
            return self.array.feature.kind == "depth"
        return self.dtype == np.uint16 and channels == 1

    def _is_picture(self, channels: int, said: bool | None) -> bool:
        if said is not None:
            return said
        if self.dtype == np.uint8:
            return channels >= 3 or len(self.array.shape) == 3
        return channels == 3

    def _depth(self, pixels: Pixels, channels: int) -> Pixels:
        array = self.array
        if channels != 1 or self.dtype.kind not in "ui":
            raise ConfigError(
                f"--kind {self.number}=depth: depth is whole millimetres in one channel, and {array.key} has rows of "
                f"shape {array.shape}, {array.dtype}."
            )
        if not array.declared and self.wish.kind is None:
            self.notes.append(
                f"{array.key} ({array.dtype}, one channel) is taken for depth in millimetres, stored without loss; "
                f"--kind {array.key}=image makes 8-bit pictures of it"
            )
        return replace(pixels, dtype="uint16")

    def _colour(self, pixels: Pixels, must: bool) -> Pixels | None:
        """8-bit pictures, with their range found out; None where the values are those of no picture."""
        done: list[str] = []
        if pixels.channels_first:
            done.append(f"turned from {_size(pixels.shape)} (channels first) to {_size(pixels.placed_shape)}")
        if self.dtype != np.uint8:
            found = self._range(pixels, must)
            if found is None:
                return None
            pixels, how = found
            done += [how] if how else []
        if done:
            self.notes.append(f"{self.array.key}: pictures are {', '.join(done)}")
        if pixels.alpha:
            self.notes.append(f"{self.array.key}: the fourth channel (alpha) is left out{self._alpha(pixels)}")
        return pixels

    def _alpha(self, pixels: Pixels) -> str:
        """What there is to say about a fourth channel that is not the same everywhere."""
        fourth = [rows[:, 3] if pixels.channels_first else rows[..., 3] for rows in self.look(self.array) if len(rows)]
        ends = {float(end) for rows in fourth for end in (rows.min(), rows.max())}
        if len(ends) < 2:
            return ""
        return f" although its values differ ({min(ends):g} to {max(ends):g}); --kind {self.array.key}=state keeps all"

    def _range(self, pixels: Pixels, must: bool) -> tuple[Pixels, str] | None:
        """The pixels with a range, and what is said about it; None for numbers that are no picture."""
        key, given, dtype = self.array.key, self.wish.range, self.dtype
        if given is not None:
            return replace(pixels, range=given, judged=False), f"scaled from [{given[0]:g}, {given[1]:g}] ({dtype})"
        spans = [Span.of(pixels.place(rows)) for rows in self.look(self.array) if len(rows)]
        found, total = judge(dtype, spans) if spans else (0.0, 255.0), joined(spans)
        if found is None and not must:
            self.notes.append(
                f"{key}: rows of shape {self.array.shape} hold {total} ({dtype}), which is no range of pictures: they "
                f"stay numbers; --kind {key}=image --range {key}=LOW,HIGH makes pictures of them"
            )
            return None
        if found is None:
            known = ", ".join(f"[{low:g}, {high:g}]" for low, high in reversed(FLOAT_RANGES))
            message = (
                f"{key}: its pictures hold {total} ({dtype}), which is none of {known} or 8 to 16 bits; say which "
                f"values are black and white with --range {key}=LOW,HIGH, or keep the numbers with --kind {key}=state"
            )
            if self.strict:
                raise ConfigError(f"{message}.")
            self.notes.append(message)
            return pixels, ""
        pixels = replace(pixels, range=found)
        if found == (0.0, 255.0):
            return pixels, "" if total.whole else f"rounded to whole numbers ({dtype} in [0, 255])"
        if dtype.kind in "ui":
            bits = int(found[1]).bit_length()
            return pixels, f"reduced from {bits} to 8 bits ({dtype}, values {total})"
        return pixels, f"scaled from [{found[0]:g}, {found[1]:g}] ({dtype}) to 8 bits"

    def _say_numbers(self, maybe: bool) -> None:
        array = self.array
        if math.prod(array.shape) >= MANY:
            way = f"; --kind {array.key}=image makes pictures of them" if maybe else ""
            self.notes.append(f"{array.key}: {self._found()} stay numbers{way}")


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
