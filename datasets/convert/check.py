"""The check that every import passes through: what is going to be stored, against what the source holds.

The source is read once more by a `Witness`, which finds its way by itself. Compared are the number of steps, all times,
all rows of low-dimensional features and of simulator states, and of every camera the first frame, the last and a few
others. What is compared is what the writer will store: columns in the feature's type, frames as they are encoded.

    column          every value, exactly: one that the feature's type cannot hold is a difference
    encoded frame   the bytes, where the dataset keeps those of the source
    PNG             the pixels, exactly
    JPEG            the bytes are those that the dataset's codec makes of the source's picture, so that the frame of the
                    step before is a difference even where little moves; and the luminance is as near to the source's
                    as the quantisation tables in the bytes promise (`luma_bound`)

A picture of another type than the feature's (16 bits, floats) has to fit into it: see `fitted`.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature, Features
from robolearn.datasets.convert.protocol import EpisodeSource
from robolearn.datasets.convert.quantisation import luma_bound
from robolearn.datasets.convert.witness import Claim, Label, Witness
from robolearn.datasets.convert.wording import listed
from robolearn.datasets.format.codecs import ImageCodec, JpegCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import SIM_STATE, Json, is_encoded
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.whole_episode import check_column, check_times

LEVELS = 20  # that a picture between -1 and 1 must keep when it is rounded to whole numbers
SHOWN = 5  # ends in an error
LUMA = np.array([0.299, 0.587, 0.114])  # of RGB, as JFIF has it


@dataclass
class Seal:
    """What was found to be right of an episode: to be compared once more with what is in the finished dataset.

    Attributes:
        steps: of the episode.
        columns: low-dimensional feature (or `timestamp`) -> crc32 of its rows.
        frames: image feature -> {step: crc32 of the encoded frame}.
    """

    steps: int
    columns: dict[str, int] = field(default_factory=dict)
    frames: dict[str, dict[int, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        frames = {name: {str(step): crc for step, crc in found.items()} for name, found in self.frames.items()}
        return {"steps": self.steps, "columns": self.columns, "frames": frames}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Seal:
        frames = {name: {int(step): crc for step, crc in crcs.items()} for name, crcs in found["frames"].items()}
        return cls(int(found["steps"]), dict(found["columns"]), frames)


class EpisodeCheck:
    """Compares episodes with their source.

    Args:
        witness: second reader of the source.
        features: of the new dataset.
        claims: feature (and `sim/state`, where there are simulator states) -> where its values come from.
        codecs: image or depth feature -> how the new dataset encodes it.
        fps: rate of the steps, where the source stores no times.
    """

    def __init__(
        self, witness: Witness, features: Features, claims: Mapping[str, Claim], codecs: Mapping[str, ImageCodec],
        fps: float,
    ):  # fmt: skip
        self.witness, self.features, self.claims, self.codecs, self.fps = witness, features, claims, codecs, fps
        unclaimed = [name for name in features if name not in claims]
        if unclaimed:
            raise ConfigError(
                f"The importer does not say where {unclaimed[0]!r} comes from: EpisodeSource.claims lacks it."
            )

    def __call__(self, label: Label, data: EpisodeData, cut: int = 0) -> Seal:
        """Check an episode; `cut` steps at its end were left out, and named.

        Raises DatasetError saying what differs: feature, step, what would be stored and what the source holds.
        """
        times = check_times(data.timestamps, "The episode")
        count, held = len(times), self.witness.length(label)
        if count != held - cut:
            left = f", {cut} of which are left out" if cut else ""
            raise DatasetError(f"{count} steps would be stored, the source counts {held}{left}.")
        seal = Seal(count, {"timestamp": _crc(times)})
        self._check_times(label, times)
        columns = [name for name, feature in self.features.items() if not is_encoded(feature)]
        for name in columns:
            stored = check_column(self.features[name], data.values[name], count)
            self._check_rows(label, name, self.features[name], stored)
            seal.columns[name] = _crc(stored)
        if data.sim_states is not None and self.claims.get(SIM_STATE, Claim()).keys:
            states = np.asarray(data.sim_states, np.float64)
            self._check_rows(label, SIM_STATE, Feature(SIM_STATE, states.shape[1:], "float64"), states)
        for name in self.features.keys() - set(columns):
            seal.frames[name] = self._check_frames(label, name, data.frames[name], count)
        return seal

    def _check_times(self, label: Label, times: np.ndarray) -> None:
        held = self.witness.times(label)
        expected = np.arange(len(times)) / self.fps if held is None else held[: len(times)]
        if len(expected) != len(times):
            raise DatasetError(f"{len(times)} steps would be stored, the source has times for {len(expected)}.")
        if not np.array_equal(times, expected):
            step = int(np.flatnonzero(times != expected)[0])
            raise DatasetError(f"step {step} would be stored at {times[step]:g} s, by its source it is at "
                               f"{expected[step]:g} s.")  # fmt: skip

    def _check_rows(self, label: Label, name: str, feature: Feature, stored: np.ndarray) -> None:
        claim = self.claims[name]
        if not claim.keys:
            return
        parts = [self.witness.rows(label, key)[: len(stored)] for key in claim.keys]
        try:
            held = claim.of_rows(parts, feature.shape)
        except ValueError as error:
            shapes = " and ".join(str(part.shape) for part in parts)
            raise DatasetError(f"{name!r} has rows of shape {feature.shape}, the source holds {shapes}.") from error
        if held.shape != stored.shape:
            raise DatasetError(f"{name!r} would have {len(stored)} steps, the source holds {len(held)}.")
        same = _same(stored, held)
        if not same.all():
            step, *place = map(int, np.argwhere(~same)[0])
            ours, theirs = stored[(step, *place)], held[(step, *place)]
            raise DatasetError(
                f"step {step} of {name!r} would be stored as {ours!s} ({stored.dtype}), the source holds {theirs!s} "
                f"({held.dtype}) in {' and '.join(map(repr, claim.keys))}."
            )

    def _check_frames(self, label: Label, name: str, frames: Sequence[bytes], count: int) -> dict[int, int]:
        if len(frames) != count:
            raise DatasetError(f"{name!r} would have {len(frames)} frames for {count} steps.")
        claim, feature = self.claims[name], self.features[name]
        if not claim.keys:
            return {}
        (key,) = claim.keys
        rng = np.random.default_rng(zlib.crc32(f"{label}/{name}".encode()))
        steps = self.witness.sample(label, key, count, rng)
        checked = {}
        for step, held in zip(steps, self.witness.frames(label, key, steps), strict=True):
            stored = frames[step]
            try:
                compare_frame(stored, held, claim, feature, self.codecs[name])
            except (DatasetError, FeatureError, ValueError) as error:  # ValueError: another number of pixels
                raise DatasetError(f"step {step} of {name!r} is not the picture that the source holds in {key!r}: "
                                   f"{error}") from error  # fmt: skip
            checked[step] = zlib.crc32(stored)
        return checked


def _same(stored: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Where two arrays hold the same numbers, whatever their types: each survives the other's."""
    with np.errstate(invalid="ignore", over="ignore"):
        return (stored.astype(held.dtype) == held) & (held.astype(stored.dtype) == stored)


def compare_frame(stored: bytes, held: bytes | np.ndarray, claim: Claim, feature: Feature, codec: ImageCodec) -> None:
    """Raises DatasetError where the encoded frame is not what the codec makes of the source's picture."""
    if isinstance(held, bytes):
        if held == stored:
            return
        held = _without_alpha(decoded(held), feature) if claim.dtype is None else np.frombuffer(held, claim.dtype)
    expected = fitted(claim.of_picture(held), feature, scaled=claim.range not in (None, (0.0, 255.0)))
    ours = codec.decode(stored)
    if isinstance(codec, JpegCodec):
        if stored != codec.encode(expected):
            raise DatasetError(f"it is another one{_apart(ours, expected)}.")
        check_luma(stored, ours, expected)
    elif not np.array_equal(ours, expected.reshape(ours.shape)):
        raise DatasetError(f"it is another one{_apart(ours, expected)}.")


def _apart(stored: np.ndarray, expected: np.ndarray) -> str:
    if stored.size != expected.size:
        return f" ({stored.shape} instead of {expected.shape})"
    error = stored.astype(np.float64) - expected.reshape(stored.shape)
    return f" (their pixels differ by {np.sqrt(np.mean(error**2)):.2g} in the mean)"


def _crc(rows: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(rows).data)


def decoded(data: bytes) -> np.ndarray:
    """`(H, W[, C])` in the file's own type and number of channels, RGB; not by the importer's decoder."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DatasetError(f"the {len(data)} bytes that the source holds cannot be decoded.")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return image


def fitted(picture: np.ndarray, feature: Feature, scaled: bool = False) -> np.ndarray:
    """The picture in the feature's shape and type, where nothing of it is lost.

    Fractions are rounded, but not those of a picture that lies between -1 and 1 as it is, without being `scaled`: it
    would become black and white. A fourth channel that is opaque everywhere says nothing.

    Raises DatasetError saying what does not survive.
    """
    height, width, channels = (*feature.shape, 1)[:3]
    if picture.ndim == 3 and picture.shape[2] == 4 and channels == 3 and _opaque(picture[..., 3]):
        picture = picture[..., :3]
    if (*picture.shape, 1)[:3] != (height, width, channels):
        raise DatasetError(f"its shape is {picture.shape}, that of the feature {feature.shape}.")
    low, high = (float(picture.min()), float(picture.max())) if picture.size else (0.0, 0.0)
    limits = np.iinfo(feature.dtype)
    rounded = np.rint(picture) if picture.dtype.kind == "f" else picture
    if not limits.min <= float(rounded.min()) <= float(rounded.max()) <= limits.max:
        raise DatasetError(
            f"its values go from {low:g} to {high:g} ({picture.dtype}), which {feature.dtype} cannot hold."
        )
    lost = float(np.abs(rounded - picture).max()) if picture.dtype.kind == "f" else 0.0
    if not scaled and max(abs(low), abs(high)) <= 1.0 and lost > (high - low) / LEVELS:
        raise DatasetError(f"its values go from {low:g} to {high:g} in fractions, which {feature.dtype} cannot hold.")
    return np.ascontiguousarray(rounded.astype(feature.dtype))


def _without_alpha(picture: np.ndarray, feature: Feature) -> np.ndarray:
    """Of an encoded picture, whose last channel of four, or of two, is left out with a note (`picture_file.py`).

    OpenCV makes four channels of grey with alpha, the first three of them alike.
    """
    if picture.ndim == 2 or picture.shape[2] != 4:
        return picture
    return picture[..., :3] if feature.shape[2:] == (3,) else picture[..., 0]


def _opaque(alpha: np.ndarray) -> bool:
    return alpha.dtype.kind == "u" and bool((alpha == np.iinfo(alpha.dtype).max).all())


def check_luma(stored: bytes, ours: np.ndarray, expected: np.ndarray) -> None:
    """Raises DatasetError where the luminance is further from the source's than the JPEG's quantisation explains.

    Only pixels that the decoder did not have to clip are looked at: of the others it is not known what was encoded.
    """
    height, width = ours.shape[:2]
    grey = ours.ndim == 2
    theirs = expected.reshape(ours.shape).astype(np.float64)
    inside = (ours > 0) & (ours < 255) if grey else ((ours > 0) & (ours < 255)).all(axis=2)
    error = (ours - theirs) if grey else (ours - theirs) @ LUMA
    found = float(np.sqrt(np.sum(error[inside] ** 2)))
    allowed = luma_bound(stored, height, width)
    if found > allowed:
        raise DatasetError(
            f"its luminance is {found:.0f} away (root of the summed squares), its tables allow {allowed:.0f}."
        )


def check_episodes(source: Path, opened: EpisodeSource, witness: Witness) -> list[str]:
    """Notes on what the importer leaves out without a word, and on features that have no counterpart in the source.

    Raises DatasetError where it would read episodes that the source does not have, or one of them twice, or at another
    rate than the source says.
    """
    rate = witness.rate()
    if rate is not None and opened.fps != rate:
        raise DatasetError(f"{source}: {opened.fps:g} Hz would be stored, the source says {rate:g} Hz.")
    labels = [opened.label(index) for index in range(opened.num_episodes)]
    there = list(witness.episodes())
    strange = [label for label, n in Counter(labels).items() if n > 1] or list(set(labels) - set(there))
    if strange:
        raise DatasetError(f"{source}: episode {strange[0]} would be read, which the source has not, or not so often.")
    notes = list(witness.notes)
    told = {*labels, *opened.left_out}
    silent = [label for label in there if label not in told]
    if silent:
        notes.append(f"{len(silent)} of the episodes that the source lists are not carried over: {listed(silent)}")
    computed: dict[str, list[str]] = {}
    for name in opened.features:
        claim = opened.claims.get(name)
        if claim is not None and not claim.keys:
            computed.setdefault(claim.why, []).append(name)
    notes += [f"not compared with the source, which does not hold it: {', '.join(found)} ({why})"
              for why, found in computed.items()]  # fmt: skip
    return notes


def check_seals(dataset: Dataset, seals: Sequence[Json | None]) -> None:
    """Compare a finished dataset with what was found right of its episodes, one seal each.

    Raises DatasetError naming episode and feature of what is not there as it was.
    """
    found = [Seal.from_json(seal) if seal else None for seal in seals]
    ends = dataset.episode_ends.tolist()
    if len(found) != len(ends) or None in found:
        raise DatasetError(f"{len(ends)} episodes are there, {sum(s is not None for s in found)} were compared.")
    whole = [seal for seal in found if seal is not None]
    if ends != np.cumsum([seal.steps for seal in whole]).tolist():
        raise DatasetError(f"its episodes end at {ends[:SHOWN]}, not where those that were read do.")
    names = ["timestamp", *(name for name, feature in dataset.features.items() if not is_encoded(feature))]
    for episode, seal in enumerate(whole):
        start = ends[episode] - seal.steps
        for name in names:
            rows = dataset.rows(name, start, ends[episode])
            if _crc(rows) != seal.columns[name]:
                raise DatasetError(f"episode {episode} has other rows of {name!r}.")
        for name, crcs in seal.frames.items():
            for step, crc in crcs.items():
                if zlib.crc32(dataset.encoded(name, start + step)) != crc:
                    raise DatasetError(f"episode {episode} has another frame {step} of {name!r}.")
