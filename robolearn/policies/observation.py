"""`ObservationEncoder`: raw observations of a batch to one normalised vector a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.core.feature import Feature, Features
from robolearn.core.normalizer import Normalizer

if TYPE_CHECKING:
    from robolearn.policies.networks.vision import VisionConfig


class ObservationEncoder(nn.Module):
    """Vectors are scaled by the normaliser and concatenated; behind them come the features of each image.

    Every camera has an encoder of its own, which observations and goals share.

    Args:
        features: all that may be encoded, of kind "state" or "image".
        vision: of the image encoders; None = this policy reads no images.

    Raises ConfigError for features of other kinds or of nearly the same name, CheckpointError when the normaliser lacks
    one.
    """

    def __init__(self, features: Features, normalizer: Normalizer, vision: VisionConfig | None):
        super().__init__()
        self._features = features
        self.cameras = nn.ModuleDict()
        self._vision_dim = 0 if vision is None else vision.feature_dim
        _require_distinct(features)
        for name, feature in features.items():
            if feature.kind == "image":
                from robolearn.policies.networks.vision import ImageEncoder

                if vision is None:
                    raise ConfigError(f"This policy reads vectors only; leave {name!r} out of --policy.observations.")
                self.cameras[_key(name)] = ImageEncoder(vision, feature.shape)
            elif feature.kind == "state":
                for part, vector in affine(normalizer, feature).items():
                    self.register_buffer(f"{_key(name)}_{part}", vector, persistent=False)
            else:
                raise ConfigError(
                    f"Policies read vectors and RGB images; {name!r} is of kind {feature.kind!r}. "
                    "Leave it out of --policy.observations."
                )

    def dim(self, names: Iterable[str]) -> int:
        """Length of the vector that `names` are encoded into."""
        return sum(self._dim(name) for name in names)

    def _dim(self, name: str) -> int:
        if _key(name) in self.cameras:
            return self._vision_dim
        return int(np.prod(self._features[name].shape))

    def forward(self, values: Mapping[str, Tensor], names: Iterable[str], prefix: str = "") -> Tensor:
        """`prefix + name` -> (B, T, *shape) of each of `names` becomes (B, T, dim(names)); vectors come first."""
        vectors, images = [], []
        for name in names:
            key, value = _key(name), values[prefix + name]
            if key in self.cameras:
                images.append(self.cameras[key](value))
            else:
                scale, offset = getattr(self, f"{key}_scale"), getattr(self, f"{key}_offset")
                vectors.append(flat_steps(value) * scale + offset)
        parts = vectors + [image.to(vectors[0].dtype) if vectors else image for image in images]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def affine(normalizer: Normalizer, feature: Feature) -> dict[str, Tensor]:
    """Scale and offset of a feature as flat float32 vectors. Raises CheckpointError when they do not fit."""
    if feature.name not in normalizer.scale:
        raise CheckpointError(
            f"The normalizer knows {', '.join(sorted(normalizer.scale)) or 'nothing'}, expected {feature.name!r} too; "
            "it belongs to another policy: copy the whole checkpoint directory."
        )
    found = {"scale": normalizer.scale[feature.name], "offset": normalizer.offset[feature.name]}
    for part, array in found.items():
        if array.shape != feature.shape:
            raise CheckpointError(
                f"The normalizer's {part} of {feature.name!r} has shape {array.shape}, expected {feature.shape}; "
                "it belongs to another policy: copy the whole checkpoint directory."
            )
    return {part: torch.from_numpy(np.ravel(array).astype(np.float32)) for part, array in found.items()}


def flat_steps(value: Tensor) -> Tensor:
    """(B, T, *shape) -> (B, T, prod(shape)); one number a step is a vector of one."""
    return value.flatten(2) if value.ndim > 2 else value[..., None]


def _key(name: str) -> str:
    """A feature's name as torch takes it for modules and buffers."""
    return name.replace(".", "_")


def _require_distinct(names: Iterable[str]) -> None:
    """Raise ConfigError for two names with the same key."""
    taken: dict[str, str] = {}
    for name in names:
        if taken.setdefault(_key(name), name) != name:
            raise ConfigError(
                f"Features {taken[_key(name)]!r} and {name!r} differ in dots and underscores alone; rename one of them."
            )
