"""The leaves of `features.json`: what a step of an RLDS episode consists of, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from robolearn.core.feature import Feature, Kind
from robolearn.datasets.convert.array_features import SourceArray

# elements of arrays of DROID's names, where there are as many
ELEMENTS = {
    **dict.fromkeys(("cartesian_position", "cartesian_velocity"), ("x", "y", "z", "roll", "pitch", "yaw")),
    **dict.fromkeys(("joint_position", "joint_velocity"), tuple(f"joint_{k}" for k in range(1, 8))),
}
ACTIONS = "action_dict"  # DROID: the same command in other coordinates
OWN = ("action", "reward", "discount", "is_terminal")  # leaves that RLDS itself defines


@dataclass(frozen=True)
class Leaf:
    """One leaf of `features.json`.

    Attributes:
        key: such as `observation/state`, without `steps/` or `episode_metadata/`.
        kind: `tensor`, `image` or `text`.
        shape: of one value; None for an axis of unknown length.
        encoding: of tensors: `none` (a list of numbers), or `bytes`.
    """

    key: str
    kind: str
    shape: tuple[int | None, ...]
    dtype: str
    encoding: str = "none"

    @property
    def source_array(self) -> SourceArray:
        """As it is declared to `decide`. Raises FeatureError for a shape that is not known."""
        shape: tuple[int, ...] = self.shape  # type: ignore[assignment]
        parts = self.key.split("/")
        name = ".".join(parts)
        if self.kind == "image":
            depth = self.dtype == "uint16"
            name = f"observation.{'depth' if depth else 'images'}.{'.'.join(parts[parts[0] == 'observation' :])}"
            feature = Feature(name, shape, self.dtype, "depth" if depth else "image")
            return SourceArray(self.key, shape, self.dtype, feature, fixed=True, encoded=True)
        commanded = parts[0] == ACTIONS and len(parts) > 1
        if commanded:
            name = ".".join(["action", *parts[1:]])
        labels = ELEMENTS.get(parts[-1], ()) if parts[0] in (ACTIONS, "observation") else ()
        kind: Kind = "action" if parts[0] in ("action", ACTIONS) else "state"
        feature = Feature(name, shape or (1,), self.dtype, kind, labels if shape == (len(labels),) else None)
        return SourceArray(self.key, shape, self.dtype, feature, fixed=commanded or self.key in OWN)


def leaves(node: Any, prefix: str, notes: list[str]) -> Iterator[Leaf]:
    """All leaves below a node, keys with slashes; `notes` gets a line for each that is not carried over."""
    if "featuresDict" in node:
        for name, child in node["featuresDict"]["features"].items():
            yield from leaves(child, f"{prefix}/{name}" if prefix else name, notes)
    elif "image" in node:
        image = node["image"]
        yield Leaf(prefix, "image", _dimensions(image), image.get("dtype") or "uint8")
    elif "text" in node or node.get("tensor", {}).get("dtype") == "string":
        yield Leaf(prefix, "text", (), "string")
    elif "tensor" in node:
        tensor = node["tensor"]
        leaf = Leaf(prefix, "tensor", _dimensions(tensor), tensor["dtype"], tensor.get("encoding") or "none")
        if None in leaf.shape or leaf.encoding not in ("none", "bytes"):
            notes.append(f"{prefix} is not carried over: a tensor of shape {leaf.shape}, encoding {leaf.encoding}")
        else:
            yield leaf
    elif "classLabel" in node:
        yield Leaf(prefix, "tensor", (), "int64")
    else:
        notes.append(f"{prefix} is not carried over: {str(node.get('pythonClassName')).rpartition('.')[2]}")


def _dimensions(node: Mapping[str, Any]) -> tuple[int | None, ...]:
    found = [int(n) for n in node.get("shape", {}).get("dimensions", ())]
    return tuple(n if n > 0 else None for n in found)
