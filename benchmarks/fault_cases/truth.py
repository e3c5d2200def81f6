"""What the cases hold, read without the importers: pyarrow by row, PyAV by counting frames, Pillow, zarr's reader."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import zarr
from PIL import Image
from pyarrow import parquet

from robolearn.datasets.format.layout import is_encoded
from robolearn.datasets.read.reader import Dataset

CAMERA = "observation.images.cam"
JPEG_PSNR_DB = 28.0
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass
class Episode:
    """Columns and pictures by the name that they have in the source, all of one length."""

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(next(iter(self.columns.values())))


def lerobot(case: Path) -> dict[int, Episode]:
    """Episodes by number: rows in the order of `index`, and frames in the order of the video files.

    Row k of the whole belongs to frame k of a video that many episodes share; a video of one episode may be short.
    """
    rows: dict[str, list[Any]] = {}
    for file in sorted((case / "data").rglob("*.parquet")):
        for key, values in parquet.read_table(file).to_pydict().items():
            rows.setdefault(key, []).extend(values)
    numbers = np.array(rows["episode_index"])
    shared = json.loads((case / "meta" / "info.json").read_text())["codebase_version"].startswith("v3")
    videos = sorted((case / "videos").rglob("*.mp4"))
    whole = frames(videos[0]) if shared and videos else []
    found = {}
    for number in np.unique(numbers).tolist():
        mine = np.flatnonzero(numbers == number)
        episode = Episode()
        for key, values in rows.items():
            if key in COUNTERS:
                continue
            if isinstance(values[0], dict):
                episode.pictures[key] = [np.asarray(_opened(values[k]["bytes"])) for k in mine]
            else:
                episode.columns[key] = np.array([values[k] for k in mine], np.float32)
        if whole:
            episode.pictures[CAMERA] = [whole[k] for k in mine]
        elif videos:
            episode.pictures[CAMERA] = frames(next(v for v in videos if v.stem.endswith(f"{number:06d}")))
        found[int(number)] = episode
    return found


def _opened(data: bytes) -> Image.Image:
    """A palette picture as the colours that it stands for; others as they are."""
    image = Image.open(io.BytesIO(data))
    return image.convert("RGB") if image.mode == "P" else image


def frames(file: Path) -> list[np.ndarray]:
    """All frames of a video, in order."""
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def replay_buffer(case: Path) -> dict[int, Episode]:
    """Episodes by number, as `meta/episode_ends` cuts them; empty ones too."""
    group = zarr.open_group(str(case), mode="r")
    ends = np.asarray(group["meta/episode_ends"])
    arrays = {key: np.asarray(array) for key, array in group["data"].arrays()}  # type: ignore[union-attr]
    starts = np.concatenate([[0], ends[:-1]])
    return {
        number: Episode({key: rows[start:stop] for key, rows in arrays.items()})
        for number, (start, stop) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    }


@dataclass(frozen=True)
class Difference:
    """Where a dataset differs from the truth; `cut` are steps at the ends of episodes that are not there."""

    text: str | None
    cut: dict[int, int]
    missing: list[int]


def compare(path: Path, truth: dict[int, Episode], names: dict[str, str], fps: float, exact: bool = True) -> Difference:
    """Compare every step of every episode with what it should hold, numbers exactly.

    Args:
        truth: number in the source -> episode.
        names: key of the source -> feature.
        fps: times have to be k / fps, to float32.
        exact: pictures are stored without loss; else each has to be as near to its own as JPEG allows, and to no other
            of the source nearer.
    """
    dataset, cut, seen = Dataset(path), {}, []
    for index, record in enumerate(dataset.episodes):
        number, steps = _number(record["source_episode"]), dataset.episode_slice(index)
        length, episode = steps.stop - steps.start, truth[number]
        seen.append(number)
        if length > episode.length:
            return Difference(f"episode {number} has {length} steps, the source {episode.length}", {}, [])
        if length < episode.length:
            cut[number] = episode.length - length
        if not np.allclose(dataset.timestamps[steps], np.arange(length) / fps, atol=1e-6):
            return Difference(f"episode {number} has times from {dataset.timestamps[steps.start]:g} s", {}, [])
        for key, name in names.items():
            if name not in dataset.features:
                return Difference(f"{key} is not there as {name}; features: {', '.join(dataset.features)}", {}, [])
            if is_encoded(dataset.features[name]):
                wanted = episode.pictures[key]
                others = [picture for other in truth.values() for picture in other.pictures[key]]
                for step in range(length):
                    found = dataset.image(name, steps.start + step)
                    if step >= len(wanted) or not _same(found, wanted[step], others, exact):
                        return Difference(f"episode {number}, step {step} of {name} is another picture", {}, [])
            elif not np.array_equal(dataset.array(name)[steps], episode.columns[key][:length]):
                return Difference(f"episode {number} has other rows of {name}", {}, [])
    if len(set(seen)) < len(seen):
        return Difference(f"episodes {seen} are stored, one of them twice", {}, [])
    return Difference(None, cut, [number for number in truth if number not in seen])


def _same(found: np.ndarray, wanted: np.ndarray, others: list[np.ndarray], exact: bool) -> bool:
    if found.size != wanted.size or found.dtype != wanted.dtype:
        return False
    if exact or found.dtype != np.uint8:
        return np.array_equal(found, wanted.reshape(found.shape))
    errors = [float(np.mean((found.astype(float) - other.reshape(found.shape)) ** 2)) for other in [wanted, *others]]
    return errors[0] <= min(errors) and errors[0] <= 255.0**2 * 10 ** (-JPEG_PSNR_DB / 10)


def _number(label: Any) -> int:
    return label if isinstance(label, int) else int("".join(c for c in str(label) if c.isdigit()))
