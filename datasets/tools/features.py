"""A dataset whose features have other names, kinds or element names: what an import took for something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.convert.array_features import Decision, SourceArray, decide
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.format.codecs import ImageCodec, PngCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json, is_encoded, is_event
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, make_dataset

LOOKED_AT = 64  # episodes of which arrays that become pictures are looked at


@dataclass(frozen=True)
class Changes:
    """What is to be different; names are those of the parent's features.

    Attributes:
        rename: feature -> new name.
        kinds: feature -> kind. `image` or `depth` makes pictures of an array of numbers.
        names: feature -> names of its elements.
        drop: features to leave out.
        ranges: feature that becomes pictures -> the values that are black and white.
    """

    rename: Mapping[str, str]
    kinds: Mapping[str, str]
    names: Mapping[str, Sequence[str]]
    drop: Sequence[str] = ()
    ranges: Mapping[str, tuple[float, float]] | None = None

    def to_json(self) -> Json:
        return {
            "rename": dict(self.rename), "kinds": dict(self.kinds),
            "names": {name: list(labels) for name, labels in self.names.items()}, "drop": list(self.drop),
            "ranges": {name: list(ends) for name, ends in (self.ranges or {}).items()},
        }  # fmt: skip


def change_features(parent: Dataset, output: Path, changes: Changes, *, progress: Progress = no_progress) -> Made:
    """Make `output` of `parent` with features changed, in the grid and in the streams; the data is the same.

    A feature that becomes `action` (or `action.*`) is of kind action, whatever it was. Stored frames keep their bytes.
    Arrays of numbers that become pictures are stored as PNG, without loss of what 8 or 16 bits hold. Cameras in the
    metadata follow the names.

    Args:
        parent: the dataset to make it of.
        output: dataset to make; must not exist.
        changes: at least one.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError when nothing would change, for a name that is not there, or a change that does not fit.
    """
    if not any(changes.to_json().values()):
        raise ConfigError(f"{parent.name}: nothing to change; give --rename, --kind, --names or --drop.")
    present = {**parent.streams, **parent.features}
    decision = _decided(parent, present, changes)
    taken = {item.array.key: item.feature for item in decision.taken}
    pixels = decision.pixels
    codecs: dict[str, ImageCodec] = {name: PngCodec() for name in pixels}

    def change(dataset: Dataset, episode: EpisodeData) -> EpisodeData:
        try:
            return _pictured(episode, pixels, codecs)
        except DatasetError as error:
            number = episode.record["source_episode"]
            raise DatasetError(f"{dataset.name}: episode {number}: {error}") from error

    plan = Plan.like(parent, parent.intact_episodes.tolist(), "features", changes.to_json())
    plan = replace(
        plan,
        features={taken[name].name: taken[name] for name in parent.features if name in taken},
        streams={taken[name].name: taken[name] for name in parent.streams if name in taken},
        metadata=_cameras(plan.metadata, decision.names),
        change=change,
        notes=(*plan.notes, *decision.notes),
        called={feature.name: name for name, feature in taken.items()},
        codecs=codecs,
    )
    return make_dataset(output, plan, progress)


def _decided(parent: Dataset, present: Features, changes: Changes) -> Decision:
    arrays = [
        SourceArray(name, feature.shape, feature.dtype, feature, True, encoded=is_encoded(feature), known=True)
        for name, feature in present.items()
    ]
    for said, kind in changes.kinds.items():
        if said in present and is_event(present[said]):
            raise ConfigError(f"--kind {said}={kind}: it is an event, which has no place on the grid of steps.")
    options = ConvertOptions(
        rename=changes.rename, kinds=changes.kinds, names=changes.names, drop=changes.drop, ranges=changes.ranges or {}
    )

    def look(array: SourceArray) -> Iterator[np.ndarray]:
        intact = parent.intact_episodes
        for place in spread(len(intact), LOOKED_AT):
            steps = parent.episode_slice(int(intact[place]))
            wanted = [steps.start + step for step in first_middle_last(steps.stop - steps.start)]
            yield np.concatenate([parent.rows(array.key, step, step + 1) for step in wanted])

    return decide(arrays, options, look)


def _pictured(episode: EpisodeData, pixels: Mapping[str, Pixels], codecs: Mapping[str, ImageCodec]) -> EpisodeData:
    """The episode with the arrays that become pictures encoded."""
    values, frames, streams = dict(episode.values), dict(episode.frames), dict(episode.streams)
    for name, how in pixels.items():
        if name in streams:
            rows = streams[name].values
            assert rows is not None  # it held numbers
            streams[name] = replace(streams[name], values=None, frames=_encoded(rows, how, codecs[name]))
        else:
            frames[name] = _encoded(values.pop(name), how, codecs[name])
    return replace(episode, values=values, frames=frames, streams=streams)


def _encoded(rows: np.ndarray, how: Pixels, codec: ImageCodec) -> list[bytes]:
    reader = how.reader()
    images = [codec.encode(image) for image in reader(rows)]
    reader.finish()
    return images


def _cameras(metadata: Json, names: Mapping[str, str]) -> Json:
    """The metadata with `cameras` under the names that the cameras have now."""
    cameras = metadata.get("cameras")
    if not isinstance(cameras, dict):
        return metadata
    new = {old.rpartition(".")[2]: name.rpartition(".")[2] for old, name in names.items() if ".images." in name}
    return {**metadata, "cameras": {new.get(name, name): facts for name, facts in cameras.items()}}
