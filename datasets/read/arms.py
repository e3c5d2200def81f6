"""Which arms a dataset's actions are of, as far as it says so: for layouts that are given by their dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robolearn.core.action import ActionLayout
from robolearn.core.action_dialect import Dialect
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.datasets.read.reader import Dataset


@dataclass(frozen=True)
class RecordedArm:
    """One arm of a dataset; see `robolearn.core.action_dialect.ArmDescription`. `robot_name` is "" where unknown."""

    prefix: str
    robot_name: str
    joint_names: tuple[str, ...]
    has_gripper: bool
    free: Any


def action_layout(dataset: Dataset, action: str = "action") -> ActionLayout:
    """The layout that a dataset's actions are stored in, with the names of the robots that its simulator had.

    Raises LayoutError where nothing tells it.
    """
    feature = dataset.features[action]
    layout = layout_of(feature)
    if layout is None:
        raise LayoutError(
            f"{dataset.name} does not say what the {'x'.join(map(str, feature.shape))} numbers of its {action!r} mean, "
            "so they cannot be brought into another layout; say it in a copy with: robolearn dataset features "
            f"{dataset.name} --layout {action}=LAYOUT --output COPY"
        )
    simulated = list((dataset.sim_env or {}).get("robots") or ())
    if not layout.robots and len(layout.arms) == 1 and len(simulated) == 1:
        return ActionLayout(layout.parts, ((layout.arms[0], simulated[0]),))
    return layout


def layout_in(dialect: str, stored: ActionLayout, whose: str) -> ActionLayout:
    """What the words of a dialect mean for the arms of actions that are stored in `stored`.

    Raises LayoutError for words that are unknown, and for joints of a robot that is not known.
    """
    words = Dialect.parse(dialect)
    layout = words.layout([_arm(stored, prefix, words.kind != "pose", whose) for prefix in stored.arms])
    return ActionLayout(layout.parts, tuple((arm, robot) for arm, robot in layout.robots if robot))


def _arm(stored: ActionLayout, prefix: str, needs_joints: bool, whose: str) -> RecordedArm:
    motion, robot = stored.motion(prefix), stored.robot(prefix) or ""
    joints = motion.names if motion is not None and motion.kind in ("joints", "velocity") else ()
    if needs_joints and not joints:
        if not robot:
            arm = f"arm {prefix!r}" if prefix else "arm"
            raise LayoutError(
                f"{whose} does not say which robot its {arm} is, and the joints are asked for; say it in a copy with: "
                "robolearn dataset relabel DATASET --action joints --robot NAME --output COPY"
            )
        from robolearn.kinematics.robots import robot as known_robot

        joints = known_robot(robot).joints
    return RecordedArm(
        prefix, robot, joints, stored.gripper(prefix) is not None, motion.free if motion is not None else ""
    )
