"""Filter keys: what robomimic calls the masks that divide demonstrations for training and validation."""

from __future__ import annotations

from collections.abc import Collection

FILTER_KEYS = {"training": "train", "val": "valid", "validation": "valid"}


def filter_key(mask: str, masks: Collection[str]) -> str:
    """robomimic's word for a mask, unless another mask has it already."""
    key = FILTER_KEYS.get(mask, mask)
    rivals = [name for name in masks if key in (name, FILTER_KEYS.get(name))]
    return key if len(rivals) == 1 else mask
