"""The `quarantine/` folder of a dataset: what can be read of broken episodes, and damaged files as they were."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.provenance import wall_time
from robolearn.datasets.checks.survey import EpisodeView
from robolearn.datasets.format import layout
from robolearn.datasets.write.durable import link_or_copy, sync_directory, write_file

FOLDER = "quarantine"
REPORT = "report.json"


def episode_folder(root: Path, episode: int) -> Path:
    return root / FOLDER / f"episode_{episode:06d}"


def keep_episode(root: Path, view: EpisodeView, reasons: list[str]) -> None:
    """Save what can be read of an episode: numbers as `<array>.npy`, frames as files, and why, in `report.json`.

    Rows that cannot be read are zeros; `report.json` lists them. It is written last: a folder with it is complete.
    Does nothing when it is there.
    """
    folder, survey = episode_folder(root, view.index), view.survey
    if (folder / REPORT).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    lost: dict[str, Any] = {}
    for key, info in survey.metadata.arrays.items():
        span = survey.span(key, view.index)
        if layout.axis(key) == "episodes" or span is None:
            continue
        name = key.replace("/", "+")
        if info.compressor:
            lost |= _keep_frames(root, folder / name, key, [info.chunk_name(i) for i in range(span.start, span.stop)])
            continue
        rows, whole = survey.rows(key, span)
        content = io.BytesIO()
        np.save(content, rows, allow_pickle=False)
        write_file(folder / f"{name}.npy", content.getvalue())
        if not whole.all():
            lost[key] = np.flatnonzero(~whole).tolist()
    report = {
        "episode": view.index,
        "quarantined_at": wall_time(),
        "reasons": reasons,
        "lost_rows": lost,
        "steps": survey.steps[view.index].tolist(),
        "record": survey.records[view.index],
    }
    write_file(folder / REPORT, layout.to_json(report))


def _keep_frames(root: Path, folder: Path, key: str, names: list[str]) -> dict[str, list[int]]:
    """Links to the frame files under their number in the episode. Returns the rows that have none."""
    folder.mkdir(exist_ok=True)
    lost = []
    for row, name in enumerate(names):
        try:
            link_or_copy(str(root / key / name), str(folder / f"{row:06d}"))
        except FileNotFoundError:
            lost.append(row)
    return {key: lost} if lost else {}


def keep_file(root: Path, file: str) -> None:
    """Keep a damaged file as it is now under `quarantine/files/`; never over one that is there already."""
    source, folder = root / file, root / FOLDER / "files"
    if not source.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    base, number = file.replace("/", "+"), 0
    while (target := folder / (f"{base}.{number}" if number else base)).exists():
        if target.read_bytes() == source.read_bytes():
            return
        number += 1
    link_or_copy(str(source), str(target))
    sync_directory(folder)
