"""Which arms a dataset's actions are of, as far as it says so: for layouts that are given by their dialect."""

from __future__ import annotations

from collections.abc import Mapping

from robolearn.core.action import ActionLayout, Free
from robolearn.core.action_dialect import DescribedArm, Dialect
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.datasets.read.reader import Dataset


def action_layout(dataset: Dataset, action: str = "action") -> ActionLayout:
    """The layout that a dataset's actions are stored in, with the names of the robots that its simulator had.

    Raises LayoutError where nothing tells it.
    """
    feature = dataset.features[action]
    layout = layout_of(feature)
    if layout is None:
        names = f" ({', '.join(feature.names)})" if feature.names else ""
        raise LayoutError(
            f"{dataset.name} does not say what the {'x'.join(map(str, feature.shape))} numbers of its "
            f"{action!r}{names} mean, so they cannot be brought into another layout; say it in a copy with: robolearn "
            f"dataset features {dataset.name} --layout {action}=LAYOUT --output COPY (`dataset relabel` takes it as "
            "--stored LAYOUT)"
        )
    return _with_simulated(layout, dataset)


def said_layout(dataset: Dataset, dialect: str, robots: Mapping[str, str], action: str = "action") -> ActionLayout:
    """The layout of actions of which the dataset says nothing but how many numbers they are, where it is told.

    There is one arm, or one for each of `robots` (prefix -> name), with a gripper where the numbers are so many.
    Raises LayoutError where the dialect has another number of them.
    """
    feature, words = dataset.features[action], Dialect.parse(dialect)
    sizes = []
    for gripper in (True, False):
        arms = []
        for prefix, robot in (dict(robots) or {"": ""}).items():
            joints: tuple[str, ...] = ()
            if words.kind != "pose":
                joints = _joints(robot) if robot else (feature.names or ())[: -1 if gripper else None]
            arms.append(DescribedArm(prefix, robot, joints, gripper, _free(robot)))
        layout = _named(words.layout(arms)) if words.kind == "pose" or all(arm.joint_names for arm in arms) else None
        if layout is not None and (layout.size,) == feature.shape:
            return _with_simulated(layout, dataset)
        sizes.append("unnamed joints" if layout is None else str(layout.size))
    of_arms = f" of {len(robots)} arms" if len(robots) > 1 else ""
    raise LayoutError(
        f"The {action!r} of {dataset.name} has {'x'.join(map(str, feature.shape))} numbers; {dialect!r}{of_arms} has "
        f"{sizes[0]} with a gripper, {sizes[1]} without. Say other words, or which robots they are of: --robot NAME; "
        "of two arms --robot left=NAME right=NAME."
    )


def with_robots(layout: ActionLayout, robots: Mapping[str, str]) -> ActionLayout:
    """`layout` with robots (prefix -> name) that it does not name.

    Raises LayoutError where it says something else, ConfigError for an unknown robot.
    """
    for arm, robot in robots.items():
        _joints(robot)
        if arm not in layout.arms:
            raise LayoutError(f"The robot {robot!r} is said to be arm {arm!r}; arms are {list(layout.arms)}.")
        if layout.robot(arm) not in (None, robot):
            raise LayoutError(f"The robot of arm {arm!r} is {layout.robot(arm)!r}, and is said to be {robot!r}.")
    return ActionLayout(layout.parts, tuple({**dict(layout.robots), **robots}.items()))


def _with_simulated(layout: ActionLayout, dataset: Dataset) -> ActionLayout:
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
    return _named(layout)


def _named(layout: ActionLayout) -> ActionLayout:
    """Without robots of which the name is not known."""
    return ActionLayout(layout.parts, tuple((arm, robot) for arm, robot in layout.robots if robot))


def _joints(robot: str) -> tuple[str, ...]:
    from robolearn.kinematics.robots import robot as known_robot

    return known_robot(robot).joints


def _free(robot: str) -> Free:
    """The rotation that poses of a robot leave free; of one that is not known here, none."""
    from robolearn.kinematics.robots import ROBOTS
    from robolearn.kinematics.robots import robot as known_robot

    return known_robot(robot).free if robot in ROBOTS else ""


def _arm(stored: ActionLayout, prefix: str, needs_joints: bool, whose: str) -> DescribedArm:
    motion, robot = stored.motion(prefix), stored.robot(prefix) or ""
    joints = motion.names if motion is not None and motion.kind in ("joints", "velocity") else ()
    if needs_joints and not joints:
        if not robot:
            arm = f"arm {prefix!r}" if prefix else "arm"
            raise LayoutError(
                f"{whose} does not say which robot its {arm} is, and the joints are asked for; say it in a copy with: "
                "robolearn dataset relabel DATASET --action joints --robot NAME --output COPY"
            )
        joints = _joints(robot)
    free = motion.free if motion is not None and motion.kind == "pose" else _free(robot)
    return DescribedArm(prefix, robot, joints, stored.gripper(prefix) is not None, free)
