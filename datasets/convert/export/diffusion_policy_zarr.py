"""diffusion_policy's replay buffer: a zarr v2 group with `data/<key>` (time first) and `meta/episode_ends`.

An output called `*.zip` is one file, as UMI's are. Arrays are compressed with Blosc as diffusion_policy compresses for
the disk (zstd 5, bit shuffle) in chunks of about 2 MB along time. `data/timestamp` holds the true times.
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from numcodecs import Blosc

from robolearn.core.feature import Feature
from robolearn.datasets.convert.export.exported_dataset import TIMESTAMP, ExportedDataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.work import Part, Work
from robolearn.datasets.convert.origin import KEY
from robolearn.datasets.format.layout import ArrayInfo, to_json
from robolearn.datasets.write.durable import write_file

CHUNK_BYTES = 2_000_000
COMPRESSOR = Blosc("zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)
GROUP = b'{"zarr_format": 2}'


def key_of(feature: Feature) -> str:
    """`observation.images.front` -> `front`, `observation.state` -> `state`, `next.reward` -> `next_reward`."""
    return feature.name.removeprefix("observation.").removeprefix("images.").replace(".", "_")


def export(exported: ExportedDataset, work: Work, options: ExportOptions) -> list[str]:
    """See `protocol.py`. Parts are the chunk files themselves."""
    keys = exported.keys(key_of, options.rename, taken=(TIMESTAMP,))
    zipped = work.output.suffix == ".zip"
    folder = work.folder / "zarr" if zipped else work.result
    infos = {key: _array(exported, feature) for feature, key in keys.items()}
    infos[TIMESTAMP] = ArrayInfo.rows((), "<f8")
    names = {key: feature for feature, key in keys.items()} | {TIMESTAMP: TIMESTAMP}
    parts = []
    for key, info in infos.items():
        infos[key] = info = ArrayInfo(
            (exported.num_steps, *info.row_shape),
            _chunk_rows(info, exported.num_steps),
            info.dtype,
            COMPRESSOR.get_config(),
        )
        for chunk in range(-(-exported.num_steps // info.chunk_rows)):
            path = folder / "data" / key / info.chunk_name(chunk)
            parts.append(Part(path, partial(_write_chunk, exported, names[key], info, chunk)))
    work.produce(parts, options.workers, options.progress)
    ends = ArrayInfo((exported.num_episodes,), exported.num_episodes, "<i8")
    documents = {
        ".zgroup": GROUP,
        "data/.zgroup": GROUP,
        "meta/.zgroup": GROUP,
        "meta/episode_ends/.zarray": to_json(ends.to_zarray()),
        "meta/episode_ends/0": exported.ends.astype("<i8").tobytes(),
        ".zattrs": to_json({KEY: exported.origin(keys, TIMESTAMP).to_json()}),
        **{f"data/{key}/.zarray": to_json(info.to_zarray()) for key, info in infos.items()},
    }
    for name, content in documents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, content)
    if zipped:
        work.clear_result()
        _zip(folder, work.result)
    return exported.notes(carries_sim=False)


def _array(exported: ExportedDataset, feature: str) -> ArrayInfo:
    found = exported.features[feature]
    return ArrayInfo.rows(found.shape, np.dtype(found.dtype).str)


def _chunk_rows(info: ArrayInfo, num_steps: int) -> int:
    row_bytes = np.dtype(info.dtype).itemsize * int(np.prod(info.row_shape, dtype=np.int64))
    return max(1, min(num_steps, CHUNK_BYTES // row_bytes))


def _write_chunk(exported: ExportedDataset, name: str, info: ArrayInfo, chunk: int, path: Path) -> None:
    start = chunk * info.chunk_rows
    stop = min(start + info.chunk_rows, info.length)
    content = np.zeros((info.chunk_rows, *info.row_shape), info.dtype)
    content[: stop - start] = exported.read(name, start, stop)
    write_file(path, bytes(COMPRESSOR.encode(content)))


def _zip(folder: Path, path: Path) -> None:
    """Everything under `folder`, stored as it is: the chunks are compressed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
