"""A dataset whose features have other names, kinds, element names or meanings: what an import took for something else,
or could not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.errors import ConfigError, DatasetError, LayoutError, one_line, unknown_name
from robolearn.core.feature import Features
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.convert.array_features import Decision, SourceArray, decide
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.format.codecs import ImageCodec, PngCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json, is_encoded, is_event
from robolearn.datasets.read.arms import said_layout, with_robots
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
        layouts: feature -> what its numbers mean, where the dataset does not say it: a dialect's words
            (`robolearn.core.action_dialect`), or the path of a json file with a whole layout.
        robots: for `layouts`, arm's prefix -> name of its robot.
    """

    rename: Mapping[str, str]
    kinds: Mapping[str, str]
    names: Mapping[str, Sequence[str]]
    drop: Sequence[str] = ()
    ranges: Mapping[str, tuple[float, float]] | None = None
    layouts: Mapping[str, str] = field(default_factory=dict)
    robots: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> Json:
        return {
            "rename": dict(self.rename), "kinds": dict(self.kinds),
            "names": {name: list(labels) for name, labels in self.names.items()}, "drop": list(self.drop),
            "ranges": {name: list(ends) for name, ends in (self.ranges or {}).items()},
            "layouts": dict(self.layouts), "robots": dict(self.robots),
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

    Raises ConfigError when nothing would change, for a name that is not there, or a change that does not fit, and
    LayoutError for a layout that a feature cannot have.
    """
    if changes.robots and not changes.layouts:
        raise ConfigError("--robot says whose joints a --layout has; give --layout FEATURE=LAYOUT with it.")
    if not any(changes.to_json().values()):
        raise ConfigError(f"{parent.name}: nothing to change; give --rename, --kind, --names, --layout or --drop.")
    said = _said_layouts(parent, changes)
    present = {name: said.get(name, feature) for name, feature in {**parent.streams, **parent.features}.items()}
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
        notes=(*plan.notes, *decision.notes, *_new_names(parent, said)),
        called={feature.name: name for name, feature in taken.items()},
        codecs=codecs,
    )
    return make_dataset(output, plan, progress)


def _said_layouts(parent: Dataset, changes: Changes) -> Features:
    """The features that are given a layout, with it."""
    found: Features = {}
    for name, words in changes.layouts.items():
        if name not in parent.features:
            raise ConfigError(f"--layout: {unknown_name('feature', name, parent.features)}")
        feature = parent.features[name]
        if feature.layout is not None:
            raise LayoutError(
                f"{parent.name} says itself what the numbers of {name!r} mean: {feature.layout.describe()}. Actions "
                "are brought into another layout with: robolearn dataset relabel"
            )
        if name in changes.names or changes.kinds.get(name) in ("image", "depth"):
            raise ConfigError(f"--layout {name}={words} names its elements; leave --names and --kind out for it.")
        if words.endswith(".json"):
            layout = with_robots(_from_file(Path(words)), changes.robots)
        else:
            layout = with_robots(said_layout(parent, words, changes.robots, name), changes.robots)
        if feature.shape != (layout.size,):
            raise LayoutError(
                f"--layout {name}={words}: {name!r} has shape {feature.shape}, and the layout ({layout.describe()}) "
                f"has {layout.size} numbers: {', '.join(layout.names)}."
            )
        found[name] = replace(feature, names=None, layout=layout)
    return found


def _from_file(path: Path) -> ActionLayout:
    try:
        return ActionLayout.from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is no layout in json: {one_line(error)}; docs/actions.md says what one is."
        ) from error
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from error


def _new_names(parent: Dataset, said: Features) -> list[str]:
    """A note for each feature whose elements are called otherwise by its layout."""
    notes = []
    for name, feature in said.items():
        before = parent.features[name].names
        if before and before != feature.names:
            notes.append(f"{name}: {', '.join(before)} are now called {', '.join(feature.names or ())}, in this order")
    return notes


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
