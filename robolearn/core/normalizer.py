"""`Normalizer`: per-element min-max scaling of every feature to [-1, 1], saved with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from robolearn.core.errors import CheckpointError, DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature, Features

RESOLVED, RESOLVED_HALF = 32, 4
"""An element that moves by no more than so many steps of its dtype (of float16), at its magnitude, is constant."""
NOISE = 1e-14
"""What moves less is constant, too: left over from computing in float64 with numbers that cancel."""
REACH = 256.0
"""An element that is farther from 0 than so many times its half range is shifted there."""
FLICKER = 1e-4
LARGEST = 1e37
ROTATION_PREFIX = "rot6d_"


class Normalizer:
    """`y = (x - shift) * scale + offset` for each feature.

    Elements get their own scale, so that the data fitted on spans [-1, 1], whatever their unit. An element that does
    not move, as far as its dtype tells, maps to 0: a sensor that stood still must not turn noise into signal. 6-d
    rotations, by the feature's layout or as elements named `rot6d_*`, are left as they are. Images map from [0, 255] to
    [-1, 1] whatever was seen.

    Far from 0, float32 holds little of what moves: 4.5e6 + 0.3 becomes 4.5e6 + 0.5. Such elements have a shift, which
    is subtracted in double precision before anything becomes float32.

    Attributes:
        scale, offset: feature name -> float32 array of the feature's shape (`(1,)` for images).
        shift: feature name -> float64 array of the feature's shape; only features that need one.
        still: feature name -> float64 array of the feature's shape: the number, without the shift, at which an element
            stood still, NaN where it moved; only features with such elements.
    """

    def __init__(
        self,
        scale: Mapping[str, np.ndarray],
        offset: Mapping[str, np.ndarray],
        shift: Mapping[str, np.ndarray] | None = None,
        still: Mapping[str, np.ndarray] | None = None,
    ):
        self.scale = {name: np.asarray(value, np.float32) for name, value in scale.items()}
        self.offset = {name: np.asarray(value, np.float32) for name, value in offset.items()}
        shifts = {name: np.asarray(value, np.float64) for name, value in (shift or {}).items()}
        self.shift = {name: value for name, value in shifts.items() if value.any()}
        stills = {name: np.asarray(value, np.float64) for name, value in (still or {}).items()}
        self.still = {name: value for name, value in stills.items() if not np.isnan(value).all()}

    @classmethod
    def fit(cls, arrays: Mapping[str, np.ndarray], features: Features) -> Normalizer:
        """Fit to `arrays`, name -> `(N, *shape)` in the dtype they are stored in; image features need no array.

        Raises FeatureError for an array without feature, DatasetError for an array without rows, with
        non-finite values or with values above 1e37.
        """
        scale, offset, shift, still = {}, {}, {}, {}
        for name, feature in features.items():
            if feature.kind == "image":
                scale[name], offset[name] = np.array([1 / 127.5]), np.array([-1.0])
        for name, array in arrays.items():
            if name not in features:
                raise FeatureError(unknown_name("feature", name, features))
            if name not in scale:
                fitted = _fit_feature(features[name], np.asarray(array))
                scale[name], offset[name], shift[name], still[name] = fitted
        return cls(scale, offset, shift, still)

    def shifted(self, name: str, x: np.ndarray) -> np.ndarray:
        """`(..., *shape)` in the feature's units -> the same without its shift, float32; infinite beyond that."""
        return shifted(x, self.shift.get(name))

    def unshifted(self, feature: Feature, x: np.ndarray) -> np.ndarray:
        """The inverse of `shifted`, in the dtype of the feature; integers are rounded, float16 becomes float32.

        Elements that stood still are what they were, whatever finite number `x` has there: it can only add noise.
        """
        dtype = np.dtype(feature.dtype)
        if feature.name in self.still:
            still = self.still[feature.name]
            x = np.where(np.isnan(still) | ~np.isfinite(x), x, still)
        if dtype.kind == "f" and feature.name not in self.shift:
            return np.asarray(x, np.result_type(dtype, np.float32))
        exact = np.asarray(x, np.longdouble if dtype.itemsize == 8 else np.float64) + self.shift.get(feature.name, 0.0)
        if dtype.kind == "f":
            return exact.astype(np.result_type(dtype, np.float32))
        if dtype.kind == "b":
            return exact > 0.5
        info = np.iinfo(dtype)
        low, high = exact.dtype.type(info.min), exact.dtype.type(info.max)
        # where the largest integer is no floating point number it must not be rounded up
        whole = np.clip(np.rint(exact), low, high if int(high) <= info.max else np.nextafter(high, low))
        return whole.astype(dtype)

    def normalize(self, name: str, x: np.ndarray) -> np.ndarray:
        """`(..., *shape)` in the feature's units -> float32, [-1, 1] over the data fitted on."""
        self._require(name)
        return self.shifted(name, x) * self.scale[name] + self.offset[name]

    def denormalize(self, name: str, y: np.ndarray) -> np.ndarray:
        """The inverse of `normalize`: float32, or float64 where there is a shift."""
        self._require(name)
        x = (np.asarray(y, np.float32) - self.offset[name]) / self.scale[name]
        return x.astype(np.float64) + self.shift[name] if name in self.shift else x

    def _require(self, name: str) -> None:
        if name not in self.scale:
            raise FeatureError("The normalizer: " + unknown_name("feature", name, self.scale))

    def save(self, path: Path) -> None:
        """Write a safetensors file with `<feature>.scale` and `.offset`; `.shift` and `.still` where they are."""
        from safetensors.numpy import save_file

        tensors: dict[str, np.ndarray] = {f"{name}.scale": value for name, value in self.scale.items()}
        tensors |= {f"{name}.offset": value for name, value in self.offset.items()}
        tensors |= {f"{name}.shift": value for name, value in self.shift.items()}
        tensors |= {f"{name}.still": value for name, value in self.still.items()}
        save_file({key: np.array(value, order="C") for key, value in tensors.items()}, str(path))

    @classmethod
    def load(cls, path: Path) -> Normalizer:
        """Raises CheckpointError when the file is missing, damaged or incomplete."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not Path(path).is_file():
            raise CheckpointError(f"{path} is missing: a checkpoint needs its normalizer; copy the whole directory.")
        try:
            tensors = load_file(str(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} is not a readable safetensors file ({error}); copy it again.") from error
        names = {key.rpartition(".")[0] for key in tensors}
        for key in (f"{name}.{part}" for name in sorted(names) for part in ("scale", "offset")):
            if key not in tensors:
                raise CheckpointError(f"{path} lacks {key!r}, expected a scale and an offset for each feature.")
        scale, offset, shift, still = (
            {name: tensors[f"{name}.{part}"] for name in names if f"{name}.{part}" in tensors}
            for part in ("scale", "offset", "shift", "still")
        )
        return cls(scale, offset, shift, still)


def shifted(x: np.ndarray, shift: np.ndarray | None) -> np.ndarray:
    """`x - shift`, subtracted before it becomes float32; without a shift, `x` as float32."""
    array = np.asarray(x)
    with np.errstate(over="ignore", invalid="ignore"):
        if shift is None:
            return array.astype(np.float32, copy=False)
        return (_exact(array) - shift).astype(np.float32)


def _exact(array: np.ndarray) -> np.ndarray:
    """In a floating point type that holds every number of the array's; of 64-bit integers where the machine has one."""
    return array.astype(np.longdouble if array.dtype.kind in "iu" and array.dtype.itemsize == 8 else np.float64)


def span_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`high - low` of numbers of any dtype."""
    return _exact(np.asarray(high)) - _exact(np.asarray(low))


def constant_elements(low: np.ndarray, high: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Which elements do not move, given their least and largest values in `dtype`: judged by what that resolves."""
    span = span_of(low, high)
    if dtype.kind != "f":
        return span == 0
    step = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(dtype)).astype(np.float64)
    return span <= np.maximum((RESOLVED_HALF if dtype.itemsize == 2 else RESOLVED) * step, NOISE)


def _fit_feature(feature: Feature, array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scale, offset, shift and where it stood still."""
    if array.shape[1:] != feature.shape or not len(array):
        raise DatasetError(
            f"Feature {feature.name!r}: found an array of shape {array.shape}, "
            f"expected rows of shape {feature.shape}, at least one."
        )
    least, largest = np.asarray(array.min(axis=0)), np.asarray(array.max(axis=0))
    low, high = _exact(least), _exact(largest)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DatasetError(f"Feature {feature.name!r} holds non-finite values; expected finite numbers.")
    reach = np.maximum(np.abs(low), np.abs(high))
    if (reach > LARGEST).any():
        raise DatasetError(
            f"Feature {feature.name!r} holds {float(reach.max()):g}; training computes in float32, expected numbers "
            f"of at most {LARGEST:g}: leave it out, or bring it to another unit."
        )
    constant = constant_elements(least, largest, array.dtype)
    rotation = np.array(_rot6d_elements(feature) or False)
    span = high - low
    # a constant element may still flicker in its last bits; that must stay next to nothing
    scale = np.where(
        constant, np.minimum(1.0, FLICKER / np.maximum(span, FLICKER)), 2.0 / np.where(constant, 1.0, span)
    )
    far = (reach * scale > REACH) & ~rotation
    shift = np.where(far, np.where(constant, low, low + span / 2), 0.0).astype(np.float64)
    offset = np.where(constant, -(low - shift) * scale, -1.0 - (low - shift) * scale)
    still = np.where(constant, low - shift, np.nan)
    return np.where(rotation, 1.0, scale), np.where(rotation, 0.0, offset), shift, still


def _rot6d_elements(feature: Feature) -> list[bool]:
    """Whether each element is one of a 6-d rotation; empty where that is not said."""
    if feature.layout is None:
        return [name.startswith(ROTATION_PREFIX) for name in feature.names or ()]
    return [
        part.kind == "pose" and part.rotation == "rot6d" and name.startswith(ROTATION_PREFIX)
        for part in feature.layout.parts
        for name in part.names
    ]
