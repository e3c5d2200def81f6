"""The dataset that is recorded into: refused before anything moves, new, or checked to hold the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from robolearn.core.action_dialect import dialect_of
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import DatasetError, FeatureError, LayoutError
from robolearn.core.feature import Feature, Features, require
from robolearn.core.lock import holder_of
from robolearn.core.meaning import meaning_difference, means_the_same
from robolearn.core.output import check_output
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import refuse_url
from robolearn.datasets.write.output import is_taken
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.sim.env import SimEnv
from robolearn.teleop.target import TeleopTarget

IMAGES = "observation.images."


def recorded_features(target: TeleopTarget | SimEnv) -> Features:
    """What every recorded step holds."""
    return {**target.observation_features, target.action_feature.name: target.action_feature}


def check_dataset_path(path: Path, resume: bool, command: str) -> None:
    """Refuse, before a robot moves: a URL, a folder that cannot be made, a dataset that another process writes, an
    existing one without `--resume` and a missing one with it. Raises ConfigError or DatasetError.

    Args:
        command: the command line that was typed, to be shown with `--resume` added.
    """
    refuse_url(path, "recording needs a local folder")
    check_output(path, "--dataset")
    if (writer := holder_of(path / layout.LOCK)) is not None:
        raise DatasetError(f"{path} is being written by {writer}; {writer.remedy}")
    exists = is_taken(path)
    if exists and not resume:
        count = Dataset(path).num_episodes
        raise DatasetError(
            f"{path} exists already, with {count} episodes. Record more into it with: {command} --resume "
            "(or give another --dataset)."
        )
    if resume and not exists:
        raise DatasetError(f"There is no dataset {path} to go on with; leave out --resume to start it.")


def open_writer(
    path: Path,
    target: TeleopTarget | SimEnv,
    fps: float,
    metadata: dict[str, Any],
    recorded: Literal["steps", "streams"] = "steps",
    durable: bool = True,
) -> DatasetWriter:
    """The dataset at `path`, new or checked to hold the same features, at the same rate, recorded in the same way.

    Raises DatasetError or FeatureError saying what differs.
    """
    features = recorded_features(target)
    if not path.exists() or not any(path.iterdir()):
        return DatasetWriter.create(path, features, fps, metadata, recorded=recorded, durable=durable)
    writer = DatasetWriter.append_to(path, durable)
    try:
        if writer.recorded != recorded:
            here = {"steps": "in simulated steps, by --env", "streams": "from a robot in real time, by --robot"}
            raise DatasetError(
                f"{path} was recorded {here[writer.recorded]}; found {here[recorded]}; use a new --dataset."
            )
        _check_same(path, writer.features, features, recorded == "steps")
        if abs(writer.fps - fps) > 1e-6:
            raise DatasetError(
                f"{path} was recorded at {writer.fps:g} steps per second, found {fps:g}; use --fps {writer.fps:g}."
            )
    except BaseException:
        writer.close()
        raise
    return writer


def _check_same(path: Path, stored: Features, offered: Features, in_scene: bool) -> None:
    """Raises FeatureError naming the first difference and the option that mends it."""
    for names, problem, remedy in (
        (stored.keys() - offered.keys(), "holds {!r}, which this session lacks", "add --camera {}"),
        (offered.keys() - stored.keys(), "does not hold {!r}, which this session has", "leave out --camera {}"),
    ):
        for name in sorted(names):
            is_image = name.startswith(IMAGES)
            hint = remedy.format(name.removeprefix(IMAGES)) if is_image else "use the same --env, or a new --dataset"
            raise FeatureError(f"{path} {problem.format(name)}; {hint}.")
    for name, feature in stored.items():
        if (difference := meaning_difference(feature, offered[name])) is not None:
            remedy = "use the same --env, or a new --dataset"
            if feature.kind == "action":
                remedy = (
                    f"use {_action_option(feature) if in_scene else ''}a new --dataset, or bring a copy of it into "
                )
                remedy += f"this layout with: robolearn dataset relabel {path}"
            raise LayoutError(f"{path} holds {name!r} as {difference[0]}, this session has {difference[1]}; {remedy}")
        if means_the_same(feature, offered[name]):
            stored = {**stored, name: replace(feature, names=None, layout=None)}
    require(stored, offered, f"Dataset {path}", "this session")


def _action_option(feature: Feature) -> str:
    layout = layout_of(feature)
    dialect = None if layout is None else dialect_of(layout)
    return "" if dialect is None else f"--action {dialect.name}, "


def store_scene(writer: DatasetWriter, env: SimEnv, name: str, cameras: tuple[str, ...], image_size: int) -> None:
    """Keep what is needed to run or render the episodes of `env` again: its model, how `make_env` made it, and where
    its arms stand. Of which layout its actions are says the action's feature.

    Raises DatasetError for a dataset of another scene, or of another version of it.
    """
    made_in = {
        "name": name, "scene_version": env.scene_version, "robots": dict(env.robots), "control_hz": env.control_hz,
        "cameras": list(cameras), "image_size": image_size,
        "mounts": [
            {"prefix": arm.prefix, "robot": arm.robot_name, "position_m": list(arm.position_m),
             "quaternion": list(arm.quaternion)}
            for arm in env.mounted
        ],
    }  # fmt: skip
    writer.set_sim_model(env.model_xml(), made_in)
