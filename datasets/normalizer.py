"""`Normalizer`: per-element min-max scaling of every feature to [-1, 1], saved with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from robolearn.core.errors import CheckpointError, DatasetError, FeatureError, unknown_name
from robolearn.core.feature import Feature, Features

CONSTANT_RANGE = 1e-4
ROTATION_PREFIX = "rot6d_"


class Normalizer:
    """`y = x * scale + offset` for each feature.

    Elements get their own scale, so that the data fitted on spans [-1, 1]. An element whose range is below 1e-4 maps to
    0 with scale 1: a sensor that never moved must not turn noise into signal. Elements named `rot6d_*` are left as they
    are. Images map from [0, 255] to [-1, 1] whatever was seen.

    Attributes:
        scale, offset: feature name -> float32 array of the feature's shape (`(1,)` for images).
    """

    def __init__(self, scale: Mapping[str, np.ndarray], offset: Mapping[str, np.ndarray]):
        self.scale = {name: np.asarray(value, np.float32) for name, value in scale.items()}
        self.offset = {name: np.asarray(value, np.float32) for name, value in offset.items()}

    @classmethod
    def fit(cls, arrays: Mapping[str, np.ndarray], features: Features) -> Normalizer:
        """Fit to `arrays`, name -> `(N, *shape)`; image features need no array.

        Raises FeatureError for an array without feature, DatasetError for an array without rows or with
        non-finite values.
        """
        scale, offset = {}, {}
        for name, feature in features.items():
            if feature.kind == "image":
                scale[name], offset[name] = np.array([1 / 127.5]), np.array([-1.0])
        for name, array in arrays.items():
            if name not in features:
                raise FeatureError(unknown_name("feature", name, features))
            if name not in scale:
                scale[name], offset[name] = _fit_feature(features[name], np.asarray(array))
        return cls(scale, offset)

    def normalize(self, name: str, x: np.ndarray) -> np.ndarray:
        """`(..., *shape)` in the feature's units -> float32, [-1, 1] over the data fitted on."""
        self._require(name)
        return np.asarray(x, np.float32) * self.scale[name] + self.offset[name]

    def denormalize(self, name: str, y: np.ndarray) -> np.ndarray:
        """The inverse of `normalize`, float32."""
        self._require(name)
        return (np.asarray(y, np.float32) - self.offset[name]) / self.scale[name]

    def _require(self, name: str) -> None:
        if name not in self.scale:
            raise FeatureError("The normalizer: " + unknown_name("feature", name, self.scale))

    def save(self, path: Path) -> None:
        """Write a safetensors file with `<feature>.scale` and `<feature>.offset`."""
        from safetensors.numpy import save_file

        tensors = {f"{name}.scale": value for name, value in self.scale.items()}
        tensors |= {f"{name}.offset": value for name, value in self.offset.items()}
        save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, str(path))

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
        return cls({n: tensors[f"{n}.scale"] for n in names}, {n: tensors[f"{n}.offset"] for n in names})


def _fit_feature(feature: Feature, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if array.shape[1:] != feature.shape or not len(array):
        raise DatasetError(
            f"Feature {feature.name!r}: found an array of shape {array.shape}, "
            f"expected rows of shape {feature.shape}, at least one."
        )
    low, high = array.min(axis=0).astype(np.float64), array.max(axis=0).astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DatasetError(f"Feature {feature.name!r} holds non-finite values; expected finite numbers.")
    constant = high - low < CONSTANT_RANGE
    scale = np.where(constant, 1.0, 2.0 / np.where(constant, 1.0, high - low))
    offset = np.where(constant, -low, -1.0 - low * scale)
    if feature.names:
        rotation = np.array([name.startswith(ROTATION_PREFIX) for name in feature.names])
        scale, offset = np.where(rotation, 1.0, scale), np.where(rotation, 0.0, offset)
    return scale, offset
