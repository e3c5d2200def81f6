"""Making a dataset of episodes of others: what merge, split, drop, resample, resize and others have in common.

Episodes are carried over one by one, so that memory holds one; frames as the bytes they are stored in; labels as
edited; masks under their new indices. The new dataset says in `metadata["provenance"]` what it was made of, and each
episode record where the episode was first recorded: `source_dataset` and `source_episode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Features
from robolearn.core.progress import Progress, no_progress
from robolearn.core.provenance import wall_time
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.output import new_folder
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter


@dataclass(frozen=True)
class Pick:
    """One episode to carry over."""

    parent: Dataset
    episode: int


@dataclass(frozen=True)
class Plan:
    """What the new dataset is like; the rest is as in the parents.

    Attributes:
        tool: name of the tool that makes it, for the provenance.
        picks: the episodes, in their new order.
        features: what every step holds.
        fps: nominal rate of the steps in Hz.
        metadata: facts about the whole, without provenance.
        sim_env: name, scene version and options of the simulated environment, if there is one.
        sim_states: whether simulator states and models are carried over.
        streams: features recorded at native rate; empty for a dataset recorded step by step.
        change: what is done to an episode before it is written.
        options: what the user asked for, for the provenance.
        notes: one line for each thing that is not as in the parents.
        called: name of a feature -> its name in the parents; empty where no name changes.
        codecs: of pictures that `change` makes of what was none.
    """

    tool: str
    picks: Sequence[Pick]
    features: Features
    fps: float
    metadata: Json
    sim_env: Json | None
    sim_states: bool = True
    streams: Features = field(default_factory=dict)
    change: Callable[[Dataset, EpisodeData], EpisodeData] | None = None
    options: Json = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    codecs: Mapping[str, ImageCodec] = field(default_factory=dict)

    @classmethod
    def like(cls, parent: Dataset, episodes: Sequence[int], tool: str, options: Json) -> Plan:
        """Some episodes of one dataset, unchanged."""
        return cls(
            tool,
            [Pick(parent, episode) for episode in episodes],
            parent.features,
            parent.fps,
            plain_metadata(parent),
            parent.sim_env,
            streams=parent.streams,
            options=options,
            notes=quarantine_notes([parent]),
        )


@dataclass(frozen=True)
class Made:
    """Report of a new dataset."""

    output: Path
    num_episodes: int
    num_steps: int
    notes: tuple[str, ...] = ()


def plain_metadata(dataset: Dataset) -> Json:
    """The dataset's metadata without its provenance."""
    return {key: value for key, value in dataset.attributes.get("metadata", {}).items() if key != "provenance"}


def state_size(dataset: Dataset) -> int:
    """Numbers in a simulator state; 0 for a dataset without states."""
    intact = dataset.intact_episodes
    states = dataset.sim_states(int(intact[0])) if len(intact) else None
    return 0 if states is None else states.shape[1]


def has_simulator(dataset: Dataset) -> bool:
    """Whether there are simulator states, or at least the name of the environment."""
    return dataset.sim_env is not None or state_size(dataset) > 0


def quarantine_notes(parents: Sequence[Dataset]) -> tuple[str, ...]:
    """A line for each dataset of which quarantined episodes are left out."""
    counts = [(parent.name, int(parent.mask(QUARANTINE).sum())) for parent in parents]
    return tuple(f"{name}: {count} quarantined episode{'s' * (count > 1)} left out" for name, count in counts if count)


def make_dataset(output: Path, plan: Plan, progress: Progress = no_progress) -> Made:
    """Make the dataset `output`, which appears when it is complete, and not before.

    Raises ConfigError when there is no episode to write, DatasetError when `output` exists or an episode is damaged.
    """
    with new_folder(output) as unfinished:
        made = write_dataset(unfinished, plan, progress)
    return replace(made, output=Path(output))


def write_dataset(path: Path, plan: Plan, progress: Progress = no_progress) -> Made:
    """Write the dataset into `path`, where nothing is yet. For `make_dataset`, and for makers of several at once."""
    if not plan.picks:
        raise ConfigError(f"{plan.tool}: no episode is left to write; choose others.")
    parents = list({id(pick.parent): pick.parent for pick in plan.picks}.values())
    codecs = _codecs(plan)
    notes = [*plan.notes, *_codec_notes(plan, parents, codecs)]
    metadata = {**plan.metadata, "provenance": _provenance(plan, parents)}
    with DatasetWriter.create(
        path,
        {**plan.features, **plan.streams},
        plan.fps,
        metadata,
        recorded="streams" if plan.streams else "steps",
        codecs=codecs,
        durable=False,
    ) as writer:
        if plan.sim_env is not None:
            writer.set_sim_model(None, plan.sim_env)
        for done, pick in enumerate(plan.picks):
            episode = _carried(pick, plan, codecs)
            try:
                writer.write_episode(episode)
            except (DatasetError, FeatureError) as error:
                raise DatasetError(f"{pick.parent.name}: episode {pick.episode}: {error}") from error
            progress(done + 1, len(plan.picks))
        made = Made(path, writer.num_episodes, writer.num_steps, tuple(notes))
    _carry_masks(path, plan.picks, parents)
    return made


def _provenance(plan: Plan, parents: Sequence[Dataset]) -> Json:
    return {
        "tool": plan.tool,
        "options": plan.options,
        "made_at": wall_time(),
        "parents": [
            {
                "path": source_path(parent),
                "checksum": parent.checksum(),
                "num_episodes": parent.num_episodes,
                "num_steps": parent.num_steps,
                "metadata": parent.attributes.get("metadata", {}),
            }
            for parent in parents
        ],
    }


def source_path(dataset: Dataset) -> str:
    """Where a dataset is, as it can be found again: an absolute path, or the URL."""
    return str(dataset.path.resolve()) if dataset.is_local else dataset.name


def _codecs(plan: Plan) -> dict[str, ImageCodec]:
    """How images are encoded: as in the first parent."""
    first = plan.picks[0].parent
    wanted = {**plan.features, **plan.streams}
    return {
        name: plan.codecs.get(name) or first.codec(plan.called.get(name, name))
        for name, feature in wanted.items()
        if layout.is_encoded(feature)
    }


def _codec_notes(plan: Plan, parents: Sequence[Dataset], codecs: dict[str, ImageCodec]) -> list[str]:
    return [
        f"{parent.name}: {name} is encoded anew, from {parent.codec(name).codec_id} to {codec.codec_id} as in "
        f"{parents[0].name}"
        for parent in parents[1:]
        for name, codec in codecs.items()
        if parent.codec(name).codec_id != codec.codec_id
    ]


def _called_anew(data: EpisodeData, called: Mapping[str, str]) -> EpisodeData:
    """The episode with the new names; what has none is left out."""
    new = {old: name for name, old in called.items()}
    return replace(
        data,
        values={new[name]: rows for name, rows in data.values.items() if name in new},
        frames={new[name]: images for name, images in data.frames.items() if name in new},
        streams={new[name]: rows for name, rows in data.streams.items() if name in new},
    )


def _carried(pick: Pick, plan: Plan, codecs: dict[str, ImageCodec]) -> EpisodeData:
    """The episode as the new dataset shall hold it. The grid of what has a stream follows from the stream."""
    parent = pick.parent
    data = parent.read_episode(pick.episode)
    data = _called_anew(data, plan.called) if plan.called else data
    streams = {name: rows for name, rows in data.streams.items() if name in plan.streams}
    on_grid = plan.features.keys() - streams.keys()
    frames = {name: images for name, images in data.frames.items() if name in on_grid}
    for name, codec in codecs.items():
        if name in plan.codecs:
            continue
        theirs = parent.codec(plan.called.get(name, name))
        if theirs.codec_id == codec.codec_id:  # a decoder does not care for the quality that was asked for
            continue
        if name in frames:
            frames[name] = _recoded(frames[name], theirs, codec)
        if name in streams:
            streams[name] = replace(streams[name], frames=_recoded(streams[name].frames or [], theirs, codec))
    episode = EpisodeData(
        data.timestamps,
        {name: rows for name, rows in data.values.items() if name in on_grid},
        frames,
        {**data.record, **source_of(pick)},
        data.sim_states if plan.sim_states else None,
        data.sim_model if plan.sim_states else None,
        streams,
    )
    return plan.change(parent, episode) if plan.change else episode


def source_of(pick: Pick) -> Json:
    """`source_dataset` and `source_episode`: where an episode was first recorded, or converted from."""
    record = pick.parent.episodes[pick.episode]
    origin = pick.parent.attributes.get("metadata", {}).get("provenance") or {}
    if "source_dataset" in record and "source_episode" in record:
        dataset, episode = record["source_dataset"], record["source_episode"]
    elif "source_episode" in record and "source" in origin:
        dataset, episode = origin["source"], record["source_episode"]
    else:
        dataset, episode = source_path(pick.parent), pick.episode
    return {"source_dataset": dataset, "source_episode": episode}


def _recoded(images: Sequence[bytes], old: ImageCodec, new: ImageCodec) -> list[bytes]:
    return [new.encode(old.decode(image)) for image in images]


def _carry_masks(path: Path, picks: Sequence[Pick], parents: Sequence[Dataset]) -> None:
    masks = {id(parent): parent.masks for parent in parents}
    names = sorted({name for found in masks.values() for name in found} - {QUARANTINE})
    for name in names:
        members = [
            index
            for index, pick in enumerate(picks)
            if name in masks[id(pick.parent)] and masks[id(pick.parent)][name][pick.episode]
        ]
        if members:
            set_mask(path, name, members)
