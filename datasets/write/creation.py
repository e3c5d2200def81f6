"""Making an empty dataset: what can be stored, and the folder with nothing in it yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, Features
from robolearn.core.lock import holder_of
from robolearn.core.output import check_output, new_folders
from robolearn.core.provenance import package_versions, wall_time
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec, JpegCodec, PngCodec
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.write.commit import write_copies
from robolearn.datasets.write.durable import WriterLock, explain_os_errors, sync_file_system, write_file
from robolearn.datasets.write.journal import find_journals
from robolearn.datasets.write.output import is_taken

# a long double is another number on every machine, and no other format holds one
LARGEST_NUMBER_BYTES = 8
LABELS = "observation.segmentation."
"""Of features whose pixels are numbers of things: stored without loss, in which one thing would become another."""
Subsampling = Literal["444", "422", "420"]


def codecs_for(features: Features, image_codec: str, jpeg_quality: int, jpeg_subsampling: str) -> dict[str, ImageCodec]:
    """How images and depth are encoded where nobody says otherwise. Raises DatasetError for settings that are none."""
    if image_codec not in ("jpeg", "png"):
        raise DatasetError(f"Images are stored as 'jpeg' or 'png', found {image_codec!r}.")
    if not 1 <= jpeg_quality <= 100:
        raise DatasetError(f"JPEG quality is 1 to 100, found {jpeg_quality}.")
    if jpeg_subsampling not in get_args(Subsampling):
        raise DatasetError(f"JPEG subsampling is one of {get_args(Subsampling)}, found {jpeg_subsampling!r}.")
    image = JpegCodec(jpeg_quality, jpeg_subsampling) if image_codec == "jpeg" else PngCodec()
    return {
        name: PngCodec() if feature.kind == "depth" or name.startswith(LABELS) else image
        for name, feature in features.items()
    }


def make_dataset(
    path: Path,
    features: Features,
    fps: float,
    recorded: str,
    codecs: Mapping[str, ImageCodec],
    metadata: Mapping[str, Any],
) -> tuple[Metadata, WriterLock]:
    """Make an empty dataset; see `DatasetWriter.create`.

    Args:
        codecs: for every image and depth feature; others are not looked at.

    Raises DatasetError when the path is taken, FeatureError for a feature that cannot be stored. Nothing is left then.
    """
    if is_taken(path):
        raise DatasetError(f"{path} exists already; choose another --output, or add to it with --resume.")
    if not (np.isfinite(fps) and fps > 0):
        raise DatasetError(f"A dataset needs a positive rate, found fps={fps}.")
    if recorded not in ("steps", "streams"):
        raise DatasetError(f"A dataset is recorded as 'steps' or 'streams', found {recorded!r}.")
    if not features:
        raise FeatureError("A dataset needs at least one feature, found none.")
    for name, feature in features.items():
        _check_feature(name, feature, recorded)
    if recorded == "streams" and all(map(layout.is_event, features.values())):
        raise FeatureError("A dataset of streams needs at least one feature with a rate, found events only.")
    attributes = {
        "robolearn_format": layout.FORMAT_VERSION,
        "recorded": recorded,
        "fps": float(fps),
        "features": [feature.to_dict() for feature in features.values()],
        "metadata": dict(metadata),
        "created_at": wall_time(),
        "versions": package_versions(),
        "records_crc32": 0,
        "ends_crc32": 0,
    }
    compressors = {name: codecs[name].get_config() for name, f in features.items() if layout.is_encoded(f)}
    started = Metadata(attributes, layout.arrays_for(features, recorded, compressors))
    started.to_bytes()  # TypeError now rather than half a dataset
    check_output(path, "folder")
    making = explain_os_errors(f"Making {path}", "Choose a folder that can be written.")
    with making, new_folders(path / layout.PENDING):
        lock = WriterLock(path / layout.LOCK, path)
        try:
            (path / layout.STAGING).mkdir()  # fails when another process made the dataset meanwhile
            _make(path, started)
        except BaseException:
            lock.release()
            raise
    return started, lock


@contextmanager
def gone_when_empty(path: Path) -> Iterator[None]:
    """Around work that may make a dataset and then fail: one that was made here and holds neither an episode nor the
    beginning of one goes again, with the folders above it that were made for it."""
    was_there = path.exists()
    was_empty = was_there and path.is_dir() and not any(path.iterdir())
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        yield
    finally:
        if (was_empty or not was_there) and _holds_nothing(path):
            lock = WriterLock(path / layout.LOCK, path)  # nobody has begun to add to it
            shutil.rmtree(path, ignore_errors=True)
            lock.release()
            if was_empty:
                path.mkdir()
            for folder in made:
                with suppress(OSError):  # it holds something
                    folder.rmdir()


def _holds_nothing(path: Path) -> bool:
    if not (path / layout.METADATA).is_file() or find_journals(path / layout.PENDING):
        return False
    try:
        return Metadata.read(path).num_episodes == 0 and holder_of(path / layout.LOCK) is None
    except DatasetError:
        return False


def _make(path: Path, started: Metadata) -> None:
    """Write an empty dataset into a folder that holds `pending/` only; whatever stops it, no half of one is left."""
    try:
        for key in started.arrays:
            (path / key).mkdir(parents=True)
        write_copies(path, started)
        write_file(path / layout.METADATA, started.to_bytes())
        sync_file_system(path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _check_feature(name: str, feature: Feature, recorded: str) -> None:
    """Raises FeatureError for a name, a kind of image or a rate that cannot be stored."""
    if not name or "/" in name or name.startswith(".") or name == "timestamp":
        raise FeatureError(f"A feature cannot be stored under the name {name!r}; use letters, digits, dots and _.")
    if recorded == "streams" and not layout.is_event(feature) and not (feature.rate_hz and feature.rate_hz > 0):
        raise FeatureError(
            f"Feature {name!r} has rate_hz {feature.rate_hz}; a stream needs its rate, or kind 'event' to have none."
        )
    if feature.kind == "image":
        if feature.dtype != "uint8" or len(feature.shape) != 3 or feature.shape[2] not in (1, 3):
            raise FeatureError(
                f"Image feature {name!r} is {feature.dtype} {feature.shape}; expected uint8 (height, width, 3)."
            )
    elif feature.kind == "depth":
        if feature.dtype != "uint16" or len(feature.shape) not in (2, 3) or feature.shape[2:] not in ((), (1,)):
            raise FeatureError(
                f"Depth feature {name!r} is {feature.dtype} {feature.shape}; expected uint16 (height, width)."
            )
    elif np.dtype(feature.dtype).kind not in "biuf" or np.dtype(feature.dtype).itemsize > LARGEST_NUMBER_BYTES:
        raise FeatureError(
            f"Feature {name!r} has dtype {feature.dtype}; expected numbers or booleans, of at most 64 bits."
        )
