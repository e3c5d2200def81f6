"""What was recorded, for a page: film strips of some episodes, the features, and every episode's record."""

from __future__ import annotations

import numpy as np

from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.pages import page

_STRIPS, _STRIP_FRAMES = 4, 8


def demonstrations_section(dataset: Dataset) -> str:
    """The section of a dataset. Raises DatasetError for images that cannot be decoded."""
    if not dataset.num_episodes:
        return page.absent(f"{dataset.name} holds no episodes.")
    cameras = [name for name, f in dataset.features.items() if f.kind == "image"]
    seconds = dataset.num_steps / dataset.fps
    html = page.paragraph(
        f"{dataset.num_episodes} episodes, {dataset.num_steps} steps at {dataset.fps:g} Hz "
        f"({page.duration(seconds)} of motion), {len(cameras)} camera{'s' if len(cameras) != 1 else ''}."
    )
    chosen = np.unique(np.linspace(0, dataset.num_episodes - 1, _STRIPS).round().astype(int))
    for episode in chosen if cameras else []:
        html += _film_strip(dataset, int(episode), cameras)
    rows = [
        (f.name, " x ".join(map(str, f.shape)), f.dtype, f.unit or "", f.frame or "", ", ".join(f.names or ()))
        for f in dataset.features.values()
    ]
    html += page.details("Features", page.table(("name", "shape", "type", "unit", "frame", "elements"), rows))
    records = [{"episode": i, **record} for i, record in enumerate(dataset.episodes)]
    hidden = ("checksums", "index", "start_step", "journal", "sim_model", "features", "provenance")
    html += page.details("All episodes", page.records(records, hidden))
    return html


def _film_strip(dataset: Dataset, episode: int, cameras: list[str]) -> str:
    """Frames evenly spread over an episode, one row for each camera, all scaled to one height."""
    import cv2

    steps = dataset.episode_slice(episode)
    chosen = np.linspace(steps.start, steps.stop - 1, _STRIP_FRAMES).round().astype(int)
    size = 144
    rows = []
    for camera in cameras:
        frames = []
        for step in chosen:
            image = dataset.image(camera, int(step))
            width = round(size * image.shape[1] / image.shape[0])
            frame = cv2.resize(
                image.reshape(*image.shape[:2], -1)[..., :3], (width, size), interpolation=cv2.INTER_CUBIC
            )
            frames.append(np.pad(frame, ((2, 2), (2, 2), (0, 0)), constant_values=255))
        rows.append(np.concatenate(frames, axis=1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    record = dataset.episodes[episode]
    times = dataset.timestamps[steps]
    outcome = {True: "success", False: "failure"}.get(record.get("success"))  # type: ignore[arg-type]
    parts = [
        f"Episode {episode}",
        str(record["task"]) if record.get("task") else None,
        outcome,
        f"{times[-1] - times[0]:.1f} s",
        "cameras: " + ", ".join(camera.removeprefix("observation.images.") for camera in cameras),
    ]
    return page.picture(np.concatenate(rows), " · ".join(part for part in parts if part))
