"""A dataset with images of another size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robolearn.core.errors import ConfigError, FeatureError, unknown_name
from robolearn.core.feature import Feature, Features
from robolearn.core.process import usable_cores
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, make_dataset

LARGEST = 16384  # pixels along a side


def resize(
    parent: Dataset,
    output: Path,
    height: int,
    width: int,
    *,
    names: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Made:
    """Make `output` of `parent` with images of `height` x `width`, in the grid and in the streams.

    Colour shrinks by area (no aliasing) and grows bilinearly; depth takes the nearest pixel, because a mean of two
    distances is the distance of nothing. Intrinsics in the metadata are scaled along. A size of other proportions
    distorts what is seen, and a note says so.

    Args:
        parent: the dataset to make it of.
        output: dataset to make; must not exist.
        height: of the new images in pixels.
        width: of the new images in pixels.
        names: image and depth features to resize; all of them by default.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError for a size that is none, FeatureError for a name that is no image.
    """
    if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
        raise ConfigError(f"An image has 1 to {LARGEST} pixels along a side, found {height}x{width}.")
    images = {
        name: feature for name, feature in {**parent.streams, **parent.features}.items() if layout.is_encoded(feature)
    }
    for name in names:
        if name not in images:
            raise FeatureError(f"{parent.name}: {unknown_name('image feature', name, images)}")
    chosen = {name: images[name] for name in names} if names else images
    if not chosen:
        raise FeatureError(f"{parent.name} has no images; its features are {', '.join(parent.features)}.")
    options = {"height": height, "width": width, "features": list(chosen)}
    plan = Plan.like(parent, parent.intact_episodes.tolist(), "resize", options)

    def resized_features(features: Features) -> Features:
        return {n: replace(f, shape=(height, width, *f.shape[2:])) if n in chosen else f for n, f in features.items()}

    with ThreadPoolExecutor(usable_cores()) as pool:

        def change(dataset: Dataset, episode: EpisodeData) -> EpisodeData:
            return _resized(episode, {n: (f, dataset.codec(n)) for n, f in chosen.items()}, height, width, pool)

        plan = replace(
            plan,
            features=resized_features(plan.features),
            streams=resized_features(plan.streams),
            metadata=scaled_intrinsics(plan.metadata, chosen, height, width),
            change=change,
            notes=(*plan.notes, *distortion_notes(chosen, height, width)),
        )
        return make_dataset(output, plan, progress)


def distortion_notes(chosen: Features, height: int, width: int) -> list[str]:
    """A line for each image whose sides change in different proportion, with the size that would not change it."""
    notes = []
    for name, feature in chosen.items():
        old_height, old_width = feature.shape[:2]
        kept_height, kept_width = round(width * old_height / old_width), round(height * old_width / old_height)
        if height == kept_height or width == kept_width:  # as near as whole pixels come
            continue
        old, new = old_width / old_height, width / height
        how = "stretched" if new > old else "squeezed"
        notes.append(
            f"{name} is {how} in width: {old_height}x{old_width} is {old:.3g} times "
            f"as wide as high, {height}x{width} {new:.3g} times; --image-size {height}x{max(1, kept_width)} or "
            f"{max(1, kept_height)}x{width} keeps the shape of things"
        )
    return notes


def _resized(
    episode: EpisodeData,
    chosen: dict[str, tuple[Feature, ImageCodec]],
    height: int,
    width: int,
    pool: ThreadPoolExecutor,
) -> EpisodeData:
    frames, streams = dict(episode.frames), dict(episode.streams)
    for name, (feature, codec) in chosen.items():
        one = _resizer(feature, codec, height, width)
        if name in streams:
            streams[name] = replace(streams[name], frames=list(pool.map(one, streams[name].frames or [])))
        elif name in frames:
            frames[name] = list(pool.map(one, frames[name]))
    return replace(episode, frames=frames, streams=streams)


def _resizer(feature: Feature, codec: ImageCodec, height: int, width: int) -> Callable[[bytes], bytes]:
    shrinks = height * width < feature.shape[0] * feature.shape[1]
    method = cv2.INTER_NEAREST if feature.kind == "depth" else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR

    def one(data: bytes) -> bytes:
        if feature.shape[:2] == (height, width):
            return data
        image = codec.decode(data).reshape(feature.shape)
        resized = cv2.resize(image, (width, height), interpolation=method)
        return codec.encode(resized.reshape(height, width, *image.shape[2:]))

    return one


def scaled_intrinsics(metadata: Json, chosen: Features, height: int, width: int) -> Json:
    """The metadata with the cameras of the `chosen` features scaled to the new size.

    Looks at `metadata["cameras"][<camera>]`, a mapping with any of `width`, `height`, `fx`, `fy`, `cx`, `cy` and a 3x3
    `intrinsics` or `K`, or a mapping `intrinsics` with these. Pixel centres are at whole numbers, so that the image
    spans -0.5 to W - 0.5: c' = (c + 0.5) s - 0.5, f' = f s.
    """
    cameras = metadata.get("cameras")
    if not isinstance(cameras, dict):
        return metadata
    scaled = dict(cameras)
    for name, feature in chosen.items():
        camera = name.rpartition(".")[2]
        if isinstance(cameras.get(camera), dict):
            sx, sy = width / feature.shape[1], height / feature.shape[0]
            scaled[camera] = _scaled_camera(cameras[camera], sx, sy, {"width": width, "height": height})
    return {**metadata, "cameras": scaled}


def _scaled_camera(camera: Json, sx: float, sy: float, size: Json) -> Json:
    rules: dict[str, Callable[[Any], Any]] = {
        "width": lambda _: size["width"],
        "height": lambda _: size["height"],
        "fx": lambda f: f * sx,
        "fy": lambda f: f * sy,
        "cx": lambda c: (c + 0.5) * sx - 0.5,
        "cy": lambda c: (c + 0.5) * sy - 0.5,
        "intrinsics": lambda k: _scaled_camera(k, sx, sy, size) if isinstance(k, dict) else _scaled_matrix(k, sx, sy),
        "K": lambda k: _scaled_matrix(k, sx, sy),
    }
    return {key: rules[key](value) if key in rules else value for key, value in camera.items()}


def _scaled_matrix(matrix: Any, sx: float, sy: float) -> Any:
    k = np.asarray(matrix, np.float64)
    if k.shape != (3, 3):
        return matrix
    pixels = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
    return (pixels @ k).tolist()
