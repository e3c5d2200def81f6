"""A small demo's worth of files, made by the real writers from drawn pictures and chosen numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.core.provenance import provenance
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.evaluation.pages.demo import DemoParts, Stage
from robolearn.evaluation.run.video import VideoWriter, banner
from robolearn.evaluation.statistics.episode import EpisodeResult
from robolearn.evaluation.statistics.results import EvaluationResults

CAMERAS = ("front", "wrist")
NAMES = ("x", "y", "z", "rot6d_0", "rot6d_1", "rot6d_2", "rot6d_3", "rot6d_4", "rot6d_5", "gripper")


def draw(progress: float, seed: int, camera: str, size: int = 96) -> np.ndarray:
    """A bar that is carried to a plate, as a cartoon."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), (196, 178, 150) if camera == "front" else (120, 130, 140), np.uint8)
    start, plate = rng.uniform(0.15, 0.45, 2) * size, rng.uniform(0.6, 0.85, 2) * size
    cv2.circle(image, tuple(plate.astype(int).tolist()), size // 8, (240, 240, 245), -1, cv2.LINE_AA)
    at = (start + (plate - start) * min(1.0, progress * 1.2)).astype(int)
    cv2.rectangle(image, (at - 6).tolist(), (at + 6).tolist(), (235, 115, 35), -1)
    cv2.line(image, (size // 2, 0), at.tolist(), (60, 60, 66), 5, cv2.LINE_AA)
    return image


def write_dataset(path: Path, episodes: int = 6, steps: int = 20) -> Path:
    state = Feature("observation.state", (10,), names=NAMES, frame="base", rate_hz=20.0)
    images = [Feature(f"observation.images.{c}", (96, 96, 3), "uint8", "image", rate_hz=20.0) for c in CAMERAS]
    action = replace(state, name="action", kind="action")
    with DatasetWriter.create(path, features([state, *images, action]), 20.0, {"robot": "panda"}) as writer:
        for episode in range(episodes):
            writer.start_episode()
            for step in range(steps):
                values = {f"observation.images.{c}": draw(step / steps, episode, c) for c in CAMERAS}
                pose = np.linspace(0, step / steps, 10, dtype=np.float32)
                writer.append(step / 20, {"observation.state": pose, "action": pose, **values})
            writer.commit({
                "task": "put the bar on the plate", "success": True, "operator": "scripted",
                "seed": 0, "init_state": 10_000 + episode, "late_ticks": episode % 2,
            })  # fmt: skip
    return path


def write_training(folder: Path, steps: int = 4000) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(50, steps + 1, 50):
            loss = 0.9 * np.exp(-step / 500) + 0.03 + 0.006 * rng.random()
            row = {"step": step, "loss": loss, "lr": 1e-3 * (1 - step / steps)}
            if step % 400 == 0:
                row["val_loss"] = 0.9 * np.exp(-step / 500) + 0.045
            file.write(json.dumps(row) + "\n")
        file.write('{"step": 4050, "lo')  # cut off, as by a crash
    (folder / "config.yaml").write_text("steps: 4000\nbatch_size: 256\npolicy:\n  layers: 4\n")
    return folder


def write_evaluation(folder: Path, failures: tuple[int, ...] = (17, 31), num_videos: int = 3) -> Path:
    rng = np.random.default_rng(1)
    episodes = []
    for k in range(50):
        success, steps = k not in failures, int(rng.integers(70, 130))
        video = f"videos/start_{k:06d}.mp4" if k < num_videos else None
        if video:
            writer = VideoWriter(folder / video, 20.0)
            for step in range(40):
                writer.add(banner(draw(step / 40, k, "front", 240), f"start {k}", f"step {step}", (52, 58, 70)))
            writer.close()
        episodes.append(EpisodeResult(
            k, success, steps if success else 300, steps if success else None, 1.0 if success else 0.5,
            1.0 if success else 0.25, None, steps // 4, 6.0 + rng.random(), 1.5, video,
        ))  # fmt: skip
    EvaluationResults(
        policy={"source": "outputs/demo/policy", "spec": {"action_horizon": 8}, "provenance": {"seed": 0}},
        environment={
            "name": "put_on_plate", "scene_version": "put_on_plate-1", "options": {}, "control_hz": 20.0,
            "max_steps": 300,
        },
        settings={"seed": 0, "execute": 4, "workers": 2, "max_steps": None},
        episodes=tuple(episodes), wall_s=61.0, command="robolearn eval ...", provenance=provenance(),
    ).save(folder)  # fmt: skip
    return folder


def write_deployment(folder: Path, failures: tuple[int, ...] = (6,)) -> Path:
    folder.mkdir(parents=True)
    lateness_ms = np.abs(np.random.default_rng(2).standard_t(2, 12_000)) * 0.12
    bins = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0]
    found = {
        "episodes": [
            {"init_state": k, "success": k not in failures, "score": 1.0, "duration_s": 6.13 + k / 10, "ticks": 613,
             "late_ticks": 0, "safety_stops": 0, "limits": {"speed": 0}, "last_error": None}
            for k in range(10)
        ],
        "loop": {
            "rate_hz": 100.0, "priority": "nice -10", "ticks": 12_000, "late_ticks": 14, "skipped_ticks": 0,
            "lateness_ms": {"p99": float(np.percentile(lateness_ms, 99))},
            "histogram": {"bins_ms": bins, "counts": np.histogram(lateness_ms, bins)[0].tolist()},
        },
        "latency_ms": {
            name: {"p50": a, "p95": 1.4 * a, "p99": 1.9 * a, "max": 3.1 * a, "n": 400}
            for name, a in (("inference", 6.8), ("server", 7.4), ("round_trip", 8.9))
        },
        "safety_stops": 0, "limited_ticks": 3, "dropped_actions": 41,
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(found))
    return folder


def write_example(folder: Path) -> DemoParts:
    return DemoParts(
        output=folder / "report.html",
        dataset=write_dataset(folder / "demos.zarr"),
        training=write_training(folder / "policy"),
        evaluation=write_evaluation(folder / "eval"),
        deployment=write_deployment(folder / "deploy"),
        stages=(
            Stage(
                "record", "robolearn record --env put_on_plate --num-episodes 50 --output outputs/demo/demos.zarr", 101
            ),
            Stage("train", "robolearn train beso --dataset outputs/demo/demos.zarr --output outputs/demo/policy", 210),
            Stage("evaluate", "robolearn eval --policy outputs/demo/policy --env put_on_plate", 61),
            Stage("deploy", "robolearn deploy --robot sim_panda --num-episodes 10", 74),
        ),
        total_s=455.0,
        peak_memory_gb=2.13,
    )
