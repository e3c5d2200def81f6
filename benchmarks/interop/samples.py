"""Datasets to export: a made-up one with everything our format holds, and real ones where the shared data is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MIXED = features(
    [
        Feature("observation.state", (7,), names=tuple(f"joint_{k}" for k in range(7)), unit="rad"),
        Feature("observation.force", (3,), "float64", unit="N", frame="tcp"),
        Feature("observation.keypoints", (8, 2), unit="px"),
        Feature("observation.gripper_open", (1,), "bool"),
        Feature("observation.counter", (2,), "int32"),
        Feature("action", (7,), kind="action"),
        Feature("next.reward", (1,)),
        Feature("observation.images.front", (96, 128, 3), "uint8", "image"),
        Feature("observation.images.wrist", (64, 64, 3), "uint8", "image"),
        Feature("observation.depth.front", (48, 64), "uint16", "depth", unit="mm"),
    ]
)


def mixed(path: Path, lengths: tuple[int, ...]) -> Path:
    """Uneven times, several tasks, every dtype, two cameras, depth, simulator states, masks and edited labels."""
    rng = np.random.default_rng(0)
    with DatasetWriter.create(path, MIXED, fps=15, metadata={"robot": "made-up"}, image_codec="png") as writer:
        writer.set_sim_model("<mujoco/>", {"name": "made_up", "scene_version": 1})
        for episode, length in enumerate(lengths):
            writer.start_episode()
            times = np.cumsum(rng.uniform(0.05, 0.08, length))
            for step, time_s in enumerate(times):
                writer.append(float(time_s), dict(_sample(rng, step)), rng.normal(size=5))
            writer.commit({"task": f"task {episode % 2}", "success": episode % 2 == 0, "operator": "nobody"})
    edit_episodes(path, [0], {"task": "a corrected task"})
    set_mask(path, "train", list(range(1, len(lengths))))
    set_mask(path, "validation", [0])
    return path


def _sample(rng: np.random.Generator, step: int) -> Iterator[tuple[str, np.ndarray]]:
    for name, feature in MIXED.items():
        kind = np.dtype(feature.dtype).kind
        if feature.kind == "image":
            yield name, _picture(feature.shape, step)
        elif kind == "f":
            yield name, rng.normal(size=feature.shape).astype(feature.dtype)
        else:
            # LeRobot squares integers in their own type for statistics, and reads 16-bit images as signed
            yield name, rng.integers(0, 2 if kind == "b" else 30_000, feature.shape).astype(feature.dtype)


def _picture(shape: tuple[int, ...], step: int) -> np.ndarray:
    """Smooth, coloured, and moving with the step."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape[:2])
    waves = [np.sin(6 * (x * (1 + c) + y) + 0.2 * step + c) for c in range(3)]
    return np.rint(127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8)


def real(name: str, path: Path, episodes: int) -> Path | None:
    """The first episodes of a set in the shared data, converted; None where it is missing."""
    from robolearn.cli.main import main

    source = SHARED_DATA / name
    if not source.exists():
        print(f"{name}: not in {SHARED_DATA}, left out")
        return None
    arguments = ["dataset", "convert", "--input", str(source), "--output", str(path), "--num-episodes", str(episodes)]
    with redirect_stdout(StringIO()):
        status = main(arguments)
    if status:
        raise SystemExit(f"converting {source} failed with status {status}")
    return path
