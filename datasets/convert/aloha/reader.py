"""ACT's and ALOHA's HDF5: a file an episode, `episode_<n>.hdf5`, with `action` and `observations/{qpos,qvel,images/*}`.

`observations/qpos` becomes `observation.state`, `qvel` and `effort` `observation.velocity` and `observation.effort`,
`images/cam_high` `observation.images.cam_high`, `images/cam_high_depth` (16 bit) `observation.depth.cam_high`.
`base_action` of mobile ALOHA is what the base's wheels measured, and becomes `observation.base_velocity`.

Raw pictures are RGB. Compressed ones are JPEGs padded with zeros to rows of one length, and their red and blue are
swapped: the recorders give RGB pictures to OpenCV's encoder, which takes them for BGR, and their training code decodes
with OpenCV and gets RGB again. So bytes cannot be kept: pictures are decoded, put right and encoded anew. Where another
program wrote the files, `--swap-colours` says that both are the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.aloha.files import (
    ACTION,
    ARMS,
    LOOKED_AT,
    Array,
    Opened,
    damaged_file,
    encoded_row,
    episode_files,
    is_episode,
    task_of,
)
from robolearn.datasets.convert.array_features import decide, describe_arrays
from robolearn.datasets.convert.frame_spool import FrameSpool
from robolearn.datasets.convert.pictures import Pixels
from robolearn.datasets.convert.protocol import ConvertOptions, EpisodeSource, SourceDescription
from robolearn.datasets.convert.robomimic.groups import open_hdf5
from robolearn.datasets.convert.witness import Label, Witness, claim
from robolearn.datasets.format.codecs import CODECS
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.format.image_header import image_header
from robolearn.datasets.format.layout import Json

FORMAT = "aloha_hdf5"
RATE_HZ = 50.0  # of ACT's simulator and of the recorders; the files do not say it
BLOCK_BYTES = 64 << 20
TRIED = 10  # files of a folder, to recognise the layout: some may be damaged


def _decoded(data: bytes, size: tuple[int, ...]) -> np.ndarray:
    """The picture as any reader of its format sees it.

    Raises DatasetError when the bytes are damaged, or of another height and width, before memory for it is taken.
    """
    codec = next((codec for codec in CODECS.values() if data.startswith(codec.start)), None)
    if codec is None:
        raise DatasetError(f"its {len(data)} bytes are neither JPEG nor PNG")
    if (found := image_header(data)[:2]) != size:
        raise DatasetError(f"it is {found[0]}x{found[1]}, expected {size[0]}x{size[1]}")
    image: np.ndarray = codec().decode(data)
    return image


def detect(source: Path) -> bool:
    """Whether `source` is a file with `action` and `observations`, or a folder of such episodes."""
    try:
        return any(is_episode(path) for path in episode_files(source)[0][:TRIED])
    except (OSError, DatasetError):
        return False


def describe(source: Path) -> SourceDescription:
    """See `Converter.describe`."""
    opened = Opened.open(source)
    seen = sum(opened.steps.values())
    total = round(seen * len(opened.files) / len(opened.steps)) if len(opened.files) > LOOKED_AT else seen
    notes = list(opened.notes)
    if len(opened.files) > LOOKED_AT:
        notes.append(f"steps are estimated from {len(opened.steps)} of the files")
    tasks = (opened.task,) if opened.task else ()
    decision = describe_arrays(opened.named, opened.look)
    notes += decision.notes
    return SourceDescription(
        FORMAT, len(opened.files), total, opened.fps or RATE_HZ, decision.features, tasks, tuple(notes)
    )


def open_source(source: Path, options: ConvertOptions) -> EpisodeSource:
    """See `Converter.open_source`."""
    if options.cameras:
        raise ConfigError(f"{source} holds its own images; leave out --camera {options.cameras[0]}.")
    return AlohaSource(Opened.open(source), options)


def open_witness(source: Path, options: ConvertOptions) -> Witness:
    """See `Converter.open_witness`."""
    from robolearn.datasets.convert.aloha.witness import AlohaWitness

    return AlohaWitness(source, options.swap_colours)


class AlohaSource(EpisodeSource):
    """Episodes in the order of their numbers."""

    swaps_colours = True

    def __init__(self, opened: Opened, options: ConvertOptions):
        super().__init__()
        self.opened, self.options = opened, options
        self.fps = opened.fps or options.fps or RATE_HZ
        decision = decide(opened.named, options, opened.look)
        self.names, self.features, self.pixels = decision.names, decision.features, decision.pixels
        self.claims = {name: claim(key, pixels=self.pixels.get(name)) for key, name in self.names.items()}
        self.num_episodes = len(opened.files)
        self.metadata = {"robot": "aloha", "simulated": opened.sim}
        self.notes = [*opened.notes, *decision.notes, *self._own_notes()]

    def _own_notes(self) -> Iterator[str]:
        if any(self.opened.arrays[key].encoded for key in self.names):
            yield (
                "compressed pictures are encoded anew, as their JPEGs hold them (--swap-colours)"
                if self.options.swap_colours
                else "compressed pictures have red and blue swapped, as the recorder of ACT writes them: they are put "
                "right and encoded anew; --swap-colours leaves their order as it is"
            )
        named = [name for name, feature in self.features.items() if feature.names == ARMS]
        if named:
            yield f"the 14 elements of {', '.join(named)} are called as ALOHA's two arms have them: {ARMS[0]}, ..."
        if "base_action" in self.names:
            yield (
                f"base_action is what the base measured (m/s, rad/s), not a command: it is "
                f"{self.names['base_action']!r}"
            )
        if self.opened.fps is None:
            known = "" if self.options.fps else ", the nominal rate of ALOHA (--fps says otherwise)"
            yield f"the source stores no times: step k of an episode gets k / {self.fps:g} s{known}"

    def label(self, index: int) -> Label:
        return self.opened.files[index].name

    def read_episode(self, index: int, spool: FrameSpool) -> EpisodeData:
        """See `EpisodeSource.read_episode`."""
        path = self.opened.files[index]
        values: dict[str, np.ndarray] = {}
        with open_hdf5(path) as file:
            try:
                steps = len(file[ACTION])
                if not steps:
                    raise ValueError("it has no steps")
                for key, name in self.names.items():
                    array = self.opened.arrays[key]
                    item = self._item(file, key, array, steps)
                    if array.encoded:
                        self._spool_encoded(item, name, spool)
                    elif name in self.pixels:
                        self._spool_pixels(item, name, self.pixels[name], spool)
                    else:
                        values[name] = np.asarray(item[()]).reshape(steps, *self.features[name].shape)
                record: Json = {"task": self.options.task or task_of(file), "source_episode": path.stem}
            except (KeyError, OSError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise damaged_file(path, error) from error
            except DatasetError as error:
                raise DatasetError(f"{path}: {str(error).rstrip('.')}.") from error
        return EpisodeData(np.arange(steps) / self.fps, values, spool.frames(), record)

    @staticmethod
    def _item(file: Any, key: str, array: Array, steps: int) -> Any:
        """An array of the file. Raises ValueError where it differs from those of the other episodes."""
        if key not in file:
            raise ValueError(f"it has no {key}, which the other episodes have")
        item = file[key]
        if not item.shape or len(item) != steps:
            raise ValueError(f"{key} has shape {item.shape}, action has {steps} steps")
        if not array.encoded and (item.shape[1:] != array.shape or item.dtype.name != array.dtype):
            raise ValueError(
                f"{key} has rows of {item.shape[1:]}, {item.dtype}, in other episodes they are {array.shape}, "
                f"{array.dtype}"
            )
        return item

    def _spool_encoded(self, item: Any, name: str, spool: FrameSpool) -> None:
        for start, rows in _blocks(item):
            for step, row in enumerate(rows, start):
                try:
                    image = _decoded(encoded_row(row), self.features[name].shape[:2])
                    spool.add(name, image if self.options.swap_colours else swapped(image))
                except DatasetError as error:
                    raise DatasetError(f"step {step} of {item.name}: {error}") from error

    def _spool_pixels(self, item: Any, name: str, pixels: Pixels, spool: FrameSpool) -> None:
        reader = pixels.reader()
        for _, rows in _blocks(item):
            for image in reader(rows):
                spool.add(name, swapped(image) if self.options.swap_colours else image)
        reader.finish()


def swapped(image: np.ndarray) -> np.ndarray:
    """`(H, W, 3)` with red and blue exchanged; grey and depth as they are."""
    return image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image


def _blocks(item: Any) -> Iterator[tuple[int, Any]]:
    """(First step, rows) of an array, a block at a time."""
    row_bytes = max(1, item.dtype.itemsize * math.prod(item.shape[1:]))
    block = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, len(item), block):
        yield start, item[start : start + block]
