"""RLDS: a TensorFlow dataset whose records are episodes of `steps`, read without TensorFlow.

A folder with `features.json`, `dataset_info.json` and `NAME-SPLIT.tfrecord-00000-of-00008`. An episode is one record;
a leaf of its steps holds the values of all steps one after the other. Leaves become features: `steps/action` ->
`action`, `steps/observation/image_0` -> `observation.images.image_0`, `steps/observation/state` ->
`observation.state`, DROID's `steps/action_dict/joint_velocity` -> `action.joint_velocity`; what is known by another
name is decided by `array_features.py`, others keep their names with dots. Texts and `episode_metadata` go to the
episode's record, the first instruction that is not empty is its task, splits become masks. Images stay as they are
encoded where our codec allows.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.array_features import SourceArray, decide, describe_arrays
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, SourceDescription, damaged
from robolearn.datasets.convert.rlds.leaves import Leaf, leaves
from robolearn.datasets.convert.rlds.tfrecord import Values, index_records, parse_example, read_record
from robolearn.datasets.convert.sampling import first_middle_last, spread
from robolearn.datasets.convert.witness import Label, Witness, claim
from robolearn.datasets.convert.wording import changes
from robolearn.datasets.format.codecs import CODECS
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json

FORMAT = "rlds"
DROID = ("droid", "droid_100", "droid_101", "r2d2_faceblur")  # the last is what its own files say
# rates that the data sets' papers state; the files do not
RATES_HZ = {
    "bridge_dataset": 5.0, "bridge": 5.0, "bridge_orig": 5.0, "fractal20220817_data": 3.0,
    **dict.fromkeys(DROID, 15.0),
}  # fmt: skip
IMPLIED = ("is_first", "is_last")
LOOKED_AT, COUNTED = 64, 1000
_SHARD = re.compile(r"-(?P<split>[A-Za-z0-9_]+)\.tfrecord-(?P<shard>\d+)-of-(?P<shards>\d+)$")


@dataclass(frozen=True)
class Record:
    """Where an episode is."""

    file: Path
    split: str
    number: int
    start: int
    length: int

    @property
    def label(self) -> str:
        """What the source calls the episode: its split and number there."""
        return f"{self.split}/{self.number}"


@dataclass
class Opened:
    """What the files say before any episode is read."""

    path: Path
    name: str
    version: str | None
    steps: list[Leaf]
    facts: list[Leaf]
    records: list[Record]
    notes: list[str]

    @classmethod
    def open(cls, path: Path) -> Opened:
        """Raises DatasetError when `features.json` is missing or damaged, or there is no record."""
        file = path / "features.json"
        try:
            tree = parsed(file.read_bytes())["featuresDict"]["features"]
            notes: list[str] = []
            steps = list(leaves(tree["steps"]["sequence"]["feature"], "", notes))
            facts = list(leaves(tree["episode_metadata"], "", notes)) if "episode_metadata" in tree else []
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(file, repr(error)) from error
        info = _dataset_info(path)
        records: list[Record] = []
        counts: Counter[str] = Counter()
        for shard in _shards(path):
            split = _SHARD.search(shard.name)["split"]  # type: ignore[index]
            found, trouble = index_records(shard)
            records += [Record(shard, split, counts[split] + k, *place) for k, place in enumerate(found)]
            counts[split] += len(found)
            if trouble:
                notes.append(f"{shard.name} {trouble}; what comes after is left out")
        notes += _missing_shards(path, info)
        if not records:
            raise DatasetError(f"{path} holds no episode{': ' + notes[0] if notes else ''}.")
        name = str(info.get("name") or _shards(path)[0].name.split("-")[0])
        opened = cls(path, name, info.get("version"), steps, facts, records, notes)
        opened._complete()
        return opened

    def read(self, index: int) -> dict[str, Values]:
        """An episode's lists by full key. Raises DatasetError when it is damaged."""
        record = self.records[index]
        payload = read_record(record.file, record.start, record.length)
        try:
            return parse_example(payload)
        except (ValueError, UnicodeDecodeError) as error:
            raise DatasetError(f"{record.file}: the record at byte {record.start} is no Example ({error}).") from error

    @property
    def carried(self) -> list[Leaf]:
        """The leaves that become features."""
        return [leaf for leaf in self.steps if leaf.kind != "text" and leaf.key not in IMPLIED]

    def look(self, array: SourceArray) -> Iterator[np.ndarray]:
        """First, middle and last step of episodes all over the dataset; those that cannot be read are left out."""
        leaf = next(leaf for leaf in self.steps if leaf.key == array.key)
        for index in spread(len(self.records), LOOKED_AT):
            with contextlib.suppress(DatasetError, ValueError, KeyError):
                lists = self.read(index)
                rows = _array(leaf, lists[f"steps/{leaf.key}"], self.number_of_steps(index, lists))
                yield rows[first_middle_last(len(rows))]

    def where(self, index: int) -> str:
        """How messages call an episode."""
        return f"{self.path}: episode {self.records[index].label}"

    def _complete(self) -> None:
        """Find out the size of images that `features.json` leaves open, and leave out cameras that are black."""
        images = [leaf for leaf in self.steps if leaf.kind == "image"]
        if not images:
            return
        first: dict[str, tuple[int, ...]] = {}
        seen: set[str] = set()
        places = spread(len(self.records), LOOKED_AT)
        for index in places:
            pending = [leaf for leaf in images if leaf.key not in seen]
            if not pending:
                break
            try:
                lists = self.read(index)
            except DatasetError:  # it is left out later, and named
                continue
            for leaf in pending:
                image = first_image(lists.get(f"steps/{leaf.key}"))
                if image is not None and image.any():
                    seen.add(leaf.key)
                    first[leaf.key] = image.shape if image.ndim == 3 else (*image.shape, 1)
        for leaf in images:
            self.steps.remove(leaf)
            if leaf.key in seen:
                self.steps.append(Leaf(leaf.key, "image", first[leaf.key], leaf.dtype))
            else:
                self.notes.append(
                    f"steps/{leaf.key} is not carried over: black or empty in all {len(places)} episodes looked at"
                )

    def number_of_steps(self, index: int, lists: Mapping[str, Values]) -> int:
        """Steps of an episode. Raises DatasetError when its leaves disagree."""
        counts = {}
        for leaf in self.steps:
            values = lists.get(f"steps/{leaf.key}", ())
            size = 1 if leaf.kind != "tensor" or leaf.encoding != "none" else math.prod(leaf.shape)  # type: ignore[arg-type]
            counts[leaf.key] = len(values) / size
        found = set(counts.values())
        if found == {0.0}:
            raise DatasetError(f"{self.where(index)}: it has no steps.")
        if len(found) != 1 or not float(next(iter(found))).is_integer() or not next(iter(found)):
            said = ", ".join(f"{key} {count:g}" for key, count in counts.items())
            raise DatasetError(f"{self.where(index)}: its leaves have different numbers of steps ({said}).")
        return int(next(iter(found)))


def first_image(values: Values | None) -> np.ndarray | None:
    """The first of a list of encoded images; None when it cannot be decoded."""
    data = values[0] if isinstance(values, list) and values else b""
    codec = next((codec for codec in CODECS.values() if data.startswith(codec.start)), None)
    try:
        return codec().decode(data) if codec else None
    except DatasetError:
        return None


def _shards(path: Path) -> list[Path]:
    return sorted(file for file in path.glob("*.tfrecord-*") if _SHARD.search(file.name))


def _dataset_info(path: Path) -> Json:
    try:
        found = parsed((path / "dataset_info.json").read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _missing_shards(path: Path, info: Json) -> list[str]:
    """One line for each split of which shards are not there."""
    there: dict[str, int] = {}
    expected = {str(s.get("name")): len(s.get("shardLengths", ())) for s in info.get("splits", ())}
    for file in _shards(path):
        match = _SHARD.search(file.name)
        assert match is not None
        there[match["split"]] = there.get(match["split"], 0) + 1
        expected.setdefault(match["split"], int(match["shards"]))
    return [
        f"{count - there.get(split, 0)} of {count} files of the split {split!r} are not there"
        for split, count in expected.items()
        if there.get(split, 0) < count
    ]


def detect(source: Path) -> bool:
    """Whether `source` is a folder with `features.json` of episodes and tfrecord files."""
    try:
        tree = parsed((source / "features.json").read_bytes())["featuresDict"]["features"]
        return "steps" in tree and bool(_shards(source))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`. The number of steps is written nowhere: in a large dataset it is estimated."""
    opened = Opened.open(source)
    tasks: dict[str, None] = {}
    counts: list[int] = []
    places = spread(len(opened.records), COUNTED)
    for index in places:
        try:
            lists = opened.read(index)
            counts.append(opened.number_of_steps(index, lists))
        except DatasetError as error:
            opened.notes.append(str(error))
            continue
        if task := _task(opened.steps, _texts(opened.steps, lists, "steps/")):
            tasks[task] = None
    total = len(opened.records) - len(places) + len(counts)
    if len(places) < len(opened.records):
        opened.notes.append(f"steps are estimated and tasks are collected from {len(places)} of the episodes")
    steps = round(sum(counts) * total / max(1, len(counts)))
    decision = describe_arrays([leaf.source_array for leaf in opened.carried], opened.look)
    return SourceDescription(
        FORMAT, total, steps, RATES_HZ.get(opened.name), decision.features, tuple(tasks),
        (*opened.notes, *decision.notes),
    )  # fmt: skip


def open_source(source: Path, options: ConvertOptions) -> EpisodeSource:
    """See `Converter.open_source`. Raises ConfigError when the rate is neither known nor given."""
    return RldsSource(Opened.open(source), options)


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.rlds.witness import RldsWitness

    return RldsWitness(source)


class RldsSource(EpisodeSource):
    """Episodes of all splits that are there."""

    def __init__(self, opened: Opened, options: ConvertOptions):
        super().__init__()
        fps = options.fps or RATES_HZ.get(opened.name)
        if fps is None:
            raise ConfigError(f"{opened.path} does not store the rate of its steps; give it with --fps.")
        self.opened, self.options, self.fps = opened, options, fps
        decision = decide([leaf.source_array for leaf in opened.carried], options, opened.look)
        self.names, self.features, self.pixels = decision.names, decision.features, decision.pixels
        self.leaves = [leaf for leaf in opened.carried if leaf.key in self.names]
        for leaf in self.leaves:
            name, dtype = self.names[leaf.key], leaf.dtype if leaf.encoding == "bytes" else None
            self.claims[name] = claim(f"steps/{leaf.key}", pixels=self.pixels.get(name), dtype=dtype)
        self.num_episodes = len(opened.records)
        self.format_version = opened.version
        self.metadata = {"robot": None, "dataset": opened.name}
        splits: dict[str, list[int]] = {}
        for index, record in enumerate(opened.records):
            splits.setdefault(record.split, []).append(index)
        self.masks = splits
        self.notes = [
            *opened.notes,
            *decision.notes,
            "steps/is_first and steps/is_last are not carried over: the bounds of episodes say the same",
            f"the source stores no times: step k of an episode gets k / {fps:g} s",
        ]
        if opened.name in DROID:
            self.notes.append("gripper positions of DROID are 0 where it is open and 1 where it is closed: kept so")

    def label(self, index: int) -> Label:
        return self.opened.records[index].label

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `EpisodeSource.read_episode`."""
        opened = self.opened
        lists = opened.read(index)
        steps = opened.number_of_steps(index, lists)
        values = {}
        try:
            for leaf in self.leaves:
                found = lists[f"steps/{leaf.key}"]
                if leaf.kind == "image":
                    for data in found:
                        spool.add_encoded(self.names[leaf.key], data)
                elif pixels := self.pixels.get(self.names[leaf.key]):
                    reader = pixels.reader()
                    for image in reader(_array(leaf, found, steps)):
                        spool.add(self.names[leaf.key], image)
                    reader.finish()
                else:
                    values[self.names[leaf.key]] = _array(leaf, found, steps)
        except (DatasetError, ValueError) as error:
            raise DatasetError(f"{opened.where(index)}: {error}") from error
        return EpisodeData(np.arange(steps) / self.fps, values, spool.frames(), self._record(index, lists))

    def _record(self, index: int, lists: Mapping[str, Values]) -> Json:
        opened = self.opened
        texts = _texts(opened.steps, lists, "steps/")
        facts: Json = dict(_texts(opened.facts, lists, "episode_metadata/"))
        for leaf in opened.facts:
            found = lists.get(f"episode_metadata/{leaf.key}", ())
            if leaf.kind == "tensor" and isinstance(found, np.ndarray) and found.size:
                plain = _array(leaf, found, 1)[0].tolist()
                facts[leaf.key] = plain[0] if not leaf.shape else plain
        record: Json = {"task": self.options.task or _task(opened.steps, texts), **texts}
        black = [leaf.key for leaf in self.leaves if leaf.kind == "image" and _is_black(lists[f"steps/{leaf.key}"])]
        if black:
            record["black_cameras"] = [self.names[key] for key in black]
        if facts:
            record["episode_metadata"] = facts
        return {**record, "source_episode": opened.records[index].label, "split": opened.records[index].split}


def _is_black(values: Values) -> bool:
    image = first_image(values)
    return image is not None and not image.any()


def _array(leaf: Leaf, values: Values, steps: int) -> np.ndarray:
    """`(steps, *shape)` of the feature's dtype. Raises ValueError when the values do not fit."""
    shape = (steps, *(leaf.shape or (1,)))
    if isinstance(values, list):
        return np.stack([np.frombuffer(data, leaf.dtype) for data in values]).reshape(shape)  # type: ignore[arg-type]
    return values.astype(leaf.dtype).reshape(shape)  # type: ignore[arg-type]


def _texts(leaves: Sequence[Leaf], lists: Mapping[str, Values], prefix: str) -> Json:
    """Text leaves: one text where it is the same at all steps, else (step, text) for each change."""
    found: Json = {}
    for leaf in leaves:
        values = lists.get(f"{prefix}{leaf.key}", ())
        if leaf.kind == "text" and isinstance(values, list):
            said = changes([value.decode(errors="replace") for value in values])
            found[leaf.key.replace("/", ".")] = said[0][1] if len(said) == 1 else [list(pair) for pair in said]
    return found


def _task(leaves: Sequence[Leaf], texts: Json) -> str | None:
    """The instruction at the first step; None when it is empty or there is none."""
    for leaf in leaves:
        text = texts.get(leaf.key.replace("/", ".")) if "instruction" in leaf.key else None
        first = text[0][1] if isinstance(text, list) and text else text
        if first:
            return str(first)
    return None
