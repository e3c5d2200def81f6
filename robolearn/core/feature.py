"""`Feature`: the one way a dataset, an environment, a robot and a policy describe a piece of data.

Names follow LeRobot: `observation.state`, `observation.environment_state`, `observation.images.<camera>`
(uint8 HWC RGB), `observation.depth.<camera>` (uint16 mm), `action`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.errors import FeatureError, LayoutError, closest, one_line

_LARGEST = 2**62  # numbers of a sample, so that they can be counted
_LONGEST_DTYPE = 64

Kind = Literal["state", "image", "depth", "action", "event"]


@dataclass(frozen=True)
class Feature:
    """One named signal.

    Attributes:
        name: e.g. `observation.state`.
        shape: of one sample, without time: `(10,)`, `(96, 96, 3)`.
        dtype: numpy name, e.g. `float32`, `uint8`.
        kind: what it is; decides codec and normalisation.
        names: one label per element of a vector, e.g. `("x", "y", "z")`.
        unit: SI unit, or None for mixed or dimensionless vectors.
        frame: reference frame: `base`, `tcp`, `world`.
        rate_hz: nominal sample rate.
        layout: what the numbers of an action, or of a measured state of the arms, mean; its names are the feature's.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    kind: Kind = "state"
    names: tuple[str, ...] | None = None
    unit: str | None = None
    frame: str | None = None
    rate_hz: float | None = None
    layout: ActionLayout | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and self.names is None:
            object.__setattr__(self, "names", self.layout.names)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        try:
            if isinstance(self.dtype, str) and len(self.dtype) > _LONGEST_DTYPE:
                raise ValueError("numpy takes seconds to understand a long one")
            object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        except (TypeError, ValueError, SyntaxError) as error:
            raise FeatureError(
                f"Feature {self.name!r} has dtype {one_line(self.dtype, 60)!r}; expected a numpy dtype, such as "
                "'float32'."
            ) from error
        if self.kind not in get_args(Kind):
            raise FeatureError(f"Feature {self.name!r} has kind {self.kind!r}; expected one of {get_args(Kind)}.")
        if self.names is not None:
            object.__setattr__(self, "names", tuple(self.names))
            if self.shape != (len(self.names),):
                raise FeatureError(
                    f"Feature {self.name!r} has shape {self.shape} but {len(self.names)} element names; "
                    "names are for vectors, one per element."
                )
        if self.layout is not None and self.layout.names != self.names:
            raise FeatureError(
                f"Feature {self.name!r} has the elements {one_line(list(self.names or ()))}, but its layout "
                f"({one_line(self.layout.describe())}) has {one_line(list(self.layout.names))}."
            )
        if any(n < 1 for n in self.shape):
            raise FeatureError(f"Feature {self.name!r} has shape {self.shape}; every axis must be at least 1.")
        if math.prod(self.shape) > _LARGEST:
            raise FeatureError(f"Feature {self.name!r} has shape {self.shape}, of more numbers than can be.")

    def window(self, steps: int) -> Feature:
        """This feature `steps` times in a row, (steps, *shape): elements of such a thing have no names."""
        return replace(self, shape=(steps, *self.shape), names=None, layout=None)

    def check(self, value: Any, where: str = "data") -> np.ndarray:
        """Return `value` as an array of this feature's shape and dtype.

        Raises FeatureError naming the feature, what was found and what was expected: for a wrong shape, for a
        dtype that cannot be converted without loss of kind (float to int), and for NaN or infinity.
        """
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise FeatureError(f"{where}: feature {self.name!r} is ragged, expected shape {self.shape}.") from error
        if array.shape != self.shape:
            raise FeatureError(f"{where}: feature {self.name!r} has shape {array.shape}, expected {self.shape}.")
        array = self.cast(array, where)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.ravel()))
            label = self.names[bad[0]] if self.names else f"element {bad[0]}"
            raise FeatureError(
                f"{where}: feature {self.name!r} holds a non-finite value ({array.ravel()[bad[0]]}) at {label}; "
                "expected finite numbers."
            )
        return array

    def cast(self, array: np.ndarray, where: str = "data") -> np.ndarray:
        """`array`, of one sample or of many, in this feature's dtype.

        Raises FeatureError for a dtype that cannot be converted without loss of kind (float to int), and naming the
        first number that the dtype cannot hold.
        """
        if array.dtype == self.dtype:
            return array
        if not np.can_cast(array.dtype, self.dtype, casting="same_kind"):
            raise FeatureError(f"{where}: feature {self.name!r} has dtype {array.dtype}, expected {self.dtype}.")
        with np.errstate(over="ignore"):
            found = array.astype(self.dtype)
        if found.dtype.kind == "f":
            lost = np.isfinite(array) & ~np.isfinite(found)
        else:
            lost = found != array if array.dtype.kind in "iu" and found.dtype.kind in "iu" else np.False_
        if lost.any():
            at = tuple(np.argwhere(lost)[0].tolist())
            raise FeatureError(
                f"{where}: feature {self.name!r} holds {array.dtype} numbers that {self.dtype} cannot hold: "
                f"{array[at]} at {list(at)}."
            )
        return found

    def numbers(self, values: Any) -> np.ndarray:
        """`values` as an array of this dtype where they have it, else of the floating point type that holds it."""
        array = np.asarray(values)
        return array if array.dtype == self.dtype else array.astype(np.result_type(self.dtype, np.float32))

    def to_dict(self) -> dict[str, Any]:
        """A json-ready mapping without empty fields."""
        found = {k: v for k, v in asdict(replace(self, layout=None)).items() if v is not None}
        found = {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
        return found if self.layout is None else found | {"layout": self.layout.to_dict()}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Feature:
        """The inverse of `to_dict`. Raises FeatureError for fields that are unknown, missing or malformed."""
        if not isinstance(mapping, Mapping):
            raise FeatureError(f"{one_line(mapping)} does not describe a feature: expected a map.")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in mapping.items()}
        try:
            for name, (kind, words) in _WRITTEN_AS.items():
                if not isinstance(fields.get(name), kind | None):
                    raise TypeError(f"its {name} is {type(fields[name]).__name__}, expected {words}")
            if not all(isinstance(label, str) for label in fields.get("names") or ()):
                raise TypeError("its names are not all text")
            if fields.get("layout") is not None:
                fields["layout"] = ActionLayout.from_dict(fields["layout"])
            return cls(**fields)
        except LayoutError as error:
            raise LayoutError(f"The feature {one_line(fields.get('name'), 60)!r}: {error}") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise FeatureError(f"{one_line(dict(mapping))} does not describe a feature: {error}.") from error


Features = dict[str, Feature]

_WRITTEN_AS: dict[str, tuple[Any, str]] = {
    "name": (str, "text"), "dtype": (str, "text"), "kind": (str, "text"), "unit": (str, "text"), "frame": (str, "text"),
    "shape": (tuple, "a list of sizes"), "names": (tuple, "a list of labels"), "rate_hz": (int | float, "a number"),
}  # fmt: skip


def features(items: Iterable[Feature]) -> Features:
    """Index features by name; a repeated name is an error."""
    found: Features = {}
    for item in items:
        if item.name in found:
            raise FeatureError(f"Feature {item.name!r} is declared twice.")
        found[item.name] = item
    return found


def require(needed: Mapping[str, Feature], available: Mapping[str, Feature], needer: str, source: str) -> None:
    """Check that `available` has every needed feature with the same shape, dtype and element names.

    Raises FeatureError naming the feature, what was expected, what was found and the closest match.
    """
    for name, want in needed.items():
        have = available.get(name)
        if have is None:
            guess = closest(name, available)
            hint = f" The closest is {guess!r}." if guess else ""
            listed = ", ".join(sorted(available)) or "nothing"
            raise FeatureError(f"{needer} needs feature {name!r}, which {source} lacks.{hint} It has: {listed}.")
        if have.shape != want.shape:
            raise FeatureError(
                f"{needer} expects feature {name!r} of shape {want.shape}; {source} gives shape {have.shape}."
            )
        if have.dtype != want.dtype:
            raise FeatureError(
                f"{needer} expects feature {name!r} of dtype {want.dtype}; {source} gives dtype {have.dtype}."
            )
        if want.names and have.names and want.names != have.names:
            raise FeatureError(
                f"{needer} expects the elements of {name!r} to be {list(want.names)}; "
                f"{source} gives {list(have.names)}."
            )
