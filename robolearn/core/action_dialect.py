"""`Dialect`: how actions are written, before it is said of which arms: "pose.target.tool.axis_angle" on a command line.

A dialect is words joined by dots, in any order, each at most once:

    pose | joints | velocity                        what an arm is told; needed
    absolute | current | target | observation       reference, default absolute
    base | tool | euler                             axes of a relative pose, default base
    rot6d | axis_angle | rpy | quaternion           rotation of a pose, default rot6d (of euler axes, rpy)

or one of `DIALECTS`, which also have scales. See `robolearn.core.action` for what the words mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from robolearn.core.action import ActionLayout, Axes, Part, Reference, Rotation
from robolearn.core.errors import LayoutError, closest, one_line


class ArmDescription(Protocol):
    """What a layout needs to know of an arm; `robolearn.kinematics.mounted.MountedRobot` has it.

    Attributes:
        prefix: of the arm, empty where there is one only.
        robot_name: as in the registry of robots.
        joint_names: without prefix.
        has_gripper: whether it has one.
        free: see `Part.free`.
    """

    @property
    def prefix(self) -> str: ...
    @property
    def robot_name(self) -> str: ...
    @property
    def joint_names(self) -> tuple[str, ...]: ...
    @property
    def has_gripper(self) -> bool: ...
    @property
    def free(self) -> Any: ...


@dataclass(frozen=True)
class DescribedArm:
    """An `ArmDescription` by itself: what a layout or a file says of an arm. `robot_name` is "" where it is unknown."""

    prefix: str
    robot_name: str
    joint_names: tuple[str, ...]
    has_gripper: bool
    free: Any


@dataclass(frozen=True)
class Dialect:
    """See the module's text.

    Attributes:
        name: the words it was made of.
        kind, reference, axes, rotation: as of `Part`.
        position_scale, rotation_scale: m and rad of the number 1.
        limit: of the numbers of pose and gripper.
        gripper_scale, gripper_offset: opening = offset + scale * number.
    """

    name: str
    kind: str = "pose"
    reference: Reference = "absolute"
    axes: Axes = "base"
    rotation: Rotation = "rot6d"
    position_scale: float = 1.0
    rotation_scale: float = 1.0
    limit: tuple[float, float] | None = None
    gripper_scale: float = 1.0
    gripper_offset: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Dialect:
        """Raises LayoutError for words that are unknown or contradict each other, and without a kind."""
        if text in DIALECTS:
            return DIALECTS[text]
        if len(text) > 80:
            raise LayoutError(f"An action layout is a few words joined by dots, found {one_line(text, 60)!r}.")
        found: dict[str, str] = {}
        for word in text.split("."):
            field = next((field for field, words in _WORDS.items() if word in words), None)
            if word in DIALECTS:
                raise LayoutError(f"{word!r} stands alone, found {one_line(text)!r}: its words are settled.")
            if field is None:
                known = [*DIALECTS, *(word for words in _WORDS.values() for word in words)]
                guess = closest(word, known)
                hint = f" Did you mean {guess!r}?" if guess else ""
                raise LayoutError(
                    f"Unknown word {one_line(word, 40)!r} in the action layout {one_line(text)!r}.{hint} Known: "
                    f"{', '.join(known)}."
                )
            if field in found:
                raise LayoutError(
                    f"The action layout {text!r} says both {found[field]!r} and {word!r}; give one of them."
                )
            found[field] = word
        if "kind" not in found:
            raise LayoutError(
                f"The action layout {text!r} says nothing of what an arm is told: pose, joints or velocity?"
            )
        if found["kind"] != "pose" and (extra := [found[f] for f in ("axes", "rotation") if f in found]):
            raise LayoutError(f"The action layout {text!r}: {found['kind']} have no {extra[0]!r}; leave it out.")
        if found["kind"] == "velocity" and found.get("reference", "absolute") != "absolute":
            raise LayoutError(f"The action layout {text!r}: a velocity is no more than absolute; leave the other out.")
        if "axes" in found and found.get("reference", "absolute") == "absolute":
            raise LayoutError(
                f"The action layout {text!r}: {found['axes']!r} axes are those of a relative pose; add 'current', "
                "'target' or 'observation'."
            )
        if found.get("axes") == "euler":
            found = {"rotation": "rpy", **found}
        return cls(name=text, **found)  # type: ignore[arg-type]

    def layout(self, arms: Sequence[ArmDescription]) -> ActionLayout:
        """The layout of these arms, one after the other, each with its gripper behind it."""
        parts: list[Part] = []
        for arm in arms:
            if self.kind == "pose":
                size = {"rot6d": 6, "axis_angle": 3, "rpy": 3, "quaternion": 4, "none": 0}[self.rotation]
                scale = (self.position_scale,) * 3 + (self.rotation_scale,) * size
                motion = Part(
                    "pose", arm=arm.prefix, reference=self.reference, axes=self.axes, rotation=self.rotation,
                    free=arm.free, scale=scale, limit=self.limit,
                )  # fmt: skip
            else:
                motion = Part(
                    self.kind, arm.joint_names, arm.prefix,  # type: ignore[arg-type]
                    "absolute" if self.kind == "velocity" else self.reference,
                )  # fmt: skip
            parts.append(motion)
            if arm.has_gripper:
                scale, offset = (self.gripper_scale,), (self.gripper_offset,)
                parts.append(Part("gripper", arm=arm.prefix, scale=scale, offset=offset, limit=self.limit))
        return ActionLayout(tuple(parts), tuple((arm.prefix, arm.robot_name) for arm in arms))


def dialect_of(layout: ActionLayout) -> Dialect | None:
    """The dialect that a layout is written in; None where words do not say it, such as scales of its own."""
    motions = [motion for prefix in layout.arms if (motion := layout.motion(prefix)) is not None]
    if len(motions) < len(layout.arms):
        return None
    arms = []
    for motion in motions:
        joints, free = ((), motion.free) if motion.kind == "pose" else (motion.names, "")
        arms.append(DescribedArm(motion.arm, "", joints, layout.gripper(motion.arm) is not None, free))
    motion = motions[0]
    words: list[str] = [motion.kind]
    words += [motion.reference] * (motion.reference != "absolute")
    if motion.kind == "pose":
        words += [motion.axes] * (motion.axes != "base")
        words += [motion.rotation] * (motion.rotation not in ("none", "rpy" if motion.axes == "euler" else "rot6d"))
    for dialect in (Dialect.parse(".".join(words)), *DIALECTS.values()):
        if dialect.layout(arms).parts == layout.parts:
            return dialect
    return None


_WORDS: dict[str, tuple[str, ...]] = {
    "kind": ("pose", "joints", "velocity"),
    "reference": get_args(Reference),
    "axes": get_args(Axes),
    "rotation": tuple(word for word in get_args(Rotation) if word != "none"),
}

DIALECTS = {
    dialect.name: dialect
    for dialect in (
        # mees/calvin_env: relative to its last target, Euler angles added; the gripper 1 = open, -1 = closed
        Dialect("calvin", "pose", "target", "euler", "rpy", 1 / 50, 1 / 20, (-1.0, 1.0), 0.5, 0.5),
        # robosuite's OSC_POSE: the gripper -1 = open, 1 = closed
        Dialect("robosuite", "pose", "current", "base", "axis_angle", 0.05, 0.5, (-1.0, 1.0), -0.5, 0.5),
        # Chi et al. 2024, Universal Manipulation Interface
        Dialect("umi", "pose", "observation", "tool", "rot6d"),
    )
}
"""Dialects with a name of their own."""
